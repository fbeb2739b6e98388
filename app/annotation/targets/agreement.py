"""Evaluates agreement thresholds on a golden set with expert labels (section 3.2)."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.annotation.questions import VoteTally
from app.annotation.requests import DEFAULT_THRESHOLD
from app.dataset.manifest import Annotation, write_table

ALL_LABELS = "all labels"


@dataclass(frozen=True, slots=True)
class AgreementScore:
    """Confusion counts of one label's votes on the golden set, at one agreement threshold.

    Attributes:
        label: the label, or `ALL_LABELS` for the pairs of all labels.
        threshold: a label counts as present if at least this share of annotators voted yes.
        true_positives: golden positives at or above the threshold.
        false_negatives: golden positives below it.
        false_positives: golden negatives at or above it.
        true_negatives: golden negatives below it.
    """

    label: str
    threshold: float
    true_positives: int = 0
    false_negatives: int = 0
    false_positives: int = 0
    true_negatives: int = 0

    @property
    def positives(self) -> int:
        """Golden positives with votes."""
        return self.true_positives + self.false_negatives

    @property
    def negatives(self) -> int:
        """Golden negatives with votes."""
        return self.false_positives + self.true_negatives

    @property
    def precision(self) -> float:
        """In [0, 1]; NaN if no pair reaches the threshold."""
        return _share(self.true_positives, self.false_positives)

    @property
    def recall(self) -> float:
        """In [0, 1]; NaN without golden positives."""
        return _share(self.true_positives, self.false_negatives)

    @property
    def f1(self) -> float:
        """In [0, 1]; NaN without golden positives."""
        if not self.positives:
            return math.nan
        return _share(2 * self.true_positives, self.false_positives + self.false_negatives)


def agreement_threshold_steps(
    tallies: Sequence[VoteTally], default: float = DEFAULT_THRESHOLD
) -> list[float]:
    """Return the thresholds to try: every possible share of votes, and the default.

    If the number of annotators varies, the shares are those of the largest number.
    """
    most = max((tally.annotators for tally in tallies), default=1)
    return sorted({default, *(votes / most for votes in range(1, most + 1))})


def score_agreement(
    tallies: Iterable[VoteTally], golden: Iterable[Annotation], thresholds: Sequence[float]
) -> dict[str, list[AgreementScore]]:
    """Compare votes with a golden set at several agreement thresholds.

    Args:
        tallies: the votes.
        golden: photos that experts have labelled.
        thresholds: the agreement thresholds to try, ascending.

    Returns:
        Label to one score per threshold: first `ALL_LABELS`, then, sorted by name, each label
        that has votes on golden photos.
    """
    known = {annotation.file: annotation for annotation in golden}
    positive: dict[str, list[float]] = {ALL_LABELS: []}
    negative: dict[str, list[float]] = {ALL_LABELS: []}
    for tally in tallies:
        truth = known.get(tally.file)
        if truth is None or tally.label not in truth.positive | truth.negative:
            continue
        side = positive if tally.label in truth.positive else negative
        side[ALL_LABELS].append(tally.agreement)
        side.setdefault(tally.label, []).append(tally.agreement)
    labels = sorted((positive.keys() | negative.keys()) - {ALL_LABELS})
    return {
        label: [
            _score_at(label, threshold, positive.get(label, []), negative.get(label, []))
            for threshold in thresholds
        ]
        for label in (ALL_LABELS, *labels)
    }


def pick_agreement_threshold(
    scores: Sequence[AgreementScore], min_golden: int, default: float = DEFAULT_THRESHOLD
) -> float:
    """Pick the threshold with the best F1 on the golden set for one label.

    Of thresholds with equal F1 the one closest to the default is picked, and of two equally close
    ones the higher.

    Args:
        scores: one label's score at each threshold.
        min_golden: the least number of golden positives, and of golden negatives, for a threshold
            other than the default.
        default: the threshold of a label with too few of them.
    """
    if min(scores[0].positives, scores[0].negatives) < max(1, min_golden):
        return default

    def preference(score: AgreementScore) -> tuple[float, float, float]:
        return score.f1, -round(abs(score.threshold - default), 6), score.threshold

    return max(scores, key=preference).threshold


def agreement_table_lines(
    scores: Mapping[str, Sequence[AgreementScore]], picked: Mapping[str, float]
) -> Iterator[str]:
    """Yield the lines of a text table with precision and recall per label and threshold.

    Args:
        scores: label to one score per threshold; all labels have the same thresholds.
        picked: label to picked threshold, which a star marks.
    """
    width = max(map(len, scores))
    head = "".join(
        f"  {'P / R at ' + format(score.threshold, '.2f'):14}" for score in scores[ALL_LABELS]
    )
    yield f"{'label':{width}}  golden  + / -{head}".rstrip()
    for label, label_scores in scores.items():
        cells = "".join(
            f"  {_format_share(score.precision)} {_format_share(score.recall)}"
            f"{'*' if picked.get(label) == score.threshold else ' '} "
            for score in label_scores
        )
        first = label_scores[0]
        yield f"{label:{width}}  {first.positives:6d} {first.negatives:6d}{cells}".rstrip()
    chosen = [
        score
        for label, label_scores in scores.items()
        for score in label_scores
        if picked.get(label) == score.threshold
    ]
    hits = sum(score.true_positives for score in chosen)
    precision = _share(hits, sum(score.false_positives for score in chosen))
    recall = _share(hits, sum(score.false_negatives for score in chosen))
    yield (
        f"* the label's threshold; all labels, each at its threshold: precision {precision:.3f}, "
        f"recall {recall:.3f}"
    )


def write_agreement_report(
    path: Path, scores: Mapping[str, Sequence[AgreementScore]], picked: Mapping[str, float]
) -> None:
    """Write every score to a CSV or Parquet table; the cell of an undefined value is empty.

    Raises:
        DataError: the file cannot be written.
    """
    columns = (
        *("label", "threshold", "golden_positives", "golden_negatives"),
        *("precision", "recall", "f1", "picked"),
    )
    rows = [
        [
            *(label, f"{score.threshold:g}", str(score.positives), str(score.negatives)),
            *(
                "" if math.isnan(x) else f"{x:.4f}"
                for x in (score.precision, score.recall, score.f1)
            ),
            "yes" if picked.get(label) == score.threshold else "no",
        ]
        for label, label_scores in scores.items()
        for score in label_scores
    ]
    write_table(path, columns, rows)


def _score_at(
    label: str, threshold: float, positive: Sequence[float], negative: Sequence[float]
) -> AgreementScore:
    true_positives = sum(agreement >= threshold for agreement in positive)
    false_positives = sum(agreement >= threshold for agreement in negative)
    return AgreementScore(
        label,
        threshold,
        true_positives=true_positives,
        false_negatives=len(positive) - true_positives,
        false_positives=false_positives,
        true_negatives=len(negative) - false_positives,
    )


def _share(count: int, rest: int) -> float:
    return count / (count + rest) if count + rest else math.nan


def _format_share(share: float) -> str:
    return "    -" if math.isnan(share) else f"{share:.3f}"
