"""Votes that annotators might have given, from the photo set's human labels, and a golden set.

A seeded noise model. Each photo is shown to some annotators, who differ in reliability, and they
are asked for the names of the photo's own source. Most answers are right: an annotator misses
what is there with the probability 1 - reliability and sees what is not there ten times less often.
Some pairs of photo and name are ambiguous, hard names more often than others: annotators see the
same ambiguous thing, so they err together, and more often by saying yes, as the paper reports
(section 3.2).

Writes `votes.csv` (file, label, votes, annotators) and `golden.csv` (file, positive, negative).
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.annotation.questions import VOTE_COLUMNS
from app.core.labels import load_label_set
from app.dataset.manifest import (
    Annotation,
    NameDefinition,
    load_names,
    write_annotations,
    write_table,
)

HERE = Path(__file__).parent
RELIABILITY = (0.98, 0.97, 0.95, 0.92, 0.85)
FALSE_ALARM = 0.1  # of how often something is missed
AMBIGUOUS = 0.001  # share of pairs
AMBIGUOUS_HARD = 0.03
HARD = ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor")
YES_PRESENT, YES_ABSENT = 0.8, 0.5  # to an ambiguous pair


def annotation_of(row: dict[str, str], names: dict[str, NameDefinition]) -> Annotation:
    """What is true of one photo: it was annotated for its own source's names."""
    positive = frozenset(filter(None, row["positive"].split("|")))
    asked = frozenset(key for key, name in names.items() if name.source == row["source"])
    return Annotation(file=row["file"], positive=positive, negative=asked - positive, row_number=0)


def count_yes(present: bool, hard: bool, draw: np.random.Generator) -> int:
    """How many of the annotators say that a name is there."""
    reliability = np.array(RELIABILITY)
    if draw.random() < (AMBIGUOUS_HARD if hard else AMBIGUOUS):
        yes = np.full(len(RELIABILITY), YES_PRESENT if present else YES_ABSENT)
    else:
        yes = reliability if present else FALSE_ALARM * (1 - reliability)
    return int((draw.random(len(RELIABILITY)) < yes).sum())


def simulate(annotations: Sequence[Annotation], seed: int) -> list[list[str]]:
    """Rows of a votes table, a photo's in the order of its names."""
    draw = np.random.default_rng(seed)
    rows = []
    for annotation in annotations:
        for name in sorted(annotation.positive | annotation.negative):
            votes = count_yes(name in annotation.positive, name in HARD, draw)
            rows.append([annotation.file, name, str(votes), str(len(RELIABILITY))])
    return rows


def main() -> None:
    """Simulate the votes on a photo set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos.csv")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--names", type=Path, default=HERE / "names.yaml")
    parser.add_argument("--golden", type=int, default=1000, help="photos in the golden set")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = load_names(args.names, load_label_set(args.labels))
    with (args.photos / "photos.csv").open(encoding="utf-8", newline="") as lines:
        annotations = [annotation_of(row, names) for row in csv.DictReader(lines)]
    write_table(args.out / "votes.csv", VOTE_COLUMNS, simulate(annotations, args.seed))
    draw = np.random.default_rng([args.seed, 1])
    chosen = sorted(draw.choice(len(annotations), min(args.golden, len(annotations)), False))
    write_annotations(args.out / "golden.csv", [annotations[i] for i in chosen])
    print(f"votes on {len(annotations)} photos, {len(chosen)} of them in the golden set")


if __name__ == "__main__":
    main()
