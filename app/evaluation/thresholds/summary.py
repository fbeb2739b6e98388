"""What thresholds come to: F1 when serving, recall and share dropped when storing."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.thresholds.fitting import (
    Fitted,
    ThresholdRules,
    best_f1_threshold,
    fit_thresholds,
    has_examples,
)
from app.evaluation.thresholds.store import recall_bound

Floats = NDArray[np.floating]
FOLDS = 5
HEADER = (
    f"{'label':24} {'evidence':>8} {'pos':>5} {'neg':>5} {'serve':>8} {'F1':>6} {'best':>6} "
    f"{'store':>8} {'recall':>6} {'dropped':>7}"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Known pairs of C labels and where two thresholds put them; each is (C,).

    Attributes:
        positives: known positives.
        negatives: known negatives.
        served_positives: of these, those at or above `serve`.
        served_negatives: likewise.
        stored_positives: those at or above `store`.
        stored_negatives: likewise.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    served_positives: NDArray[np.int64]
    served_negatives: NDArray[np.int64]
    stored_positives: NDArray[np.int64]
    stored_negatives: NDArray[np.int64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """(C,) F1 of `serve`; NaN without a known positive."""
        served = self.served_positives + self.served_negatives
        return _ratio(2 * self.served_positives, served + self.positives, self.positives > 0)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(C,) share of the positives that `store` keeps; NaN without one."""
        return _ratio(self.stored_positives, self.positives, self.positives > 0)

    @property
    def dropped(self) -> NDArray[np.float64]:
        """(C,) share of the known pairs that `store` drops; NaN without one."""
        known = self.positives + self.negatives
        stored = self.stored_positives + self.stored_negatives
        return _ratio(known - stored, known, known > 0)

    @property
    def pooled(self) -> "Counts":
        """All labels as one."""
        return Counts(**{name: np.array([sum(getattr(self, name))]) for name in self.__slots__})


def count(targets: Floats, scores: Floats, serve: Floats, store: Floats) -> Counts:
    """Count what passes.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        serve: thresholds, (C,), or (N, C) where each photo has its own.
        store: likewise.
    """
    present, absent = targets == 1, targets == 0
    served, stored = scores >= serve, scores >= store
    sides = (present, absent, present & served, absent & served, present & stored, absent & stored)
    return Counts(*(side.sum(axis=0) for side in sides))


def count_unseen(
    targets: Floats, scores: Floats, rules: ThresholdRules, teacher: Floats | None = None
) -> Counts:
    """Count what thresholds let pass that were fitted without the photo: cross-validation.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        rules: how the thresholds are chosen.
        teacher: (N, C) a teacher's, as `fit_thresholds` takes it.
    """
    fold = np.random.default_rng(1).permutation(len(targets)) % min(FOLDS, len(targets))
    serve, store = np.empty(targets.shape), np.empty(targets.shape)
    for k in np.unique(fold):
        rest = fold != k
        word = None if teacher is None else teacher[rest]
        fitted = fit_thresholds(targets[rest], scores[rest], rules, word)
        serve[fold == k], store[fold == k] = fitted.serve, fitted.store
    return count(targets, scores, serve, store)


