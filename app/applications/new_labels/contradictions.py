"""Finds examples of a new label that contradict each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.applications.new_labels.fitting import (
    MIN_FOLD_EXAMPLES,
    LinearProbe,
    fit_probe,
    out_of_fold_scores,
    standardized,
)

MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A photo that contradicts the others.

    Attributes:
        photo: its position among the examples or among the counter-examples.
        is_counter_example: which of the two.
        message: what is wrong.
    """

    photo: int
    is_counter_example: bool
    message: str


def contradicting_examples(
    start: LinearProbe, examples: Tensor, negatives: Tensor, penalty: float, scores: Tensor
) -> list[Contradiction]:
    """Find examples that score below the median negative when they are left out of the fit.

    They are found one by one, the worst first, since a wrong example also lowers the scores of
    right ones.

    Args:
        start: of the text.
        examples: (n, D) float32 unit rows.
        negatives: (N, D) float32 unit rows.
        penalty: of the fit.
        scores: (n,) out-of-fold scores, in standard deviations from the mean of the negatives.

    Returns:
        At most `MAX_NAMED`, the worst first.
    """
    limit = _limit(start, examples, negatives, penalty)
    left = torch.arange(len(examples))
    found: list[Contradiction] = []
    while scores.min() < limit and len(found) < MAX_NAMED:
        worst = int(scores.argmin())
        message = "the label fitted to other examples scores it below half of the other photos"
        found.append(Contradiction(int(left[worst]), False, message))
        left = left[left != left[worst]]
        if len(left) < MIN_FOLD_EXAMPLES:
            break
        scores = out_of_fold_scores(start, examples[left], negatives, penalty=penalty)
    return found


def contradicting_counter_examples(
    counter_examples: Tensor, example_scores: Tensor, probe: LinearProbe, negatives: Tensor
) -> list[Contradiction]:
    """Find counter-examples that score above the median example.

    Args:
        counter_examples: (m, D) float32 unit rows.
        example_scores: (n,) out-of-fold scores, in standard deviations from the mean of the
            negatives.
        probe: fitted without the counter-examples.
        negatives: (N, D) float32 unit rows.

    Returns:
        In the order of the counter-examples.
    """
    if not len(counter_examples):
        return []
    scores = standardized(probe, counter_examples, negatives)
    message = "the label fitted to the examples scores this counter-example above half of them"
    return [
        Contradiction(photo, True, message)
        for photo in torch.nonzero(scores > example_scores.median())[:, 0].tolist()
    ]


def _limit(start: LinearProbe, examples: Tensor, negatives: Tensor, penalty: float) -> float:
    """Return the median of the negatives, in standard deviations from their mean."""
    probe = fit_probe(start, examples, negatives, penalty=penalty)
    return standardized(probe, negatives, negatives).median().item()
