"""Fits two thresholds per label (section 7): `serve` for responses, `store` for a backfill."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.labels import Evidence, LabelSet, ThresholdKind, Thresholds
from app.dataset.labelled import UNKNOWN_TARGET
from app.evaluation.metrics import sigmoid
from app.evaluation.thresholds.recall_bounds import allowed_misses, least_positives
from app.evaluation.thresholds.store import store_thresholds

Floats = NDArray[np.floating]
TEACHER_PRESENT = 0.5


@dataclass(frozen=True, slots=True)
class ThresholdRules:
    """The rules by which thresholds are chosen.

    Attributes:
        min_positives: least number of known positives, and of known negatives, to fit a label;
            a label with fewer, but at least one of each, gets the fallback.
        precision: target precision of `serve`.
        recall_at_least: recall of a label that its `serve` guarantees on unseen photos, if it has
            enough known positives. With neither this nor a precision, `serve` has the best F1.
        slack: loss of F1 that is allowed for a stricter `serve`.
        recall: target recall of `store` on unseen photos, over all labels together.
        confidence: confidence that `store` keeps its recall, and that the `serve` of a label does.
        serve_floor: minimum of a fallback `serve`.
        serve_share: share of photos that a fallback `serve` passes in addition to the share of
            known positives.
    """

    min_positives: int = 10
    precision: float | None = None
    recall_at_least: float | None = None
    slack: float = 0.01
    recall: float = 0.98
    confidence: float = 0.95
    serve_floor: float = 0.5
    serve_share: float = 0.01


@dataclass(frozen=True, slots=True)
class FittedThresholds:
    """Thresholds of C labels.

    Attributes:
        serve: (C,) in [0, 1]; infinity for a label without evidence, which is not served.
        store: (C,) in [0, 1], at most `serve`.
        evidence: C values, what `serve` rests on: human or pseudo targets, or none.
        serve_kind: C values, the rule of `serve`; None if there is none.
        store_is_fitted: (C,) whether `store` was fitted to photos.
        saturated: (C,) whether `serve` cannot do what the label's rule asks for, because the
            probabilities of photos with different logits are all 1, or all 0.
    """

    serve: NDArray[np.float64]
    store: NDArray[np.float64]
    evidence: tuple[Evidence, ...]
    serve_kind: tuple[ThresholdKind | None, ...]
    store_is_fitted: NDArray[np.bool_]
    saturated: NDArray[np.bool_]


def fit_thresholds(
    targets: Floats, logits: Floats, rules: ThresholdRules, teacher: Floats | None = None
) -> FittedThresholds:
    """Fit both thresholds of every label.

    `serve` is fitted per label to the human targets and, where these are unknown, to confident
    targets of a teacher. `store` is fitted for all labels together, to human targets only (see
    `store_thresholds`). `serve` with a guarantee of recall is fitted to human targets only; a label
    with too few positives for the guarantee gets the best F1 instead. A label with too few examples
    gets the fallback: its `serve` passes the share of known positives plus `serve_share`, and is at
    least `serve_floor`; its `store` is that of a label without an offset of its own, or the label
    set's default if no label has enough examples. A label without a known positive or without a
    known negative has no evidence, since nothing can be measured on it, and is not served, unless
    its positives are enough for the guarantee.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        logits: (N, C) float32. Their sigmoids, which serving compares with a threshold, are 1 from
            a logit of about 16.6; no threshold separates photos there.
        rules: the rules.
        teacher: (N, C) in [0, 1], or negative where unknown.
    """
    scores = sigmoid(logits)
    known = targets if teacher is None else merge_teacher_targets(targets, teacher)
    fitted, measurable = has_examples(known, rules.min_positives), has_examples(known, 1)
    guaranteed = _has_guarantee(targets, rules)
    stored = has_examples(targets, rules.min_positives)
    rule: ThresholdKind = "best_f1" if rules.precision is None else "precision"
    kinds: tuple[ThresholdKind | None, ...] = tuple(
        "recall" if proven else rule if enough else "fallback" if some else None
        for proven, enough, some in zip(guaranteed, fitted, measurable, strict=True)
    )
    # A guarantee of recall is about what people see in the photos, so a teacher's targets are out.
    judged = np.where(guaranteed, targets, known)
    serve = np.array(
        [_serve(judged[:, c], scores[:, c], rules, kind) for c, kind in enumerate(kinds)]
    )
    store = (
        store_thresholds(targets, logits, stored, rules.recall, rules.confidence)
        if stored.any()
        else np.full(scores.shape[1], Thresholds().store)
    )
    # Not rounded: scores near 0 or 1 may differ by less than a fixed number of decimals.
    saturated = [
        _is_saturated(judged[:, c], logits[:, c], scores[:, c], serve[c], rules, kind)
        for c, kind in enumerate(kinds)
    ]
    # A fitted threshold rests on humans only if their targets alone are enough to fit it.
    by_human = guaranteed | np.where(fitted, stored, has_examples(targets, 1))
    return FittedThresholds(
        serve=serve,
        store=np.minimum(store, serve),
        evidence=tuple(
            "human" if human else "pseudo" if some else "none"
            for human, some in zip(by_human, measurable, strict=True)
        ),
        serve_kind=kinds,
        store_is_fitted=stored,
        saturated=np.array(saturated),
    )


def apply_thresholds(label_set: LabelSet, fitted: FittedThresholds) -> LabelSet:
    """Return the label set with the fitted thresholds, and with their kinds and evidence.

    A label that was fitted to example photos keeps its own if the photos say nothing of it.
    """
    labels = [
        label
        if label.is_fitted and fitted.serve_kind[c] is None
        else label.model_copy(
            update={
                "thresholds": Thresholds(
                    serve=None if math.isinf(fitted.serve[c]) else float(fitted.serve[c]),
                    store=float(fitted.store[c]),
                    kind=fitted.serve_kind[c],
                ),
                "evidence": fitted.evidence[c],
            }
        )
        for c, label in enumerate(label_set.labels)
    ]
    return label_set.model_copy(update={"labels": tuple(labels)})


def merge_teacher_targets(targets: Floats, teacher: Floats) -> Floats:
    """Fill unknown human targets with confident targets of a teacher.

    Args:
        targets: (N, C) 1 or 0, or negative where unknown.
        teacher: (N, C) in [0, 1], or negative where unknown; at least `TEACHER_PRESENT` is
            present, 0 is absent, and anything in between is unknown.

    Returns:
        (N, C) 1, 0 or -1.
    """
    absent_or_unknown = np.where(teacher == 0.0, 0.0, UNKNOWN_TARGET)
    confident = np.where(teacher >= TEACHER_PRESENT, 1.0, absent_or_unknown)
    return np.where(targets >= 0, targets, confident)


def has_examples(targets: Floats, least: int) -> NDArray[np.bool_]:
    """Return (C,) whether a label has at least `least` known positives and known negatives."""
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    return np.asarray(np.minimum(positives, negatives) >= max(least, 1))


def best_f1_threshold(
    targets: NDArray[np.floating], scores: NDArray[np.floating], slack: float = 0.0
) -> tuple[float, float]:
    """Return the highest threshold whose F1 is at most `slack` below the best (section 7).

    Only images with a known target count. The threshold is the midpoint between the lowest
    passing score and the next lower score, so it tolerates small changes of scores.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least one is 1.
        scores: (N,), in [0, 1] for a threshold in [0, 1]; scores at or above it pass.
        slack: loss of F1 that is allowed for a stricter threshold, which is safer on other photos.

    Returns:
        The threshold, and its F1.
    """
    ranked, hits, ends = _ranking(targets, scores)
    f1 = np.where(ends, 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1]), -1.0)
    last = int(np.argmax(f1 >= f1.max() - slack))
    return _midpoint_below(ranked, last), float(f1[last])


def precision_threshold(targets: Floats, scores: Floats, wanted: float) -> tuple[float, float]:
    """Return the lowest threshold that reaches a precision, or else the most precise threshold.

    Only images with a known target count. The threshold is a midpoint as in `best_f1_threshold`.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least one is known.
        scores: (N,), in [0, 1] for a threshold in [0, 1]; scores at or above it pass.
        wanted: target precision, in [0, 1].

    Returns:
        The threshold, and its precision, which may be below `wanted`.
    """
    ranked, hits, ends = _ranking(targets, scores)
    precision = np.where(ends, hits / np.arange(1, len(hits) + 1), -1.0)
    enough = np.flatnonzero(precision >= min(wanted, precision.max()))
    return _midpoint_below(ranked, int(enough[-1])), float(precision[enough[-1]])


def recall_threshold(targets: Floats, scores: Floats, recall: float, confidence: float) -> float:
    """Return a threshold whose recall on unseen photos is at least a target, with a confidence.

    It misses as many of the known positives as the exact binomial bound allows
    (`app.evaluation.thresholds.recall_bounds`), and is a midpoint as in `best_f1_threshold`.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least
            `least_positives(recall, confidence)` are 1.
        scores: (N,), in [0, 1] for a threshold in [0, 1]; scores at or above it pass.
        recall: target recall, in (0, 1).
        confidence: in (0, 1).
    """
    positives = np.sort(scores[targets == 1])
    cut = positives[allowed_misses(len(positives), recall, confidence)]
    ranked, _, _ = _ranking(targets, scores)
    return _midpoint_below(ranked, int(np.flatnonzero(ranked >= cut)[-1]))


def _ranking(targets: Floats, scores: Floats) -> tuple[Floats, NDArray[np.intp], NDArray[np.bool_]]:
    """Return sorted known scores, cumulative positives, and whether a threshold may follow.

    A threshold cannot separate equal scores.
    """
    known = targets >= 0
    order = np.argsort(-scores[known], kind="stable")
    ranked = scores[known][order]
    ends = np.append(ranked[1:] != ranked[:-1], True)
    return ranked, np.cumsum(targets[known][order] == 1), ends


def _midpoint_below(ranked: Floats, last: int) -> float:
    """Return the midpoint between the last passing score and the next lower one."""
    lowest, below = ranked[last], ranked[last + 1] if last + 1 < len(ranked) else 0.0
    middle = (lowest + below) / 2  # may round to `below` if the two are adjacent floats
    return float(middle if middle > below else lowest)


def _has_guarantee(targets: Floats, rules: ThresholdRules) -> NDArray[np.bool_]:
    """Return (C,) whether a label has enough known positives for the recall that is asked for."""
    if rules.recall_at_least is None:
        return np.zeros(targets.shape[1], np.bool_)
    least = least_positives(rules.recall_at_least, rules.confidence)
    return np.asarray((targets == 1).sum(axis=0) >= least)


def _serve(
    targets: Floats, scores: Floats, rules: ThresholdRules, kind: ThresholdKind | None
) -> float:
    match kind:
        case "recall":
            assert rules.recall_at_least is not None
            return recall_threshold(targets, scores, rules.recall_at_least, rules.confidence)
        case "precision":
            assert rules.precision is not None
            return precision_threshold(targets, scores, rules.precision)[0]
        case "best_f1":
            return best_f1_threshold(targets, scores, rules.slack)[0]
        case "fallback":
            return max(rules.serve_floor, _fallback_quantile(targets, scores, rules))
        case _:
            return math.inf


def _fallback_quantile(targets: Floats, scores: Floats, rules: ThresholdRules) -> float:
    share = min((targets == 1).mean() + rules.serve_share, 1.0)
    return float(np.quantile(scores, 1 - share))


def _is_saturated(
    targets: Floats,
    logits: Floats,
    scores: Floats,
    serve: float,
    rules: ThresholdRules,
    kind: ThresholdKind | None,
) -> bool:
    """Return whether a cut between logits would do better than any threshold of probabilities."""
    if kind is None:
        return False
    if kind == "recall":
        cut = _serve(targets, logits, rules, kind)
        return bool((scores >= serve).sum() > (logits >= cut).sum())
    if kind == "fallback":
        wanted = (logits >= _fallback_quantile(targets, logits, rules)).sum()
        return bool(scores.max() == serve and (scores >= serve).sum() > wanted)
    if rules.precision is not None:
        _, possible = precision_threshold(targets, logits, rules.precision)
        _, reached = precision_threshold(targets, scores, rules.precision)
        return reached < min(possible, rules.precision)
    _, possible = best_f1_threshold(targets, logits)
    _, reached = best_f1_threshold(targets, scores)
    return reached < possible - rules.slack
