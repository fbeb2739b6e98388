"""The range of a search for the initial logit_scale, and the result of a trial."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Search:
    """The values that a search tries.

    Attributes:
        trials: number of runs, including those of an interrupted search.
        random_trials: number of random trials at the start, before the Gaussian process chooses.
        low: smallest initial logit_scale.
        high: largest; at most the cap of the runs, to which the first step would reduce it.
    """

    trials: int = 15
    random_trials: int = 4
    low: float = 0.7
    high: float = math.log(100)


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of a finished trial.

    Attributes:
        number: of the trial; its run folder is `trial-NUMBER`.
        initial_logit_scale: of the trial's run.
        macro_map: on the validation split, after the best epoch.
    """

    number: int
    initial_logit_scale: float
    macro_map: float
