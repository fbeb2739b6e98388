"""The calibration and the threshold of a new label, from scores of its examples and negatives."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from app.core.labels import Calibration, ThresholdKind

PREVALENCE = 0.02  # assumed share of photos that show a new label
MAX_FALSE_POSITIVES = 0.02  # share of the negatives above a fallback threshold
MIN_EXAMPLES = 4  # to choose a threshold by them


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a probe's score becomes a yes.

    Attributes:
        cut: the score at which the confidence is 0.5.
        kind: best_f1 of the examples and the negatives, or fallback without enough examples.
    """

    cut: float
    kind: ThresholdKind


def choose_cut(examples: Tensor, negatives: Tensor) -> Decision:
    """Choose the score that separates examples from negatives.

    With enough examples: the highest score whose F1 is best, if a share `PREVALENCE` of photos
    shows the label. Otherwise: the score that a share `MAX_FALSE_POSITIVES` of the negatives pass.

    Args:
        examples: (n,) out-of-fold scores.
        negatives: (N,) scores, at least one.
    """
    if len(examples) < MIN_EXAMPLES:
        return Decision(negatives.quantile(1 - MAX_FALSE_POSITIVES).item(), "fallback")
    cuts = examples.sort(descending=True).values
    passing = torch.arange(1, len(cuts) + 1, dtype=torch.float64) / len(cuts)
    false_positives = (negatives >= cuts[:, None]).double().mean(dim=1)
    hits = PREVALENCE * passing
    f1 = 2 * hits / (PREVALENCE + hits + (1 - PREVALENCE) * false_positives)
    lowest = cuts[f1.argmax()]
    below = torch.cat([negatives, examples])
    below = below[below < lowest]
    return Decision(((lowest + below.max()) / 2).item() if len(below) else lowest.item(), "best_f1")


def calibrate(slope: float, bias: float, cut: float, logit_scale: float) -> Calibration:
    """Return the calibration that makes a probe's score the log odds, 0 at the cut.

    Args:
        slope: length of the probe's weights.
        bias: of the probe.
        cut: score at which the confidence is 0.5.
        logit_scale: of the checkpoint: a logit is exp(logit_scale) times a cosine.
    """
    return Calibration(scale=slope / math.exp(logit_scale), offset=bias - cut)
