"""Thresholds per label (section 7): from where on it is served, and from where on it is stored."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.labels import LabelSet, Thresholds
from app.dataset.labelled import UNKNOWN
from app.evaluation.thresholds.store import store_thresholds

Floats = NDArray[np.floating]
Evidence = Literal["human", "teacher", "fallback"]
TEACHER_SURE = 0.5


@dataclass(frozen=True, slots=True)
class ThresholdRules:
    """How thresholds are chosen.

    Attributes:
        min_positives: known positives, and known negatives, below which a label gets the fallback.
        precision: wanted of `serve`; None: the best F1.
        slack: F1 that `serve` gives up to be stricter.
        recall: wanted of `store`, over all labels together, on photos that were not seen.
        confidence: with which `store` keeps it.
        serve_floor: least `serve` of a fallback.
        serve_share: share of the photos that a fallback's `serve` passes, beside as many as are
            known to have the label.
    """

    min_positives: int = 10
    precision: float | None = None
    slack: float = 0.01
    recall: float = 0.98
    confidence: float = 0.95
    serve_floor: float = 0.5
    serve_share: float = 0.01


@dataclass(frozen=True, slots=True)
class Fitted:
    """Thresholds of C labels.

    Attributes:
        serve: (C,) in [0, 1].
        store: (C,) in [0, 1], never above `serve`.
        serve_is_fitted: (C,) whether `serve` rests on photos of the label, or is the fallback.
        store_is_fitted: (C,) the same of `store`.
    """

    serve: NDArray[np.float64]
    store: NDArray[np.float64]
    serve_is_fitted: NDArray[np.bool_]
    store_is_fitted: NDArray[np.bool_]


def fit_thresholds(
    targets: Floats, scores: Floats, rules: ThresholdRules, teacher: Floats | None = None
) -> Fitted:
    """Choose both thresholds of every label.

    `serve` is chosen label by label, on what humans said and, where they did not, on a teacher's
    sure word. `store` is chosen for all labels together, on what humans said alone, see
    `store_thresholds`. The fallback of a label with too few examples: `serve` passes as
    many photos as are known to have the label and `serve_share` of all photos more, and is at
    least `serve_floor`; `store` is that of a label which is like all labels together, or the
    label set's default where no label has enough examples.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        rules: how.
        teacher: (N, C) in [0, 1], or negative where it says nothing.
    """
    evidence = targets if teacher is None else with_teacher(targets, teacher)
    served = has_examples(evidence, rules.min_positives)
    stored = has_examples(targets, rules.min_positives)
    serve = [
        _serve(evidence[:, c], scores[:, c], rules)
        if served[c]
        else _serve_fallback(evidence[:, c], scores[:, c], rules)
        for c in range(scores.shape[1])
    ]
    store = (
        store_thresholds(targets, scores, stored, rules.recall, rules.confidence)
        if stored.any()
        else np.full(scores.shape[1], Thresholds().store)
    )
    # Not rounded: scores near 0 or 1 lie closer together than any number of decimals tells.
    return Fitted(np.array(serve), np.minimum(store, serve), served, stored)


def with_thresholds(label_set: LabelSet, fitted: Fitted) -> LabelSet:
    """The label set with other thresholds, one for each of its labels."""
    labels = [
        label.model_copy(update={"thresholds": Thresholds(serve=float(serve), store=float(store))})
        for label, serve, store in zip(label_set.labels, fitted.serve, fitted.store, strict=True)
    ]
    return label_set.model_copy(update={"labels": tuple(labels)})


def evidence_of(targets: Floats, fitted: Fitted, min_positives: int) -> list[Evidence]:
    """What the `serve` threshold of each label rests on.

    Args:
        targets: (N, C) presence by humans.
        fitted: the thresholds.
        min_positives: as they were fitted.
    """
    human = has_examples(targets, min_positives)
    return [
        "human" if by_human else "teacher" if is_fitted else "fallback"
        for by_human, is_fitted in zip(human, fitted.serve_is_fitted, strict=True)
    ]


def with_teacher(targets: Floats, teacher: Floats) -> Floats:
    """Presence by humans and, where they say nothing, by a teacher whose word is clear.

    Args:
        targets: (N, C) 1 or 0, or negative where unknown.
        teacher: (N, C) in [0, 1], or negative where there is none: present from `TEACHER_SURE`
            on, absent at 0, no word in between.

    Returns:
        (N, C) 1, 0 or -1.
    """
    sure = np.where(teacher >= TEACHER_SURE, 1.0, np.where(teacher == 0.0, 0.0, UNKNOWN))
    return np.where(targets >= 0, targets, sure)


def has_examples(targets: Floats, least: int) -> NDArray[np.bool_]:
    """(C,) whether a label has at least so many known positives and as many known negatives."""
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    return np.asarray(np.minimum(positives, negatives) >= max(least, 1))


def best_f1_threshold(
    targets: NDArray[np.floating], scores: NDArray[np.floating], slack: float = 0.0
) -> tuple[float, float]:
    """The highest threshold whose F1 is the best there is, or at most `slack` below it (section 7).

    Only images for which the label is known count. The threshold lies in the middle between the
    lowest score that it lets pass and the next one below, so that a score which moves a little
    stays on its side.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least one is 1.
        scores: (N,) in [0, 1]; what is at or above the threshold passes.
        slack: F1 to give up for a stricter threshold, which is safer on photos unlike these.

    Returns:
        The threshold in [0, 1], and its F1.
    """
    ranked, hits, ends = _ranking(targets, scores)
    f1 = np.where(ends, 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1]), -1.0)
    last = int(np.argmax(f1 >= f1.max() - slack))
    return _below(ranked, last), float(f1[last])


def precision_threshold(targets: Floats, scores: Floats, wanted: float) -> tuple[float, float]:
    """The lowest threshold whose precision is what is wanted, or the most precise one there is.

    Only images for which the label is known count; the threshold lies as in `best_f1_threshold`.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least one is known.
        scores: (N,) in [0, 1]; what is at or above the threshold passes.
        wanted: precision, in [0, 1].

    Returns:
        The threshold in [0, 1], and its precision, below `wanted` where none reaches that.
    """
    ranked, hits, ends = _ranking(targets, scores)
    precision = np.where(ends, hits / np.arange(1, len(hits) + 1), -1.0)
    enough = np.flatnonzero(precision >= min(wanted, precision.max()))
    return _below(ranked, int(enough[-1])), float(precision[enough[-1]])


def _ranking(targets: Floats, scores: Floats) -> tuple[Floats, NDArray[np.intp], NDArray[np.bool_]]:
    """Known scores, best first; positives up to each; where a threshold can end: not in a tie."""
    known = targets >= 0
    order = np.argsort(-scores[known], kind="stable")
    ranked = scores[known][order]
    ends = np.append(ranked[1:] != ranked[:-1], True)
    return ranked, np.cumsum(targets[known][order] == 1), ends


def _below(ranked: Floats, last: int) -> float:
    """The middle between the last score that passes and the next one."""
    lowest, below = ranked[last], ranked[last + 1] if last + 1 < len(ranked) else 0.0
    middle = (lowest + below) / 2  # which rounds to one of the two where they are neighbours
    return float(middle if middle > below else lowest)


def _serve(targets: Floats, scores: Floats, rules: ThresholdRules) -> float:
    if rules.precision is not None:
        return precision_threshold(targets, scores, rules.precision)[0]
    return best_f1_threshold(targets, scores, rules.slack)[0]


def _serve_fallback(targets: Floats, scores: Floats, rules: ThresholdRules) -> float:
    share = min((targets == 1).mean() + rules.serve_share, 1.0)
    return max(rules.serve_floor, float(np.quantile(scores, 1 - share)))
