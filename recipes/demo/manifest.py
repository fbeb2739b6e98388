"""Makes the manifest of both photo sets and the names file that defines its names.

Writes `manifest.csv`, with paths relative to the folder of the photo sets, and `names.yaml` to the
work folder. A pair of a photo and a name that was not judged is in neither column: it is unknown.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import yaml

from app.core.labels import LabelSet, load_label_set
from app.dataset.manifest import NameDefinition, Split, load_names, names_from_labels
from app.dataset.manifest.manifest_file import COLUMNS

HERE = Path(__file__).parent
TRAVEL = "travel"  # folder of the second set
Row = dict[str, str]


def split_of(photo: bytes) -> Split:
    """Return the split of a photo by the hash of its bytes: 80 % train, 10 % each of the others."""
    digit = int(sha256(photo).hexdigest(), 16) % 10
    return "validation" if digit == 8 else "test" if digit == 9 else "train"


def read_rows(path: Path) -> list[Row]:
    """Read a CSV file as one mapping per row."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def all_names(label_set: LabelSet) -> dict[str, NameDefinition]:
    """Return the names of the older photos and, for the travel photos, the ids of the labels."""
    return names_from_labels(label_set) | load_names(HERE / "names.yaml", label_set)


def judged_names(row: Row, names: Mapping[str, NameDefinition]) -> tuple[list[str], list[str]]:
    """Return the positive and negative names of an older photo.

    It was annotated for all names of its source.
    """
    positive = row["positive"].split("|") if row["positive"] else []
    annotated = [key for key, name in names.items() if name.source == row["source"]]
    return positive, [key for key in annotated if key not in positive]


def relations(photos: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return what each (source, class) of the travel photos says of a label, by label id."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in read_rows(photos / TRAVEL / "classes.csv"):
        found.setdefault((row["source"], row["class"]), {})[row["label"]] = row["relation"]
    return found


def judged_labels(row: Row, relation: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the positive and negative labels of a travel photo."""
    positive = row["positive"].split("|") if row["positive"] else []
    absent = [label for label, kind in relation.items() if kind == "negative"]
    return positive, [label for label in absent if label not in positive]


def manifest_rows(photos: Path, names: Mapping[str, NameDefinition]) -> Iterator[Row]:
    """Yield the manifest's row of every photo."""
    relation = relations(photos)
    for row in read_rows(photos / "photos.csv"):
        yield _row(photos, row["file"], *judged_names(row, names))
    for row in read_rows(photos / TRAVEL / "photos.csv"):
        judged = judged_labels(row, relation.get((row["source"], row["class"]), {}))
        yield _row(photos, f"{TRAVEL}/{row['file']}", *judged)


def _row(photos: Path, file: str, positive: list[str], negative: list[str]) -> Row:
    part = split_of((photos / file).read_bytes())
    return dict(zip(COLUMNS, (file, part, "|".join(positive), "|".join(negative)), strict=True))


def write_names(path: Path, names: Mapping[str, NameDefinition]) -> None:
    """Write a names file."""
    content = {key: name.model_dump(mode="json") for key, name in names.items()}
    path.write_text(yaml.safe_dump({"names": content}, sort_keys=False), encoding="utf-8")


def main() -> None:
    """Write the manifest and the names file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos.csv")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    names = all_names(load_label_set(args.labels))
    write_names(args.work / "names.yaml", names)
    rows = list(manifest_rows(args.photos, names))
    with (args.work / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    counts = {
        part: sum(row["part"] == part for row in rows) for part in ("train", "validation", "test")
    }
    print(f"{len(rows)} photos: {counts}")


if __name__ == "__main__":
    main()
