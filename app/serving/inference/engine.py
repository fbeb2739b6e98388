"""The inference engine: the objects that the routes share, and their start and stop."""

from app.core.classifier import Classifier
from app.core.runtime import choose_inference_workers
from app.serving.inference.admission import Admission
from app.serving.inference.image_embedder import ImageEmbedder
from app.serving.inference.served_model import ServedModels, make_served_model
from app.serving.inference.text_embedder import TextEmbedder
from app.serving.inference.throughput import Throughput
from app.serving.observability import Metrics
from app.settings import Settings


class Engine:
    """Wires admission, served checkpoint and embedders, which /predict, /embed and others share.

    Args:
        classifier: the checkpoint to serve first.
        settings: limits and sizes.
        metrics: counts images, texts and scores.
        cores: CPU cores that torch may use.

    Attributes:
        admission: bounds the images in flight.
        models: the checkpoint in use.
        images: embeds images.
        texts: embeds texts.
    """

    def __init__(
        self, classifier: Classifier, settings: Settings, metrics: Metrics, cores: int
    ) -> None:
        self.models = ServedModels(make_served_model(classifier, settings, metrics), metrics)
        workers = choose_inference_workers(classifier.placement, cores)
        busy_images = workers.count * self.models.current.scoring.max_batch_size
        self.admission = Admission(
            settings.max_queued_images,
            metrics.images.set_in_flight,
            Throughput(busy_images, workers.count, settings.max_queued_images),
            max_retry_after_s=settings.request_timeout_s,
        )
        self.images = ImageEmbedder(self.models, self.admission, settings, metrics, workers)
        self.texts = TextEmbedder(self.admission, metrics, cores)

    def start(self) -> None:
        """Start the batch loop; call it from a running event loop."""
        self.images.start()

    async def close(self) -> None:
        """Refuse new work, finish what was admitted and stop the threads."""
        await self.admission.drain()
        await self.images.close()
