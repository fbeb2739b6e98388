"""Measures POST /zero-shot of a running server on everyday texts, from its responses only.

Sends the photos of one split to the server with all texts of `everyday_texts.yaml`, and prints for
each text how many of the photos that it fits score at least 0.5, and how many of the photos that it
cannot fit score below. With --json, it also writes the results to a file.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from manifest import TRAVEL, read_rows, split_of
from numpy.typing import NDArray
from rich.progress import track

HERE = Path(__file__).parent
BATCH_SIZE = 32
THRESHOLD = 0.5
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo and what humans said of it.

    Attributes:
        path: the file.
        source: its collection.
        names: its class; for a photo that was annotated for every name of its source, the names
            that it shows.
        is_annotated: whether a name of its source that is not in `names` is absent.
    """

    path: Path
    source: str
    names: frozenset[str]
    is_annotated: bool

    def matches(self, pattern: str) -> bool:
        """Return whether SOURCE/CLASS or SOURCE/-NAME describes the photo."""
        source, _, name = pattern.partition("/")
        if source != self.source:
            return False
        if self.is_annotated and name.startswith("-"):
            return name[1:] not in self.names
        return any(fnmatchcase(each, name) for each in self.names)


@dataclass(frozen=True, slots=True)
class EverydayText:
    """A text, and the patterns of the photos that it fits or can never fit."""

    text: str
    fits: Sequence[str]
    never: Sequence[str]

    def target(self, photo: Photo) -> int:
        """Return 1 if the text fits the photo, 0 if it cannot, -1 if that is unknown."""
        if any(photo.matches(pattern) for pattern in self.fits):
            return 1
        return 0 if any(photo.matches(pattern) for pattern in self.never) else UNKNOWN


def load_texts(path: Path) -> list[EverydayText]:
    """Read the texts, with the patterns of each group instead of its name."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    groups: Mapping[str, list[str]] = content["groups"]

    def expanded(patterns: Sequence[str]) -> list[str]:
        return [each for pattern in patterns for each in groups.get(pattern, [pattern])]

    return [
        EverydayText(each["text"], expanded(each["fits"]), expanded(each["never"]))
        for each in content["texts"]
    ]


def photos_of(root: Path, split: str) -> Iterator[Photo]:
    """Yield the photos of both sets in a split; photos with the same bytes once."""
    seen = set()
    for folder, is_annotated in ((root, True), (root / TRAVEL, False)):
        for row in read_rows(folder / "photos.csv"):
            path = folder / row["file"]
            data = path.read_bytes()
            if split_of(data) != split or sha256(data).digest() in seen:
                continue
            seen.add(sha256(data).digest())
            names = row["positive"].split("|") if is_annotated else [row["class"]]
            yield Photo(path, row["source"], frozenset(names), is_annotated)


def confidences(
    client: httpx.Client, photos: Sequence[Photo], texts: Sequence[str], options: dict[str, Any]
) -> tuple[NDArray[np.float64], str]:
    """Return the (N, T) confidences of /zero-shot, and the scoring that the server used.

    Raises:
        SystemExit: the server cannot use a photo.
    """
    rows, scoring = [], ""
    for start in track(range(0, len(photos), BATCH_SIZE), "POST /zero-shot"):
        batch = photos[start : start + BATCH_SIZE]
        files = [("images", (str(start + i), p.path.read_bytes())) for i, p in enumerate(batch)]
        response = client.post("/zero-shot", files=files, data={"labels": texts, **options})
        answer = response.raise_for_status().json()
        scoring = answer["scoring"]
        for photo, result in zip(batch, answer["results"], strict=True):
            if result["status"] != "ok":
                raise SystemExit(f"{photo.path}: {result['error']['message']}")
            by_text = {score["label"]: score["confidence"] for score in result["scores"]}
            rows.append([by_text[text] for text in texts])
    return np.array(rows), scoring


def share(values: NDArray[np.bool_]) -> float | None:
    """Return the share of true values, or None if there are no values."""
    return float(values.mean()) if values.size else None


def shares(scores: NDArray[np.float64], targets: NDArray[np.int_]) -> dict[str, Any]:
    """Return the pairs that fit, the recall, the pairs that cannot fit, and the share below."""
    fit, not_fit = scores[targets == 1] >= THRESHOLD, scores[targets == 0] < THRESHOLD
    return {
        "fits": fit.size,
        "recall": share(fit),
        "never": not_fit.size,
        "below": share(not_fit),
    }


def line(name: str, found: dict[str, Any]) -> str:
    """Format one line of the table, with dashes for missing values."""
    recall, below = (
        f"{'-' if found[key] is None else format(found[key], '.3f'):>9}"
        for key in ("recall", "below")
    )
    return f"{name:32}{found['fits']:7}{recall}{found['never']:8}{below}"


def main() -> None:
    """Measure and print; with --json, also write the results to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos.csv")
    parser.add_argument("--part", dest="split", default="test", choices=("validation", "test"))
    parser.add_argument("--scoring", help="default: what the server uses by default")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    texts = load_texts(HERE / "everyday_texts.yaml")
    photos = list(photos_of(args.photos, args.split))
    targets = np.array([[text.target(photo) for text in texts] for photo in photos])
    options = {"scoring": args.scoring} if args.scoring else {}
    with httpx.Client(base_url=args.url, timeout=120) as client:
        card = client.get("/model").raise_for_status().json()
        print(f"{card['name']} {card['version']}, {args.split}: {len(photos)} photos")
        scores, scoring = confidences(client, photos, [each.text for each in texts], options)
    table = {each.text: shares(scores[:, i], targets[:, i]) for i, each in enumerate(texts)}
    pairs = shares(scores, targets)
    recall, below = (
        float(np.mean([found[key] for found in table.values() if found[key] is not None]))
        for key in ("recall", "below")
    )
    print(f"scoring: {scoring}")
    print(f"{'text':32}{'fits':>7}{'recall':>9}{'never':>8}{'below':>9}")
    for name, found in [*table.items(), ("all pairs", pairs)]:
        print(line(name, found))
    print(f"{'mean of the texts':39}{recall:9.3f}{'':8}{below:9.3f}")
    if args.json:
        report = {
            "model": {"name": card["name"], "version": card["version"]},
            "split": args.split,
            "photos": len(photos),
            "scoring": scoring,
            "table": table,
            "pairs": pairs,
            "mean": {"recall": recall, "below": below},
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
