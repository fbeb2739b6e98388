"""Measures the search of similar photos and of near-duplicates, and prints tables.

    python recipes/applications/similar_photos.py --photos FOLDER --manifest FILE --names FILE

The photos are those of the manifest's test split, which the checkpoint was not trained on. The
manifest and the names are those of recipes/demo/manifest.py. docs/applications.md has the tables
and describes them.
"""

import argparse
import csv
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import fmean

import numpy as np
import yaml
from edits import cropped
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.applications.similarity import DUPLICATE_SIMILARITY, nearest_neighbours
from app.core.classifier import Classifier
from app.settings import SHIPPED_CHECKPOINT
from app.tagger import Tagger

COUNT = 10
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of the test split.

    Attributes:
        file: below the folder of photos.
        positive: the names that it shows.
        negative: the names that it does not show; others are unknown.
    """

    file: str
    positive: frozenset[str]
    negative: frozenset[str]


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision of the first matches.

    Attributes:
        all: share of the matches that are known to show the name; unknown ones count as wrong.
        judged: the same share of the matches whose truth is known.
    """

    all: float
    judged: float


def halved(image: Image.Image) -> Image.Image:
    """Return a copy of half the width and height."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX)


def unedited(image: Image.Image) -> Image.Image:
    """Return the image itself, which is then only compressed again."""
    return image


def lighter(image: Image.Image) -> Image.Image:
    """Return a copy with values a quarter higher."""
    return image.point(lambda value: min(255, int(1.25 * value)))


def black_and_white(image: Image.Image) -> Image.Image:
    """Return a copy without colours."""
    return image.convert("L").convert("RGB")


# Each edit, and the JPEG quality of the copy.
EDITS: Mapping[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "JPEG quality 60": (unedited, 60),
    "half the size": (halved, 85),
    "cropped to 92 % and lighter": (cropped, 85),
    "lighter by a quarter": (lighter, 85),
    "black and white": (black_and_white, 85),
    "mirrored": (ImageOps.mirror, 85),
}


def read_photos(manifest: Path) -> list[Photo]:
    """Return the photos of the test split that show something."""
    with manifest.open(encoding="utf-8", newline="") as file:
        return [
            Photo(
                row["file"],
                frozenset(row["positive"].split("|")),
                frozenset(row["negative"].split("|")),
            )
            for row in csv.DictReader(file)
            if row["part"] == "test" and row["positive"]
        ]


def embed(tagger: Tagger, files: Sequence[bytes | Path]) -> Rows:
    """Return (N, D) embeddings of N files that can be used."""
    rows = [each.embedding for each in tagger.embed(files) if each.embedding is not None]
    assert len(rows) == len(files)
    return np.stack(rows)


def precision(photos: Sequence[Photo], matches: Sequence[int], name: str) -> Precision | None:
    """Return the precision of matches for one name; None if the truth of none is known."""
    right = sum(name in photos[match].positive for match in matches)
    wrong = sum(name in photos[match].negative for match in matches)
    if not right + wrong:
        return None
    return Precision(right / len(matches), right / (right + wrong))


def search_table(
    photos: Sequence[Photo], embeddings: Rows, texts: Mapping[str, str], classifier: Classifier
) -> list[str]:
    """Return the lines of the table of precision.

    Args:
        photos: N photos.
        embeddings: (N, D) of the photos.
        texts: of the names.
        classifier: embeds the texts.
    """
    shown = Counter(name for photo in photos for name in photo.positive)
    names = [name for name, count in shown.items() if count > COUNT and name in texts]
    rows = classifier.embed_texts([texts[name] for name in names]).numpy()
    found = nearest_neighbours(embeddings, rows, COUNT)
    by_text = [
        precision(photos, each.rows.tolist(), name) for name, each in zip(names, found, strict=True)
    ]
    by_photo: dict[str, list[Precision]] = {name: [] for name in names}
    by_chance: dict[str, float] = {name: shown[name] / len(photos) for name in names}
    neighbours = nearest_neighbours(embeddings, embeddings, COUNT + 1)
    for place, (photo, each) in enumerate(zip(photos, neighbours, strict=True)):
        others = [row for row in each.rows.tolist() if row != place][:COUNT]
        # The rarest name says most about what the photo shows.
        rarest = min(
            (name for name in photo.positive if name in by_photo),
            key=lambda name: (shown[name], name),
            default=None,
        )
        if rarest and (measured := precision(photos, others, rarest)):
            by_photo[rarest].append(measured)
    photo_means = [
        Precision(fmean(p.all for p in each), fmean(p.judged for p in each))
        for each in by_photo.values()
        if each
    ]
    text_results = [each for each in by_text if each]
    queries = sum(map(len, by_photo.values()))
    return [
        "| query | queries | precision@10 | of judged matches |",
        "|---|---:|---:|---:|",
        f"| a photo | {queries} | {_means(photo_means)} |",
        f"| a text | {len(text_results)} | {_means(text_results)} |",
        f"| by chance | | {fmean(by_chance.values()):.3f} | |",
    ]


def duplicate_table(tagger: Tagger, files: Sequence[bytes], embeddings: Rows) -> list[str]:
    """Return the lines of the table of near-duplicates.

    Args:
        tagger: embeds the copies.
        files: the originals.
        embeddings: (N, D) of the originals.
    """
    lines = [
        "| copy | found | lowest tenth of similarities | photos with a wrong duplicate |",
        "|---|---:|---:|---:|",
    ]
    for name, (edit, quality) in EDITS.items():
        copies = embed(tagger, [_edited(file, edit, quality) for file in files])
        similarities = copies @ embeddings.T
        own = similarities.diagonal().copy()
        np.fill_diagonal(similarities, -1)
        wrong = (similarities >= DUPLICATE_SIMILARITY).any(axis=1).mean()
        found = (own >= DUPLICATE_SIMILARITY).mean()
        lines.append(f"| {name} | {found:.1%} | {np.quantile(own, 0.1):.3f} | {wrong:.1%} |")
    others = embeddings @ embeddings.T
    np.fill_diagonal(others, -1)
    wrong = (others >= DUPLICATE_SIMILARITY).any(axis=1).mean()
    lines.append(f"| other photos of the test split | | | {wrong:.1%} |")
    return lines


def _edited(file: bytes, edit: Callable[[Image.Image], Image.Image], quality: int) -> bytes:
    buffer = BytesIO()
    edit(Image.open(BytesIO(file)).convert("RGB")).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _means(results: Sequence[Precision]) -> str:
    return f"{fmean(p.all for p in results):.3f} | {fmean(p.judged for p in results):.3f}"


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--names", type=Path, required=True, help="names.yaml: the texts of names")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    parser.add_argument("--copies", type=int, default=200, help="photos to edit")
    arguments = parser.parse_args()
    classifier = Classifier.load(arguments.checkpoint)
    tagger = Tagger(classifier)
    names = yaml.safe_load(arguments.names.read_text(encoding="utf-8"))["names"]
    photos = read_photos(arguments.manifest)
    embeddings = embed(tagger, [arguments.photos / photo.file for photo in photos])
    texts = {name: definition["text"] for name, definition in names.items()}
    print("\n".join(search_table(photos, embeddings, texts, classifier)), flush=True)
    print()
    chosen = random.Random(0).sample(range(len(photos)), arguments.copies)
    files = [(arguments.photos / photos[place].file).read_bytes() for place in chosen]
    print("\n".join(duplicate_table(tagger, files, embeddings[chosen])))


if __name__ == "__main__":
    main()