@dataclass(frozen=True, slots=True)
class Summary:
    """All labels together.

    Attributes:
        judged: labels with enough known pairs of both kinds.
        with_positives: labels with a known positive.
        positives: known positives by humans.
        known_pairs: known pairs by humans.
        macro_f1: mean F1 of `serve` over the judged labels.
        best_macro_f1: what the best thresholds in hindsight would give.
        macro_f1_of_all: over all labels with a known positive.
        best_macro_f1_of_all: likewise.
        unseen_macro_f1: as `macro_f1`, thresholds fitted on other photos.
        recall: of all known positives at `store`.
        recall_at_least: with the wanted confidence, on photos like these.
        dropped: share of all known pairs below `store`.
        droppable: what a faultless model would drop at the recall that was asked for.
        unseen_recall: thresholds fitted on other photos.
        unseen_dropped: likewise.
    """

    judged: int
    with_positives: int
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
        """For a checkpoint's card; what is undefined is left out."""
        return {
            name: round(value, 4) for name, value in asdict(self).items() if not math.isnan(value)
        }

    def text(self, rules: ThresholdRules) -> str:
        """For people."""
        enough = f"{rules.min_positives} known positives and negatives"
        of_judged = (
            f"macro F1 {self.macro_f1:.4f}, best possible {self.best_macro_f1:.4f}, over "
            f"{self.judged} labels with {enough}\n"
            f"       macro F1 {self.unseen_macro_f1:.4f} over the {self.judged} on photos not seen "
            f"({FOLDS}-fold cross-validation)\n"
            if self.judged
            else f"no label has {enough}: all have the fallback\n"
        )
        return (
            f"serve: {of_judged}"
            f"       macro F1 {self.macro_f1_of_all:.4f}, best possible "
            f"{self.best_macro_f1_of_all:.4f}, over all {self.with_positives} with a known "
            "positive\n"
            f"store: drops {self.dropped:.2%} of {self.known_pairs} known pairs and keeps "
            f"{self.recall:.2%} of {self.positives} positives (at least "
            f"{self.recall_at_least:.2%} with confidence {rules.confidence:g})\n"
            f"       drops {self.unseen_dropped:.2%} and keeps {self.unseen_recall:.2%} on photos "
            f"not seen ({FOLDS}-fold cross-validation)\n"
            f"       a model without a mistake would drop {self.droppable:.2%} at recall "
            f"{rules.recall:g}"
        )


def summarise(
    targets: Floats,
    scores: Floats,
    fitted: Fitted,
    rules: ThresholdRules,
    teacher: Floats | None = None,
) -> tuple[Counts, NDArray[np.float64], Summary]:
    """Measure thresholds on the photos that they were fitted on, and by cross-validation.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        fitted: the thresholds.
        rules: how they were chosen.
        teacher: (N, C) a teacher's, as `fit_thresholds` takes it.

    Returns:
        Counts per label, the best F1 there is per label (NaN without a positive), and the summary.
    """
    counts = count(targets, scores, fitted.serve, fitted.store)
    unseen = count_unseen(targets, scores, rules, teacher)
    judged, some = has_examples(targets, rules.min_positives), counts.positives > 0
    best = np.array(
        [
            best_f1_threshold(targets[:, c], scores[:, c])[1] if some[c] else math.nan
            for c in range(targets.shape[1])
        ]
    )
    pooled, unseen_pooled = counts.pooled, unseen.pooled
    positives, negatives = int(pooled.positives[0]), int(pooled.negatives[0])
    known = positives + negatives
    summary = Summary(
        judged=int(judged.sum()),
        with_positives=int(some.sum()),
        positives=positives,
        known_pairs=known,
        macro_f1=_mean(counts.f1[judged]),
        best_macro_f1=_mean(best[judged]),
        macro_f1_of_all=_mean(counts.f1[some]),
        best_macro_f1_of_all=_mean(best[some]),
        unseen_macro_f1=_mean(unseen.f1[judged]),
        recall=float(pooled.recall[0]),
        recall_at_least=recall_bound(int(pooled.stored_positives[0]), positives, rules.confidence)
        if positives
        else math.nan,
        dropped=float(pooled.dropped[0]),
        droppable=1 - rules.recall * positives / known if known else math.nan,
        unseen_recall=float(unseen_pooled.recall[0]),
        unseen_dropped=float(unseen_pooled.dropped[0]),
    )
    return counts, best, summary


def rows(
    ids: Sequence[str], evidence: Sequence[str], fitted: Fitted, counts: Counts, best: Floats
) -> list[str]:
    """One line a label under `HEADER`."""
    return [
        f"{id:24} {evidence[c]:>8} {counts.positives[c]:5} {counts.negatives[c]:5} "
        f"{fitted.serve[c]:8.4f} {_figure(counts.f1[c])} {_figure(best[c])} "
        f"{fitted.store[c]:8.4f} {_figure(counts.recall[c])} {_figure(counts.dropped[c]):>7}"
        for c, id in enumerate(ids)
    ]


def _figure(value: float) -> str:
    return f"{'-' if math.isnan(value) else f'{value:.3f}':>6}"


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _ratio(
    parts: NDArray[np.int64], whole: NDArray[np.int64], defined: NDArray[np.bool_]
) -> NDArray[np.float64]:
    nothing = np.full(len(parts), math.nan)
    return np.asarray(np.divide(parts, whole, out=nothing, where=defined))
