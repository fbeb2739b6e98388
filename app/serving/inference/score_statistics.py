"""What only this service can tell of its answers: how often each label scores how high."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.core.labels import BINS, LabelSet, histograms, population_stability_index
from app.core.model import ScoredBatch
from app.serving.observability import Metrics

WINDOW_IMAGES = 10_000  # that drift looks back on, older ones fading
FEWEST_IMAGES = 500  # below these a distribution is noise
TELL_EVERY_S = 1.0
HISTOGRAMS = "score_histograms"  # in the card's metrics, as `mumic thresholds` writes them
logger = logging.getLogger("mumic.serving")


class ScoreStatistics:
    """Counts one checkpoint's scores by label and tenth, and tells the metrics now and then.

    Args:
        labels: the checkpoint's label set.
        card_metrics: what its card says that it reached.
        metrics: told at most once a second.
    """

    def __init__(self, labels: LabelSet, card_metrics: Mapping[str, Any], metrics: Metrics) -> None:
        self._ids = labels.ids
        self._metrics = metrics
        self._reference = _reference(self._ids, card_metrics)
        self._lock = threading.Lock()
        # As float32 has them, like probabilities.
        self._thresholds = np.array([label.thresholds.serve for label in labels.labels], np.float32)
        self._untold = np.zeros((len(self._ids), BINS), dtype=np.int64)
        self._untold_positives = np.zeros(len(self._ids), dtype=np.int64)
        self._recent = np.zeros((len(self._ids), BINS))
        self._told_at = 0.0
        self._tell_every_s = TELL_EVERY_S

    def counting(self, score: Callable[[Tensor], ScoredBatch]) -> Callable[[Tensor], ScoredBatch]:
        """The same function, whose scores are counted; in whatever thread it is called."""

        def counted(pixels: Tensor) -> ScoredBatch:
            scored = score(pixels)
            self.add(scored.probabilities)
            return scored

        return counted

    def add(self, probabilities: Tensor) -> None:
        """Count the scores of some images.

        Args:
            probabilities: (B, C) float32 in [0, 1]; rows with other values are left out.
        """
        rows = probabilities.numpy()
        rows = rows[np.isfinite(rows).all(axis=1)]
        found, positives = histograms(rows), (rows >= self._thresholds).sum(axis=0)
        with self._lock:
            self._untold += found
            self._untold_positives += positives
            self._recent *= max(0.0, 1 - len(rows) / WINDOW_IMAGES)
            self._recent += found
            now = time.monotonic()
            if now < self._told_at + self._tell_every_s:
                return
            self._told_at = now
            self._tell_counts()
            if self._reference is not None and self._recent[0].sum() >= FEWEST_IMAGES:
                drift = population_stability_index(self._recent, self._reference)
                self._metrics.note_drift(self._ids, drift)

    def retire(self) -> None:
        """Another checkpoint answers: tell counts at once, with its last batches, and no drift."""
        with self._lock:
            self._reference = None
            self._tell_every_s = 0
            self._tell_counts()

    def _tell_counts(self) -> None:
        self._metrics.count_scores(self._ids, self._untold, self._untold_positives)
        self._untold[:] = 0
        self._untold_positives[:] = 0


def _reference(ids: list[str], card_metrics: Mapping[str, Any]) -> NDArray[np.floating[Any]] | None:
    """(C, BINS) of the scores that the checkpoint was judged on, where its card has them."""
    told = card_metrics.get(HISTOGRAMS)
    if told is None:
        return None
    try:
        reference = np.array([told[id] for id in ids], dtype=np.float64)
    except (KeyError, TypeError, ValueError, IndexError):
        reference = np.empty(0)
    if reference.shape != (len(ids), BINS) or (reference < 0).any():
        logger.warning(
            "no drift is told: the card's %s are not %d tenths of each label", HISTOGRAMS, BINS
        )
        return None
    return reference
