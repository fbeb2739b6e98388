"""Agreement thresholds held against a golden set (section 3.2)."""

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
    """How annotators did on the golden pairs of one label at one agreement threshold.

    Attributes:
        label: the label, or `ALL_LABELS` for the pairs of all.
        threshold: from this share of yes on a label counts as present.
        found: golden positives that reach it.
        missed: golden positives that do not.
        wrong: golden negatives that reach it.
        rejected: golden negatives that do not.
    """

    label: str
    threshold: float
    found: int = 0
    missed: int = 0
    wrong: int = 0
    rejected: int = 0

    @property
    def positives(self) -> int:
        """Golden positives that were voted on."""
        return self.found + self.missed

    @property
    def negatives(self) -> int:
        """Golden negatives that were voted on."""
        return self.wrong + self.rejected

    @property
    def precision(self) -> float:
        """In [0, 1]; nan where nothing reaches the threshold."""
        return _share(self.found, self.wrong)

    @property
    def recall(self) -> float:
        """In [0, 1]; nan without golden positives."""
        return _share(self.found, self.missed)

    @property
    def f1(self) -> float:
        """In [0, 1]; nan without golden positives."""
        return _share(2 * self.found, self.wrong + self.missed) if self.positives else math.nan


def agreement_threshold_steps(
    tallies: Sequence[VoteTally], default: float = DEFAULT_THRESHOLD
) -> list[float]:
    """The agreements that votes can reach, and the default: where a threshold makes a difference.

    With votes of different numbers of annotators the steps are those of the largest number.
    """
    most = max((tally.annotators for tally in tallies), default=1)
    return sorted({default, *(votes / most for votes in range(1, most + 1))})


def score_agreement(
    tallies: Iterable[VoteTally], golden: Iterable[Annotation], thresholds: Sequence[float]
) -> dict[str, list[AgreementScore]]:
    """Hold votes against what is surely known.

    Args:
        tallies: the votes.
        golden: photos of which experts know what is on them.
        thresholds: the agreement thresholds to try, ascending.

    Returns:
        A grade for each threshold, for `ALL_LABELS` and then for each label with golden votes, by name.
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
            _graded(label, threshold, positive.get(label, []), negative.get(label, []))
            for threshold in thresholds
        ]
        for label in (ALL_LABELS, *labels)
    }


def pick_agreement_threshold(
    grades: Sequence[AgreementScore], min_golden: int, default: float = DEFAULT_THRESHOLD
) -> float:
    """A label's own threshold: the one of best F1 on the golden set.

    Of equally good ones it is the nearest to the default, and the higher of two as near.

    Args:
        grades: one label's, one for each threshold.
        min_golden: with fewer golden positives or golden negatives than this it is the default.
        default: what a label gets that cannot be judged.
    """
    if min(grades[0].positives, grades[0].negatives) < max(1, min_golden):
        return default

    def merit(one: AgreementScore) -> tuple[float, float, float]:
        return one.f1, -round(abs(one.threshold - default), 6), one.threshold

    return max(grades, key=merit).threshold


def agreement_table_lines(
    grades: Mapping[str, Sequence[AgreementScore]], picked: Mapping[str, float]
) -> Iterator[str]:
    """A table for people: precision and recall of each label at each threshold, and the pick.

    Args:
        grades: label to its grades, one for each threshold, the same for all.
        picked: each label's threshold; its place in the row has a star.
    """
    width = max(map(len, grades))
    head = "".join(f"  {'P / R at ' + format(g.threshold, '.2f'):14}" for g in grades[ALL_LABELS])
    yield f"{'label':{width}}  golden  + / -{head}".rstrip()
    for label, graded in grades.items():
        cells = "".join(
            f"  {_written(g.precision)} {_written(g.recall)}"
            f"{'*' if picked.get(label) == g.threshold else ' '} "
            for g in graded
        )
        yield f"{label:{width}}  {graded[0].positives:6d} {graded[0].negatives:6d}{cells}".rstrip()
    chosen = [
        g for label, graded in grades.items() for g in graded if picked.get(label) == g.threshold
    ]
    right, wrong = sum(g.found for g in chosen), sum(g.wrong for g in chosen)
    precision, recall = _share(right, wrong), _share(right, sum(g.missed for g in chosen))
    yield (
        f"* the label's threshold; all labels, each at its own: precision {precision:.3f}, "
        f"recall {recall:.3f}"
    )


def write_agreement_report(
    path: Path, grades: Mapping[str, Sequence[AgreementScore]], picked: Mapping[str, float]
) -> None:
    """Write every grade to a table, CSV or Parquet; a share without a meaning is empty.

    Raises:
        DataError: the file cannot be written.
    """
    columns = (
        *("label", "threshold", "golden_positives", "golden_negatives"),
        *("precision", "recall", "f1", "picked"),
    )
    rows = [
        [
            *(label, f"{g.threshold:g}", str(g.positives), str(g.negatives)),
            *("" if math.isnan(x) else f"{x:.4f}" for x in (g.precision, g.recall, g.f1)),
            "yes" if picked.get(label) == g.threshold else "no",
        ]
        for label, graded in grades.items()
        for g in graded
    ]
    write_table(path, columns, rows)


def _graded(
    label: str, threshold: float, positive: Sequence[float], negative: Sequence[float]
) -> AgreementScore:
    found = sum(agreement >= threshold for agreement in positive)
    wrong = sum(agreement >= threshold for agreement in negative)
    return AgreementScore(
        label,
        threshold,
        found=found,
        missed=len(positive) - found,
        wrong=wrong,
        rejected=len(negative) - wrong,
    )


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else math.nan


def _written(share: float) -> str:
    return "    -" if math.isnan(share) else f"{share:.3f}"
