"""The comparison of models on the same photos, as in the paper's tables 1 and 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics import (
    Measures,
    ScoredClass,
    class_subsets,
    compute_measures,
    draw_bootstrap_samples,
)

Floats = NDArray[np.floating]
K = 10  # GAP@K counts the K highest scores of an image


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of several models on the same photos, and the targets.

    Attributes:
        classes: the C scored classes.
        targets: (n, C) float32; 1 present, 0 absent, -1 unknown.
        logits: model name to its (n, C) float32 logits.
    """

    classes: Sequence[ScoredClass]
    targets: Floats
    logits: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The metrics of several models on the same photos and classes.

    Attributes:
        photos: number of photos.
        measures: model name to its metrics, on the same bootstrap draws.
    """

    photos: int
    measures: Mapping[str, Measures]


def compare(
    scored: Scored, *, top: int | None = None, resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Measure every model on the same photos, classes and bootstrap draws.

    Args:
        scored: logits and targets of n photos and C classes.
        top: size of a second subset, the classes with most positives in the manifest (the
            paper's 32 majority classes); None: no second subset.
        resamples: bootstrap draws of the intervals.
        seed: of the draws.
    """
    everything, *rest = class_subsets(scored.classes, top=top, chosen=())
    subsets = [everything, *(rest[:1] if top is not None else [])]  # without the categories
    draws = draw_bootstrap_samples(len(scored.targets), resamples=resamples, seed=seed)
    return Comparison(
        photos=len(scored.targets),
        measures={
            name: compute_measures(
                scored.targets, values, scored.classes, subsets, k=K, draws=draws
            )
            for name, values in scored.logits.items()
        },
    )
