"""The checkpoint that answers requests, with the objects that belong to it alone."""

from dataclasses import dataclass

from torch import Tensor

from app.core.checkpoint import golden_images
from app.core.classifier import Classifier
from app.core.runtime import device_memory
from app.serving.inference.embedding_cache import EmbeddingCache
from app.serving.inference.score_statistics import ScoreStatistics
from app.serving.inference.scoring_model import ScoringModel
from app.serving.observability import Metrics
from app.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """One checkpoint. A request keeps the one that it started with.

    Attributes:
        classifier: the loaded checkpoint.
        scoring: scores the images of requests and counts the scores.
        golden_scoring: scores the golden image of health checks, without counting.
        statistics: the distribution of the scores.
        golden_image: (3, S, S) uint8, the first golden input.
        cache: the embeddings of recent photos.
    """

    classifier: Classifier
    scoring: ScoringModel
    golden_scoring: ScoringModel
    statistics: ScoreStatistics
    golden_image: Tensor
    cache: EmbeddingCache


class ServedModels:
    """Holds the checkpoint that new requests use and reports it to the metrics.

    Args:
        first: the checkpoint until it is replaced.
        metrics: receives the checkpoint's name, cache size and device memory.

    Attributes:
        current: the checkpoint that new requests use.
    """

    def __init__(self, first: ServedModel, metrics: Metrics) -> None:
        self._metrics = metrics
        self.current = first
        self._report_current()

    def replace(self, new: ServedModel) -> None:
        """Use a checkpoint for new requests; running requests finish with the previous one."""
        self.current.statistics.retire()
        self.current = new
        self._report_current()

    def report_cache_size(self) -> None:
        """Export the memory that the current checkpoint's embedding cache uses."""
        self._metrics.images.set_cache_bytes(self.current.cache.size_bytes)

    def report_device_memory(self) -> None:
        """Export the memory in use on the current checkpoint's GPU."""
        device = self.current.classifier.placement.device
        self._metrics.model.set_device_memory(str(device), device_memory(device))

    def _report_current(self) -> None:
        classifier = self.current.classifier
        self._metrics.model.set_served(**model_metric_labels(classifier), fused=classifier.fused)
        self.report_cache_size()
        self.report_device_memory()


def model_metric_labels(classifier: Classifier) -> dict[str, str]:
    """Return the labels of the metric `mumic_model_info`."""
    card, placement = classifier.checkpoint.card, classifier.placement
    return {
        "name": card.name,
        "version": card.version,
        "labels_version": classifier.labels.version,
        "device": str(placement.device),
        "precision": placement.precision,
    }


def make_served_model(
    classifier: Classifier,
    settings: Settings,
    metrics: Metrics,
    cache: EmbeddingCache | None = None,
) -> ServedModel:
    """Build the objects that serve a checkpoint.

    Args:
        classifier: the checkpoint.
        settings: sizes.
        metrics: receives its scores.
        cache: embeddings of the same weights, with scores of the same labels; by default none.
    """
    max_batch_size = settings.max_batch_size or classifier.batch_size
    card_metrics = classifier.checkpoint.card.metrics
    statistics = ScoreStatistics(classifier.labels, card_metrics, metrics.scores)
    return ServedModel(
        classifier,
        ScoringModel(statistics.counting(classifier.score_images), max_batch_size),
        ScoringModel(classifier.score_images, max_batch_size),
        statistics,
        golden_images(classifier.preprocess.size_px)[0],
        cache or EmbeddingCache(settings.embedding_cache_bytes),
    )
