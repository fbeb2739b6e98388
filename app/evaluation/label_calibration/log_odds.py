"""A curve from logit to log odds of presence per label, fitted to all labels together.

Platt scaling (Platt 1999) of each label alone needs many photos of it. Here the slope and the
offset of a label are deviations from those of all labels, shrunk towards 0 by a normal prior (a
logistic regression with random effects): the fewer photos a label has, the closer is its curve to
the common one.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Floats = NDArray[np.floating]
OFFSET_SHRINKAGE = 1.0  # precision of the offsets' normal prior: labels differ by a few logits
SHARED_SHRINKAGE = 0.01  # keeps the curve finite if scores separate all pairs
STEPS = 200


@dataclass(frozen=True, slots=True)
class LogOddsCurves:
    """log odds of presence = slope * (logit - centre) + intercept, for each of C labels.

    Attributes:
        centre: mean logit of the known pairs, which keeps slopes and intercepts independent.
        slopes: (C,), above 0.
        intercepts: (C,).
    """

    centre: float
    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]

    def predict(self, logits: Floats) -> NDArray[np.float64]:
        """Return the (N, C) log odds of (N, C) logits."""
        return self.slopes * (logits.astype(np.float64) - self.centre) + self.intercepts

    def logits_at(self, log_odds: float) -> NDArray[np.float64]:
        """Return the (C,) logits at which each label has these log odds."""
        return self.centre + (log_odds - self.intercepts) / self.slopes


def fit_log_odds(
    targets: Floats,
    logits: Floats,
    fitted: NDArray[np.bool_],
    *,
    slope_shrinkage: float = math.inf,
    offset_shrinkage: float = OFFSET_SHRINKAGE,
) -> LogOddsCurves:
    """Fit the curves to the known pairs of some labels by penalised likelihood (L-BFGS).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        logits: (N, C), finite.
        fitted: (C,) the labels to fit; the others get the common curve.
        slope_shrinkage: precision of the prior of the slopes' logarithms; infinity gives all labels
            the same slope.
        offset_shrinkage: precision of the prior of the intercepts.
    """
    photo, label = np.nonzero((targets >= 0) & fitted)
    known = logits[photo, label].astype(np.float64)
    centre = float(known.mean()) if len(known) else 0.0
    x = torch.from_numpy(known - centre)
    y = torch.from_numpy((targets[photo, label] == 1).astype(np.float64))
    column = torch.from_numpy(label)
    # The first row is the logarithm of the slope, the second the intercept: of all labels, and the
    # deviations of each.
    shared = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(2, targets.shape[1], dtype=torch.float64, requires_grad=True)
    free = torch.tensor([[math.isfinite(slope_shrinkage)], [True]])
    shrinkage = torch.tensor(
        [[slope_shrinkage if math.isfinite(slope_shrinkage) else 0.0], [offset_shrinkage]],
        dtype=torch.float64,
    )
    optimizer = torch.optim.LBFGS([shared, own], max_iter=STEPS, line_search_fn="strong_wolfe")

    def curves() -> tuple[Tensor, Tensor]:
        log_slopes, intercepts = shared + own * free
        return log_slopes.exp(), intercepts

    def cost() -> Tensor:
        optimizer.zero_grad()
        slopes, intercepts = curves()
        log_odds = slopes[column] * x + intercepts[column]
        total = binary_cross_entropy_with_logits(log_odds, y, reduction="sum")
        penalty = (shrinkage * own.square()).sum() + SHARED_SHRINKAGE * shared.square().sum()
        mean = (total + penalty / 2) / max(len(y), 1)
        torch.autograd.backward(mean)
        return mean

    optimizer.step(cost)
    slopes, intercepts = (each.detach().numpy() for each in curves())
    return LogOddsCurves(centre, slopes, intercepts)
