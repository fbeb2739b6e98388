"""Measures how well the map of the embedding atlas keeps neighbours, and prints a table.

    python recipes/applications/atlas_neighbours.py --photos FOLDER --embeddings FILE

FOLDER has photos.csv with the columns `file`, `source` and `class`, one class per photo. The photos
of the validation split are mapped. FILE keeps their embeddings for the next run.
docs/applications.md has the table.
"""

import argparse
import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.applications.atlas import place_photos
from app.core.classifier import Classifier
from app.core.labels import make_selection
from app.dataset.embeddings import has_key, read_embeddings, write_embeddings
from app.settings import SHIPPED_CHECKPOINT
from app.tagger import Tagger

VALIDATION_DIGIT = 8  # of the sha256 of a file modulo 10
NEIGHBOURS = 10


def main() -> None:
    """Embed, place, measure, and print a table."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True)
    arguments = parser.parse_args()
    classes = read_classes(arguments.photos)
    tagger = Tagger(Classifier.load(SHIPPED_CHECKPOINT))
    embeddings = embed(tagger, arguments.photos, list(classes), arguments.embeddings)
    categories = best_categories(tagger.classifier, embeddings)
    places = place_photos(embeddings)
    spaces = {
        "embeddings": nearest(embeddings.astype(np.float64)),
        "map": nearest(places.astype(np.float64)),
        "any photo": np.tile(np.arange(len(embeddings)), (len(embeddings), 1)),
    }
    names = np.array(list(classes.values()))
    labelled = categories != ""
    print(f"{len(names)} photos, {len(set(names))} classes, {labelled.sum()} with a label\n")
    print(f"| nearest {NEIGHBOURS} in | same class | same category | same as in embeddings |")
    print("|---|---:|---:|---:|")
    for space, neighbours in spaces.items():
        same_class = share_of_same(names, neighbours)
        same_category = share_of_same(categories, neighbours[labelled], categories[labelled])
        kept = np.mean(
            [
                np.isin(wanted, found).mean()
                for wanted, found in zip(spaces["embeddings"], neighbours, strict=True)
            ]
        )
        kept_text = f"{kept:.3f}" if space != "any photo" else "-"
        print(f"| {space} | {same_class:.3f} | {same_category:.3f} | {kept_text} |")


def read_classes(photos: Path) -> dict[str, str]:
    """Return the class of each photo of the validation split, with its source."""
    with (photos / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["file"]: f"{row['source']}/{row['class']}"
        for row in rows
        if is_validation(photos / row["file"])
    }


def is_validation(path: Path) -> bool:
    """Return whether a photo is of the validation split, which the bytes of its file decide."""
    return int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) % 10 == VALIDATION_DIGIT


def embed(tagger: Tagger, photos: Path, names: Sequence[str], file: Path) -> NDArray[np.float32]:
    """Return the embeddings of photos, from the file if it has those of this checkpoint."""
    key = tagger.classifier.checkpoint.card.sha256["open_clip_model.safetensors"]
    known = dict(zip(*read_embeddings(file), strict=True)) if has_key(file, key) else {}
    missing = [name for name in names if name not in known]
    for photo, name in zip(tagger.embed([photos / name for name in missing]), missing, strict=True):
        if photo.error is not None:
            raise photo.error
        known[name] = torch.from_numpy(photo.embedding)
    if missing:
        write_embeddings(file, list(known), torch.stack(list(known.values())), key=key)
    rows: NDArray[np.float32] = torch.stack([known[name] for name in names]).numpy()
    return rows


def best_categories(classifier: Classifier, embeddings: NDArray[np.float32]) -> NDArray[np.str_]:
    """Return the category of the best served label of each photo; empty for none."""
    select = make_selection(classifier.labels)
    found = [select(row) for row in classifier.score_embeddings(torch.from_numpy(embeddings))]
    return np.array([tags[0].label.category if tags else "" for tags in found])


def nearest(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the nearest rows of each row, (N, NEIGHBOURS)."""
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    order: NDArray[np.int64] = distances.argsort(axis=1, kind="stable")[:, :NEIGHBOURS]
    return order


def share_of_same(
    values: NDArray[np.str_],
    neighbours: NDArray[np.int64],
    own: NDArray[np.str_] | None = None,
) -> float:
    """Return the mean share of neighbours with the same value.

    Args:
        values: of all photos.
        neighbours: of M photos.
        own: values of the M photos; by default all.
    """
    own = values if own is None else own
    return float((values[neighbours] == own[:, None]).mean())


if __name__ == "__main__":
    main()
