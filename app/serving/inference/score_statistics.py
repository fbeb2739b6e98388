"""Counts a checkpoint's scores by label and tenth, and measures their drift."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.core.labels import (
    BINS,
    TENTHS,
    LabelSet,
    histograms,
    population_stability_index,
    read_reference_histograms,
)
from app.core.model import ScoredBatch
from app.serving.observability import ScoreMetrics

WINDOW_IMAGES = 10_000  # of the recent distribution; older images have a decaying weight
MIN_DRIFT_IMAGES = 500  # with fewer images a distribution is mostly noise
REPORT_INTERVAL_S = 1.0
HISTOGRAMS = "score_histograms"  # the key in the card's metrics that `mumic thresholds` writes
logger = logging.getLogger("mumic.serving")


class ScoreStatistics:
    """Counts one checkpoint's scores and reports them to the metrics periodically.

    Args:
        labels: the checkpoint's label set.
        card_metrics: the metrics of the checkpoint's card, which may have reference histograms.
        metrics: updated at most once per `REPORT_INTERVAL_S`.
    """

    def __init__(
        self, labels: LabelSet, card_metrics: Mapping[str, Any], metrics: ScoreMetrics
    ) -> None:
        self._ids = labels.ids
        self._metrics = metrics
        self._reference = _reference(self._ids, card_metrics)
        self._lock = threading.Lock()
        self._thresholds = labels.serve_thresholds
        self._unreported = np.zeros((len(self._ids), BINS), dtype=np.int64)
        self._unreported_positives = np.zeros(len(self._ids), dtype=np.int64)
        self._recent = np.zeros((len(self._ids), BINS))
        self._reported_at_s = 0.0
        self._report_interval_s = REPORT_INTERVAL_S
        self._drift_reported = False

    def counting(self, score: Callable[[Tensor], ScoredBatch]) -> Callable[[Tensor], ScoredBatch]:
        """Wrap a score function, which several threads may call, so that its scores are counted."""

        def score_and_count(pixels: Tensor) -> ScoredBatch:
            scored = score(pixels)
            self.add(scored.logits)
            return scored

        return score_and_count

    def add(self, logits: Tensor) -> None:
        """Count the scores of a batch.

        Args:
            logits: (B, C) float32; rows that are not finite are ignored.
        """
        logits = logits[logits.isfinite().all(dim=1)]
        rows, reference = logits.numpy(), self._reference
        counts = histograms(rows, TENTHS)
        positives = (logits.sigmoid().numpy() >= self._thresholds).sum(axis=0)
        by_reference_bin = None if reference is None else histograms(rows, reference[0])
        with self._lock:
            self._unreported += counts
            self._unreported_positives += positives
            if by_reference_bin is not None:
                self._recent *= max(0.0, 1 - len(rows) / WINDOW_IMAGES)
                self._recent += by_reference_bin
            now_s = time.monotonic()
            if now_s < self._reported_at_s + self._report_interval_s:
                return
            self._reported_at_s = now_s
            self._report_counts()
            if self._reference is not None and self._recent[0].sum() >= MIN_DRIFT_IMAGES:
                drift = population_stability_index(self._recent, self._reference[1])
                self._metrics.set_drift(self._ids, drift)
                self._drift_reported = True

    def retire(self) -> None:
        """Stop reporting drift, since another checkpoint is served, and report counts at once.

        The counts of batches that are still running are reported as they end.
        """
        with self._lock:
            self._reference = None
            if self._drift_reported:  # prometheus_client cannot remove a series of several workers
                self._metrics.set_drift(self._ids, np.full(len(self._ids), math.nan))
            self._report_interval_s = 0
            self._report_counts()

    def _report_counts(self) -> None:
        self._metrics.count(self._ids, self._unreported, self._unreported_positives)
        self._unreported[:] = 0
        self._unreported_positives[:] = 0


def _reference(
    ids: list[str], card_metrics: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """Return edges and counts of the card's histograms of validation scores; None without any."""
    stored = card_metrics.get(HISTOGRAMS)
    if stored is None:
        return None
    reference = read_reference_histograms(ids, stored)
    if reference is None:
        logger.warning(
            "Score drift is not reported: the card's %s do not have %d counts for each label",
            HISTOGRAMS,
            BINS,
        )
    return reference
