"""The tables of the model card, as Markdown."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scored import SCORED

from app.core.labels import LabelSet
from app.evaluation.metrics import (
    average_precision,
    bootstrap_average_precision,
    draw_bootstrap_samples,
    percentile_interval,
)
from app.evaluation.metrics.calibration import ReliabilityDiagram
from app.evaluation.report import table_to_markdown

Floats = NDArray[np.floating]


def metrics_table(ap: dict[str, float], targets: Floats, scores: Floats) -> str:
    """Return one row per class: positives, average precision and its interval."""
    rows = [["class", "positives", "AP", "95 % interval"]]
    drawn = bootstrap_average_precision(targets, scores, draw_bootstrap_samples(len(targets)))
    for i, (name, value) in enumerate(ap.items()):
        if math.isnan(value):
            rows.append([name, "0", "", ""])
            continue
        low, high = percentile_interval(drawn[:, i])
        scored = " *" if name in SCORED else ""
        positives = str(int((targets[:, i] == 1).sum()))
        rows.append([name + scored, positives, f"{value:.3f}", f"{low:.3f} to {high:.3f}"])
    return table_to_markdown(rows)


def evidence_of_labels(
    label_set: LabelSet, targets: Floats, taught: frozenset[str] | set[str]
) -> list[str]:
    """Return the source that each label was learned from: human, teacher or text alone.

    Args:
        label_set: C labels.
        targets: (N, C) presence by humans on the photos of the train split. A label that has only
            negatives was not learned from humans.
        taught: ids of the labels that some of the teacher's classes imply.
    """
    human = (targets == 1).any(axis=0)
    return [
        "human" if by_human else "teacher" if id in taught else "text alone"
        for id, by_human in zip(label_set.ids, human, strict=True)
    ]


def label_table(
    label_set: LabelSet,
    evidence: Sequence[str],
    rests_on: Sequence[str],
    targets: Floats,
    scores: Floats,
) -> str:
    """Return one row per label: its sources, AP where humans labelled it, and its thresholds.

    Args:
        label_set: C labels with their thresholds.
        evidence: the source that each label was learned from.
        rests_on: the source of each label's `serve` threshold; none if it has no threshold.
        targets: (N, C) presence by humans on the photos of the validation split.
        scores: (N, C) logits of the labels on these photos.
    """
    rows = [["label", "learned from", "`serve` rests on", "positives", "negatives"]]
    rows[0] += ["AP", "serve", "store"]
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    ap = average_precision(targets, scores)
    for i, label in enumerate(label_set.labels):
        # Without a negative, AP is 1 for any scores.
        measured = f"{ap[i]:.3f}" if positives[i] and negatives[i] else ""
        serve = label.thresholds.serve
        thresholds = ["" if serve is None else f"{serve:.4f}", f"{label.thresholds.store:.4f}"]
        known = [str(positives[i]), str(negatives[i])]
        rows.append([label.name, evidence[i], rests_on[i], *known, measured, *thresholds])
    return table_to_markdown(rows, text_columns=3)


def reliability_table(found: ReliabilityDiagram) -> str:
    """Return one row per non-empty bin: pairs, mean probability and share of positives."""
    rows = [["probability", "known pairs", "mean probability", "share of positives"]]
    for b in np.flatnonzero(found.pairs):
        low, high = found.edges[b : b + 2]
        means = (f"{found.probability[b]:.3f}", f"{found.frequency[b]:.3f}")
        rows.append([f"{low:.1f} to {high:.1f}", str(found.pairs[b]), *means])
    return table_to_markdown(rows)
