"""What a search for the initial logit_scale tries, and what it finds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Search:
    """Which values are tried.

    Attributes:
        trials: how many runs in all, those of an interrupted search included.
        random_trials: how many of them come first, at random, before the Gaussian process chooses.
        low: least initial logit_scale.
        high: largest; not above the cap of the runs, which would cut it at once.
    """

    trials: int = 15
    random_trials: int = 4
    low: float = 0.7
    high: float = math.log(100)


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A finished run.

    Attributes:
        number: of the trial; its run folder is `trial-NUMBER`.
        initial_logit_scale: what it started from.
        macro_map: what it reached on the part validation.
    """

    number: int
    initial_logit_scale: float
    macro_map: float
