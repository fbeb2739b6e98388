"""A checkpoint that answers requests, with what belongs to it alone."""

from dataclasses import dataclass

from torch import Tensor

from app.core.checkpoint import golden_images
from app.core.classifier import Classifier
from app.serving.inference.batcher import Model
from app.serving.inference.embedding_cache import EmbeddingCache
from app.serving.inference.score_statistics import ScoreStatistics
from app.serving.observability import Metrics
from app.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """One checkpoint. A request holds on to the one that it began with.

    Attributes:
        classifier: the loaded checkpoint.
        model: its image tower, for the batcher; the scores that it gives are counted.
        check: the same for checks, which are no answers.
        statistics: of the scores.
        golden_image: (3, S, S) uint8, the first of its golden inputs.
        cache: of its embeddings.
    """

    classifier: Classifier
    model: Model
    check: Model
    statistics: ScoreStatistics
    golden_image: Tensor
    cache: EmbeddingCache


def names_of(classifier: Classifier) -> dict[str, str]:
    """The labels of the metric `mumic_model_info`."""
    card, placement = classifier.checkpoint.card, classifier.placement
    return {
        "name": card.name,
        "version": card.version,
        "labels_version": classifier.labels.version,
        "device": str(placement.device),
        "precision": placement.precision,
    }


def served(classifier: Classifier, settings: Settings, metrics: Metrics) -> ServedModel:
    """Make a checkpoint ready to answer."""
    most = settings.max_batch_size or classifier.batch_size
    card_metrics = classifier.checkpoint.card.metrics
    statistics = ScoreStatistics(classifier.labels, card_metrics, metrics)
    return ServedModel(
        classifier,
        Model(statistics.counting(classifier.score_images), most),
        Model(classifier.score_images, most),
        statistics,
        golden_images(classifier.preprocess.size_px)[0],
        EmbeddingCache(settings.embedding_cache_bytes),
    )
