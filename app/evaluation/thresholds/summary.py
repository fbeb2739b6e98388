"""Summarises thresholds: F1 of serving, recall and share of dropped pairs of storing."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.labels import LabelSet, ThresholdKind, Thresholds
from app.dataset.labelled import listed
from app.evaluation.metrics import sigmoid
from app.evaluation.thresholds.fitting import (
    FittedThresholds,
    ThresholdRules,
    best_f1_threshold,
    fit_thresholds,
    has_examples,
)
from app.evaluation.thresholds.recall_bounds import least_positives, recall_lower_bound

Floats = NDArray[np.floating]
FOLDS = 5
THRESHOLD_TABLE_HEADER = (
    f"{'label':24} {'evidence':>8} {'pos':>5} {'neg':>5} {'kind':>9} {'serve':>8} {'F1':>6} "
    f"{'best':>6} {'store':>8} {'recall':>6} {'dropped':>7}"
)


@dataclass(frozen=True, slots=True)
class ThresholdCounts:
    """Counts of known pairs per label, and of those that pass each threshold; each is (C,).

    Attributes:
        positives: known positives.
        negatives: known negatives.
        served_positives: positives at or above `serve`.
        served_negatives: negatives at or above `serve`.
        stored_positives: positives at or above `store`.
        stored_negatives: negatives at or above `store`.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    served_positives: NDArray[np.int64]
    served_negatives: NDArray[np.int64]
    stored_positives: NDArray[np.int64]
    stored_negatives: NDArray[np.int64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """(C,) F1 of `serve`; NaN without a known positive or without a known negative."""
        served = self.served_positives + self.served_negatives
        return _ratio(2 * self.served_positives, served + self.positives, self.measurable)

    @property
    def measurable(self) -> NDArray[np.bool_]:
        """(C,) whether a label has a known positive and a known negative."""
        return np.minimum(self.positives, self.negatives) > 0

    @property
    def recall(self) -> NDArray[np.float64]:
        """(C,) share of the positives that `store` keeps; NaN without a known positive."""
        return _ratio(self.stored_positives, self.positives, self.positives > 0)

    @property
    def dropped(self) -> NDArray[np.float64]:
        """(C,) share of the known pairs that `store` drops; NaN without a known pair."""
        known = self.positives + self.negatives
        stored = self.stored_positives + self.stored_negatives
        return _ratio(known - stored, known, known > 0)

    @property
    def pooled(self) -> "ThresholdCounts":
        """The sum over all labels, as one label."""
        return ThresholdCounts(
            **{name: np.array([sum(getattr(self, name))]) for name in self.__slots__}
        )


def count_passing(targets: Floats, scores: Floats, serve: Floats, store: Floats) -> ThresholdCounts:
    """Count the known pairs that pass each threshold.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        serve: thresholds, (C,) or, per photo, (N, C).
        store: likewise.
    """
    present, absent = targets == 1, targets == 0
    served, stored = scores >= serve, scores >= store
    sides = (present, absent, present & served, absent & served, present & stored, absent & stored)
    return ThresholdCounts(*(side.sum(axis=0) for side in sides))


def count_passing_cross_validated(
    targets: Floats, logits: Floats, rules: ThresholdRules, teacher: Floats | None = None
) -> ThresholdCounts:
    """Count the pairs that pass thresholds fitted without their photo (cross-validation).

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        logits: (N, C) float32.
        rules: the rules by which thresholds are chosen.
        teacher: (N, C) a teacher's targets, as for `fit_thresholds`.
    """
    fold = np.random.default_rng(1).permutation(len(targets)) % min(FOLDS, len(targets))
    serve, store = np.empty(targets.shape), np.empty(targets.shape)
    for k in np.unique(fold):
        train = fold != k
        train_teacher = None if teacher is None else teacher[train]
        fitted = fit_thresholds(targets[train], logits[train], rules, train_teacher)
        serve[fold == k], store[fold == k] = fitted.serve, fitted.store
    return count_passing(targets, sigmoid(logits), serve, store)


@dataclass(frozen=True, slots=True)
class ThresholdSummary:
    """Metrics of the thresholds over all labels; the names are keys of a checkpoint's card.

    Attributes:
        judged: number of labels with enough known positives and negatives.
        measurable: number of labels with a known positive and a known negative.
        positives: number of known human positives.
        known_pairs: number of known human pairs.
        macro_f1: mean F1 of `serve` over the judged labels.
        best_macro_f1: mean best possible F1 over the judged labels.
        macro_f1_of_all: mean F1 over all measurable labels.
        best_macro_f1_of_all: mean best possible F1 over all measurable labels.
        unseen_macro_f1: `macro_f1` by cross-validation.
        recall: share of all known positives that `store` keeps.
        recall_at_least: lower confidence bound of `recall`.
        dropped: share of all known pairs that `store` drops.
        droppable: share of pairs that a perfect model would drop at the target recall.
        unseen_recall: `recall` by cross-validation; NaN, like `unseen_dropped`, if no label is
            judged, because `store` is then not fitted.
        unseen_dropped: `dropped` by cross-validation.
    """

    judged: int
    measurable: int
    positives: int
    known_pairs: int
    macro_f1: float
    best_macro_f1: float
    macro_f1_of_all: float
    best_macro_f1_of_all: float
    unseen_macro_f1: float
    recall: float
    recall_at_least: float
    dropped: float
    droppable: float
    unseen_recall: float
    unseen_dropped: float

    def as_metrics(self) -> dict[str, Any]:
        """Return the metrics for a checkpoint's card, without undefined values."""
        return {
            name: round(value, 4) for name, value in asdict(self).items() if not math.isnan(value)
        }

    def text(self, rules: ThresholdRules) -> str:
        """Return the summary as text."""
        enough = f"{rules.min_positives} known positives and negatives"
        of_judged = (
            f"macro F1 {self.macro_f1:.4f}, best possible {self.best_macro_f1:.4f}, over "
            f"{self.judged} labels with {enough}\n"
            f"       macro F1 {self.unseen_macro_f1:.4f} over the {self.judged} on photos not seen "
            f"({FOLDS}-fold cross-validation)\n"
            if self.judged
            else f"no label has {enough}: none is fitted to human labels\n"
        )
        kept = (
            f"drops {self.dropped:.2%} of {self.known_pairs} known pairs and keeps "
            f"{self.recall:.2%} of {self.positives} positives (at least "
            f"{self.recall_at_least:.2%} with confidence {rules.confidence:g})"
        )
        of_stored = (
            f"{kept}\n"
            f"       drops {self.unseen_dropped:.2%} and keeps {self.unseen_recall:.2%} on photos "
            f"not seen ({FOLDS}-fold cross-validation)\n"
            f"       a perfect model would drop {self.droppable:.2%} at recall {rules.recall:g}"
            if self.judged
            else f"not fitted; at most {Thresholds().store:g} for every label, which {kept}"
        )
        return (
            f"serve: {of_judged}"
            f"       macro F1 {self.macro_f1_of_all:.4f}, best possible "
            f"{self.best_macro_f1_of_all:.4f}, over all {self.measurable} with a known "
            "positive and negative\n"
            f"store: {of_stored}"
        )


def summarise_thresholds(
    targets: Floats,
    logits: Floats,
    fitted: FittedThresholds,
    rules: ThresholdRules,
    teacher: Floats | None = None,
) -> tuple[ThresholdCounts, NDArray[np.float64], ThresholdSummary]:
    """Measure thresholds on the photos that they were fitted on, and by cross-validation.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        logits: (N, C) float32.
        fitted: the thresholds.
        rules: the rules by which they were chosen.
        teacher: (N, C) a teacher's targets, as for `fit_thresholds`.

    Returns:
        Counts per label, best possible F1 of a cut between logits per label (NaN without a
        positive), and the summary.
    """
    counts = count_passing(targets, sigmoid(logits), fitted.serve, fitted.store)
    unseen = count_passing_cross_validated(targets, logits, rules, teacher)
    judged, some = has_examples(targets, rules.min_positives), counts.measurable
    best = np.array(
        [
            best_f1_threshold(targets[:, c], logits[:, c])[1] if some[c] else math.nan
            for c in range(targets.shape[1])
        ]
    )
    pooled, unseen_pooled = counts.pooled, unseen.pooled
    positives, negatives = int(pooled.positives[0]), int(pooled.negatives[0])
    known = positives + negatives
    summary = ThresholdSummary(
        judged=int(judged.sum()),
        measurable=int(some.sum()),
        positives=positives,
        known_pairs=known,
        macro_f1=_mean(counts.f1[judged]),
        best_macro_f1=_mean(best[judged]),
        macro_f1_of_all=_mean(counts.f1[some]),
        best_macro_f1_of_all=_mean(best[some]),
        unseen_macro_f1=_mean(unseen.f1[judged]),
        recall=float(pooled.recall[0]),
        recall_at_least=recall_lower_bound(
            int(pooled.stored_positives[0]), positives, rules.confidence
        )
        if positives
        else math.nan,
        dropped=float(pooled.dropped[0]),
        droppable=1 - rules.recall * positives / known if known else math.nan,
        unseen_recall=float(unseen_pooled.recall[0]) if judged.any() else math.nan,
        unseen_dropped=float(unseen_pooled.dropped[0]) if judged.any() else math.nan,
    )
    return counts, best, summary


def threshold_table_rows(
    ids: Sequence[str],
    fitted: FittedThresholds,
    counts: ThresholdCounts,
    best: Floats,
) -> list[str]:
    """Return one line per label, in the columns of `THRESHOLD_TABLE_HEADER`."""
    return [
        f"{id:24} {fitted.evidence[c]:>8} {counts.positives[c]:5} {counts.negatives[c]:5} "
        f"{fitted.serve_kind[c] or '-':>9} {_serve_figure(fitted.serve[c])} "
        f"{_figure(counts.f1[c])} {_figure(best[c])} "
        f"{fitted.store[c]:8.4f} {_figure(counts.recall[c])} {_figure(counts.dropped[c]):>7}"
        for c, id in enumerate(ids)
    ]


def fallback_lines(
    ids: Sequence[str],
    fitted: FittedThresholds,
    counts: ThresholdCounts,
    rules: ThresholdRules,
    split: str,
) -> list[str]:
    """Return a warning about labels whose `serve` is the fallback; empty if there are none.

    Args:
        ids: C labels.
        fitted: the thresholds.
        counts: the counts of known pairs per label.
        rules: the rules by which the thresholds were chosen.
        split: the split that they were fitted on.
    """
    few = _labels_of_kind("fallback", ids, fitted, counts)
    if not few:
        return []
    return [
        "",
        f"warning: too few photos for {len(few)} of {len(ids)} labels: {listed(few)}. A threshold "
        f"is fitted if the split {split} has at least {rules.min_positives} known positives and "
        f"{rules.min_positives} known negatives (--min-positives). These labels get a guess, at "
        f"least {rules.serve_floor:g}, that passes the share of photos known to have the label "
        f"plus {rules.serve_share:.0%}: such a label may hardly ever be served, or on the wrong "
        f"photos. Add photos of it, give the split {split} a larger share (mumic data split "
        "--shares), or set its threshold in labels.yaml and run mumic seal",
    ]


def guarantee_lines(
    ids: Sequence[str],
    fitted: FittedThresholds,
    counts: ThresholdCounts,
    rules: ThresholdRules,
    split: str,
) -> list[str]:
    """Return what is guaranteed of the recall of `serve`, and a warning about other labels.

    Args:
        ids: C labels.
        fitted: the thresholds.
        counts: the counts of known pairs per label.
        rules: the rules by which the thresholds were chosen.
        split: the split that they were fitted on.

    Returns:
        The lines; none if no recall was asked for.
    """
    if rules.recall_at_least is None:
        return []
    wanted = f"a recall of at least {rules.recall_at_least:g} with confidence {rules.confidence:g}"
    without = [
        f"{id} ({counts.positives[c]} positive)"
        for c, id in enumerate(ids)
        if fitted.serve_kind[c] in ("best_f1", "fallback")
    ]
    lines = [
        f"serve: {fitted.serve_kind.count('recall')} of {len(ids)} labels have {wanted} each, on "
        f"photos that come from where those of the split {split} come from"
    ]
    if without:
        lines += [
            "",
            f"warning: {wanted} takes {least_positives(rules.recall_at_least, rules.confidence)} "
            f"known positives, so there is no guarantee for {len(without)} of {len(ids)} labels: "
            f"{listed(without)}. Their serve is that of the best F1, or the fallback. Add photos "
            "of them, or lower --recall-at-least or --confidence",
        ]
    return lines


def not_served_lines(
    labels: LabelSet, fitted: FittedThresholds, counts: ThresholdCounts, split: str, out: Path
) -> list[str]:
    """Return a warning about labels that are not served by default; empty if there are none.

    Args:
        labels: C labels.
        fitted: the thresholds.
        counts: the counts of known pairs per label.
        split: the split that they were fitted on.
        out: the checkpoint directory that they were written to.
    """
    kept = set(labels.fitted_ids)  # to example photos, which these photos do not replace
    ids = labels.ids
    without = [id for id in _labels_of_kind(None, ids, fitted, counts) if id not in kept]
    if not without:
        return []
    return [
        "",
        f"warning: {len(without)} of {len(ids)} labels are not served by default, because the "
        f"split {split} has no known positive or no known negative of them: {listed(without)}. "
        "labels.yaml has evidence: none and serve: null for them; min_confidence and all_scores "
        "return their scores all the same. To serve such a label by default, add photos with and "
        f"without it to the split and fit again, or set its serve in {out / 'labels.yaml'} to a "
        f"number and run: mumic seal {out}",
    ]


def _labels_of_kind(
    kind: ThresholdKind | None,
    ids: Sequence[str],
    fitted: FittedThresholds,
    counts: ThresholdCounts,
) -> list[str]:
    return [
        f"{id} ({counts.positives[c]} positive, {counts.negatives[c]} negative)"
        for c, id in enumerate(ids)
        if fitted.serve_kind[c] == kind
    ]


def _serve_figure(serve: float) -> str:
    return f"{'null' if math.isinf(serve) else f'{serve:.4f}':>8}"


def _figure(value: float) -> str:
    return f"{'-' if math.isnan(value) else f'{value:.3f}':>6}"


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _ratio(
    parts: NDArray[np.int64], whole: NDArray[np.int64], defined: NDArray[np.bool_]
) -> NDArray[np.float64]:
    nothing = np.full(len(parts), math.nan)
    return np.asarray(np.divide(parts, whole, out=nothing, where=defined))
