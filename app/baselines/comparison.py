"""Contestants side by side, as in the paper's tables 1 and 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics import Measures, ScoredClass, draw_images, measure, subsets_of

Floats = NDArray[np.floating]
K = 10  # labels of an image that GAP@K keeps


@dataclass(frozen=True, slots=True)
class Scored:
    """What contestants say of the same photos, and what is known of them.

    Attributes:
        classes: C of them.
        targets: (n, C) float32; 1 present, 0 absent, -1 unknown.
        scores: contestant to its (n, C) float32 probabilities in [0, 1].
    """

    classes: Sequence[ScoredClass]
    targets: Floats
    scores: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What every contestant reached on the same photos and classes.

    Attributes:
        photos: how many there are.
        measures: contestant to its numbers, on the same bootstrap draws.
    """

    photos: int
    measures: Mapping[str, Measures]


def compare(
    scored: Scored, *, top: int | None = None, resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Measure every contestant on the same photos, classes and bootstrap draws.

    Args:
        scored: probabilities and targets of n photos and C classes.
        top: size of a second subset, the classes with most positives in the manifest (the
            paper's 32 majority classes); None: all classes alone.
        resamples: bootstrap draws of the intervals.
        seed: of the draws.
    """
    everything, *rest = subsets_of(scored.classes, top=top, chosen=())
    subsets = [everything, *(rest[:1] if top is not None else [])]  # without the categories
    draws = draw_images(len(scored.targets), resamples=resamples, seed=seed)
    return Comparison(
        photos=len(scored.targets),
        measures={
            name: measure(scored.targets, values, scored.classes, subsets, k=K, draws=draws)
            for name, values in scored.scores.items()
        },
    )
