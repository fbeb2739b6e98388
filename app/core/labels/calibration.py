"""Calibration of a label's probabilities: a line from its logits to log odds (Platt 1999)."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Scale = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Offset = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Calibration(BaseModel):
    """Platt scaling of one label: log odds of presence = scale * logit + offset.

    The scale is above 0, so photos keep their order, and average precision its value.

    Attributes:
        scale: factor of the logit.
        offset: added to the product.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Scale = 1.0
    offset: Offset = 0.0


IDENTITY = Calibration()


def map_threshold(threshold: float, old: Calibration, new: Calibration) -> float:
    """Return the threshold that the same logits pass under another calibration.

    Args:
        threshold: a probability in [0, 1], under the old calibration. 0 and 1 stay.
        old: the calibration that the threshold is for.
        new: the calibration that it shall be for.

    Returns:
        A probability in [0, 1], computed in float64.
    """
    if threshold in (0, 1) or old == new:
        return threshold
    log_odds = math.log(threshold) - math.log1p(-threshold)
    mapped = new.scale * (log_odds - old.offset) / old.scale + new.offset
    power = math.exp(-abs(mapped))
    return 1 / (1 + power) if mapped >= 0 else power / (1 + power)
