"""Compares the probabilities of labels before and after calibration, on photos not fitted to."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.label_calibration.fitting import FittedCalibrations, fit_calibrations
from app.evaluation.metrics import log_loss, reliability_diagram, sigmoid

Floats = NDArray[np.floating]
FOLDS = 5
TABLE_HEADER = (
    f"{'label':24} {'calibration':>11} {'pos':>5} {'neg':>5} {'scale':>7} {'offset':>7} "
    f"{'loss':>7} {'before':>7}"
)


def calibrate_cross_validated(
    targets: Floats, logits: Floats, *, min_positives: int = 10
) -> NDArray[np.float64]:
    """Return (N, C) logits, each calibrated by a fit without its photo (cross-validation).

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown; N is at least 2.
        logits: (N, C), finite, without calibration.
        min_positives: as for `fit_calibrations`, of all N photos. With the photos of one fold left
            out, proportionally fewer are enough.
    """
    folds = min(FOLDS, len(targets))
    fold = np.random.default_rng(1).permutation(len(targets)) % folds
    least = max(min_positives * (folds - 1) // folds, 1)
    unseen = np.empty(targets.shape)
    for k in range(folds):
        fitted = fit_calibrations(targets[fold != k], logits[fold != k], min_positives=least)
        unseen[fold == k] = fitted.apply(logits[fold == k])
    return unseen


@dataclass(frozen=True, slots=True)
class CalibrationSummary:
    """Metrics of a calibration over all labels; the names are keys of a checkpoint's card.

    The metrics are of the known pairs of the labels that have a calibration of their own.

    Attributes:
        labels: number of labels with a calibration of their own.
        pooled: number of labels with the pooled calibration.
        known_pairs: number of known pairs.
        log_loss: mean log loss by cross-validation, in nats.
        log_loss_before: mean log loss without calibration.
        expected_calibration_error: by cross-validation.
        expected_calibration_error_before: without calibration.
    """

    labels: int
    pooled: int
    known_pairs: int
    log_loss: float
    log_loss_before: float
    expected_calibration_error: float
    expected_calibration_error_before: float

    def as_metrics(self) -> dict[str, float]:
        """Return the metrics for a checkpoint's card."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def text(self) -> str:
        """Return the summary as text."""
        return (
            f"{self.labels} labels have a calibration of their own, {self.pooled} the pooled one\n"
            f"on photos not seen ({FOLDS}-fold cross-validation), {self.known_pairs} known pairs:\n"
            f"  log loss                   {self.log_loss:.4f}, before "
            f"{self.log_loss_before:.4f}\n"
            f"  expected calibration error {self.expected_calibration_error:.4f}, before "
            f"{self.expected_calibration_error_before:.4f}"
        )


def summarise_calibrations(
    targets: Floats, logits: Floats, fitted: FittedCalibrations, *, min_positives: int = 10
) -> tuple[NDArray[np.float64], CalibrationSummary]:
    """Measure calibrations by cross-validation.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        logits: (N, C), finite, without calibration.
        fitted: the calibrations; at least one label has its own.
        min_positives: the value that they were fitted with.

    Returns:
        (C, 2) log loss of each label, by cross-validation and without calibration, NaN without a
        known pair; and the summary.
    """
    unseen = calibrate_cross_validated(targets, logits, min_positives=min_positives)
    before = logits.astype(np.float64)
    losses = [
        [log_loss(targets[:, [c]], each[:, [c]]) for each in (unseen, before)]
        for c in range(targets.shape[1])
    ]
    known = targets[:, fitted.is_own]
    summary = CalibrationSummary(
        labels=int(fitted.is_own.sum()),
        pooled=int((~fitted.is_own).sum()),
        known_pairs=int((known >= 0).sum()),
        log_loss=log_loss(known, unseen[:, fitted.is_own]),
        log_loss_before=log_loss(known, before[:, fitted.is_own]),
        expected_calibration_error=_error(known, unseen[:, fitted.is_own]),
        expected_calibration_error_before=_error(known, before[:, fitted.is_own]),
    )
    return np.array(losses), summary


def calibration_table_rows(
    ids: Sequence[str], targets: Floats, fitted: FittedCalibrations, losses: Floats
) -> Iterator[str]:
    """Yield one line per label, in the columns of `TABLE_HEADER`."""
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    for c, (id, calibration) in enumerate(zip(ids, fitted.calibrations, strict=True)):
        yield (
            f"{id:24} {'own' if fitted.is_own[c] else 'pooled':>11} {positives[c]:5} "
            f"{negatives[c]:5} {calibration.scale:7.3f} {calibration.offset:+7.3f} "
            f"{_figure(losses[c, 0])} {_figure(losses[c, 1])}"
        )


def _error(targets: Floats, logits: Floats) -> float:
    return reliability_diagram(targets, sigmoid(logits)).calibration_error


def _figure(value: float) -> str:
    return f"{'-' if math.isnan(value) else f'{value:.4f}':>7}"
