"""Runs with classes left out of training, which show what a method of training forgets."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from runs import Study, epochs_of, mean_and_spread

from app.errors import OptionError


def macro_map_cells(
    study: Study, title: str, leave_out: Sequence[str], **changes: Any
) -> list[str]:
    """Train with a method, and format macro mAP of trained and of left-out classes.

    Args:
        study: the common settings; one run per seed.
        title: of the method.
        leave_out: names whose human labels are not used in training.
        changes: fields of `TrainConfig` that differ from the study's settings.

    Returns:
        Both values after the last epoch, in percent.

    Raises:
        OptionError: no left-out class has an AP in the validation split.
    """
    method = title.lower().replace(", ", "-").replace(" ", "-")
    name = "-".join([method, "without", *leave_out])
    ends = [
        epochs_of(study.train(name, seed=seed, leave_out=leave_out, **changes))[-1]
        for seed in study.seeds
    ]
    columns = zip(*(_macro_maps(end, leave_out) for end in ends), strict=True)
    return [mean_and_spread(values) for values in columns]


def _macro_maps(row: Mapping[str, float], leave_out: Sequence[str]) -> tuple[float, float]:
    """Return the mean AP of trained and of left-out classes at the end of an epoch."""
    ap = {
        name.removeprefix("ap_"): value
        for name, value in row.items()
        if name.startswith("ap_") and not np.isnan(value)
    }
    left_out = [value for name, value in ap.items() if name in leave_out]
    if not left_out:
        raise OptionError("leave-out", "no left-out class has an AP in the validation split")
    return fmean(value for name, value in ap.items() if name not in leave_out), fmean(left_out)
