"""Simulates annotators' votes and a golden set from the photo set's human labels.

A seeded noise model. Several annotators of different reliability label each photo with the names of
the photo's source. Most votes are correct: an annotator misses a present name with probability
1 - reliability, and reports an absent one a tenth as often. Some pairs of photo and name are
ambiguous, more often for hard names. On these pairs the annotators' errors are correlated, and more
of them are false positives, as the paper reports (section 3.2).

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
FALSE_ALARM = 0.1  # rate of false positives, as a share of the rate of misses
AMBIGUOUS = 0.001  # share of pairs, for names that are not hard
AMBIGUOUS_HARD = 0.03
HARD = ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor")
YES_PRESENT, YES_ABSENT = 0.8, 0.5  # probability of a yes for an ambiguous pair


def annotation_of(row: dict[str, str], names: dict[str, NameDefinition]) -> Annotation:
    """Return the human labels of a photo, which was annotated for the names of its source."""
    positive = frozenset(filter(None, row["positive"].split("|")))
    annotated = frozenset(key for key, name in names.items() if name.source == row["source"])
    return Annotation(
        file=row["file"], positive=positive, negative=annotated - positive, row_number=0
    )


def count_yes(present: bool, hard: bool, draw: np.random.Generator) -> int:
    """Draw the number of annotators who vote that a name is present."""
    reliability = np.array(RELIABILITY)
    if draw.random() < (AMBIGUOUS_HARD if hard else AMBIGUOUS):
        yes = np.full(len(RELIABILITY), YES_PRESENT if present else YES_ABSENT)
    else:
        yes = reliability if present else FALSE_ALARM * (1 - reliability)
    return int((draw.random(len(RELIABILITY)) < yes).sum())


def simulate(annotations: Sequence[Annotation], seed: int) -> list[list[str]]:
    """Return the rows of a votes table, sorted by name for each photo."""
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
