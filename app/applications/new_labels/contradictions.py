"""Finds examples of a new label that contradict each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.applications.new_labels.fitting import LinearProbe, standardized


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


def find_contradictions(
    example_scores: Tensor, counter_examples: Tensor, probe: LinearProbe, negatives: Tensor
) -> list[Contradiction]:
    """Find examples unlike the other examples, and counter-examples like them.

    Args:
        example_scores: (n,) out-of-fold scores, in standard deviations from the mean of the
            negatives.
        counter_examples: (m, D) float32 unit rows.
        probe: fitted without the counter-examples.
        negatives: (N, D) float32 unit rows.

    Returns:
        Examples that score below the median negative when they are left out of the fit, and
        counter-examples that score above the median example.
    """
    background = standardized(probe, negatives, negatives)
    found = [
        Contradiction(
            photo,
            False,
            "the label fitted to the other examples scores it lower than "
            f"{(background > score).double().mean().item():.0%} of the photos it is compared with",
        )
        for photo, score in enumerate(example_scores)
        if score < background.median()
    ]
    if len(counter_examples):
        median = example_scores.median()
        scores = standardized(probe, counter_examples, negatives)
        found += [
            Contradiction(
                photo,
                True,
                "the label fitted to the examples scores this counter-example higher than "
                f"{(example_scores < scores[photo]).double().mean().item():.0%} of the examples",
            )
            for photo in torch.nonzero(scores > median)[:, 0].tolist()
        ]
    return found
