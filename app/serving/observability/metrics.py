"""Prometheus metrics of one server process, or of all processes that share a directory."""

import itertools
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector

from app import __version__
from app.serving.observability.process_metrics import SharingProcesses

# Read by prometheus_client at import; if set, processes share their samples in this directory.
SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
# Dense enough around 30 ms and around 10 s for meaningful interpolated percentiles.
SECONDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5),
    *(10.0, 15.0, 20.0, 30.0),
)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Exported from the start as 0: rate() cannot see a counter's first increment otherwise.
ROUTES = ("/predict", "/embed", "/zero-shot", "/validate", "/gallery", "/similar")
STATUSES = ("200", "429", "499", "500", "503", "504")
PROBES, PROBE_STATUSES = ("/healthz", "/readyz"), ("200", "503")
Aggregation = Literal["livesum", "livemax", "livemin", "min"]  # of several processes' gauges
# Each process has its own tensors; the device is the same for all.
DEVICE_MEMORY: tuple[tuple[str, str, Aggregation], ...] = (
    ("allocated", "Device memory in use by tensors of this process.", "livesum"),
    ("reserved", "Device memory reserved by torch's caching allocator.", "livesum"),
    ("total", "Total memory of the device.", "livemax"),
)
disable_created_metrics()  # they double the counters' lines; shared directories have none anyway


def shared_model_labels() -> Mapping[str, str]:
    """Return the labels of `mumic_model_info`, as the processes of a shared directory set them."""
    return next(
        sample.labels
        for metric in MultiProcessCollector(None).collect()
        for sample in metric.samples
        if sample.name == "mumic_model_info" and sample.value == 1
    )


class Metrics:
    """All metrics, grouped by subject, in a registry of their own.

    If a directory is shared, the samples are those of all processes, including dead ones;
    `process_*` are exported for each living process by `pid`, with the number of replaced workers.

    Attributes:
        requests: HTTP requests and their bodies.
        images: images, from decoding to inference.
        texts: text embeddings.
        scores: probabilities by label.
        index: the index of photos.
        model: the served checkpoint and its device.
    """

    def __init__(self) -> None:
        registry = self._exported = CollectorRegistry()
        if SHARED_DIRECTORY in os.environ:
            self._exported = CollectorRegistry()
            MultiProcessCollector(self._exported)
            self._exported.register(SharingProcesses(os.environ[SHARED_DIRECTORY]))
        else:
            ProcessCollector(registry=registry)
        self.requests = RequestMetrics(registry)
        self.images = ImageMetrics(registry)
        self.texts = TextMetrics(registry)
        self.scores = ScoreMetrics(registry)
        self.index = IndexMetrics(registry)
        self.model = ModelMetrics(registry)
        _gauge(
            registry,
            "mumic_start_time_seconds",
            "Start time of the server (of the first worker) since the Unix epoch, in seconds.",
            "min",
        ).set_to_current_time()
        _gauge(
            registry,
            "mumic_build_info",
            "Versions of the server, Python and torch; the value is always 1.",
            "livemax",
            "version",
            "python",
            "torch",
        ).labels(__version__, platform.python_version(), version("torch")).set(1)

    def render(self) -> bytes:
        """Return all samples in the Prometheus text format."""
        return generate_latest(self._exported)


class RequestMetrics:
    """HTTP requests and their bodies."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = _counter(
            registry,
            "mumic_requests_total",
            "Requests, by route and HTTP status.",
            "route",
            "status",
        )
        for route, status in (
            *itertools.product(ROUTES, STATUSES),
            *itertools.product(PROBES, PROBE_STATUSES),
        ):
            self._requests.labels(route, status)
        self._seconds = _histogram(
            registry,
            "mumic_request_seconds",
            "Seconds from the request's headers to the end of the response, by route.",
            SECONDS,
            "route",
        )
        self._body_bytes = _gauge(
            registry,
            "mumic_request_bytes_in_flight",
            "Bytes of request bodies in memory, until their requests are answered.",
            "livesum",
        )

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request and observe its duration."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def set_body_bytes(self, size_bytes: int) -> None:
        """Set the bytes of request bodies in memory."""
        self._body_bytes.set(size_bytes)


class ImageMetrics:
    """Images, from decoding to inference, and the embedding cache."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._outcomes = _counter(
            registry,
            "mumic_images_total",
            "Accepted images by outcome: ok, failed, abandoned, or an error code.",
            "outcome",
        )
        self._in_flight = _gauge(
            registry,
            "mumic_images_in_flight",
            "Accepted images that are not answered yet.",
            "livesum",
        )
        self._decoded = _counter(
            registry,
            "mumic_decoded_images_total",
            "Decoded images, by format and scale: JPEG/4 was decoded at a quarter of its size.",
            "source",
        )
        self._decode_seconds = _histogram(
            registry,
            "mumic_decode_seconds",
            "Seconds of decoding and resizing one image.",
            SECONDS,
        )
        self._queue_seconds = _histogram(
            registry,
            "mumic_queue_seconds",
            "Seconds that one image was queued for the model.",
            SECONDS,
        )
        self._infer_seconds = _histogram(
            registry, "mumic_infer_seconds", "Seconds of one batch in the model.", SECONDS
        )
        self._batch_size = _histogram(
            registry, "mumic_batch_size", "Images in one batch.", BATCH_SIZES
        )
        self._cache_lookups = _counter(
            registry,
            "mumic_embedding_cache_lookups_total",
            "Photos looked up in the embedding cache, by result: hit or miss.",
            "result",
        )
        self._cache_bytes = _gauge(
            registry,
            "mumic_embedding_cache_bytes",
            "Memory in use by the embedding cache.",
            "livesum",
        )

    def count_outcome(self, outcome: str) -> None:
        """Count an accepted image: `ok`, `failed`, `abandoned` or the code of its error."""
        self._outcomes.labels(outcome).inc()

    def set_in_flight(self, images: int) -> None:
        """Set the number of admitted images that are not answered yet."""
        self._in_flight.set(images)

    def observe_decode(self, source: str, seconds: float) -> None:
        """Observe one decoded image; `source` is its format and scale, such as `JPEG/4`."""
        self._decoded.labels(source).inc()
        self._decode_seconds.observe(seconds)

    def observe_queue(self, seconds: float) -> None:
        """Observe how long one image was queued."""
        self._queue_seconds.observe(seconds)

    def observe_batch(self, images: int, seconds: float) -> None:
        """Observe one batch's size and duration."""
        self._batch_size.observe(images)
        self._infer_seconds.observe(seconds)

    def count_cache_lookup(self, *, hit: bool) -> None:
        """Count a lookup in the embedding cache."""
        self._cache_lookups.labels("hit" if hit else "miss").inc()

    def set_cache_bytes(self, size_bytes: int) -> None:
        """Set the memory that the embedding cache uses."""
        self._cache_bytes.set(size_bytes)


class TextMetrics:
    """Text embeddings and their cache."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = _histogram(
            registry,
            "mumic_text_seconds",
            "Seconds of embedding one request's texts, including the wait for other requests.",
            SECONDS,
        )
        self._cache_lookups = _counter(
            registry,
            "mumic_text_cache_lookups_total",
            "Texts looked up in the cache of text embeddings, by result: hit or miss.",
            "result",
        )

    def observe(self, seconds: float, *, hits: int, misses: int) -> None:
        """Observe one request's texts, `hits` of them in the cache and `misses` not."""
        self._seconds.observe(seconds)
        self._cache_lookups.labels("hit").inc(hits)
        self._cache_lookups.labels("miss").inc(misses)


class ScoreMetrics:
    """Probabilities by label, and their drift."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scores = _counter(
            registry,
            "mumic_label_scores_total",
            "Images by label and tenth of the probability; tenth 0.9 is 0.9 to 1.",
            "label",
            "tenth",
        )
        self._positives = _counter(
            registry,
            "mumic_label_positives_total",
            "Images whose probability of a label reaches its serve threshold; 0 if it has none.",
            "label",
        )
        self._drift = _gauge(
            registry,
            "mumic_label_score_drift",
            "Population stability index of a label's recent scores against its validation scores.",
            "livemax",
            "label",
        )

    def count(
        self, labels: Sequence[str], counts: NDArray[np.int64], positives: NDArray[np.int64]
    ) -> None:
        """Count images by label and tenth of the probability, and those that have the label.

        Args:
            labels: C ids.
            counts: (C, 10) images to add.
            positives: (C,) images to add that reach the label's `serve` threshold.
        """
        for row, column in zip(*counts.nonzero(), strict=True):
            self._scores.labels(labels[row], f"{column / 10:.1f}").inc(int(counts[row, column]))
        for label, images in zip(labels, positives.tolist(), strict=True):
            self._positives.labels(label).inc(images)

    def set_drift(self, labels: Sequence[str], drift: NDArray[np.float64]) -> None:
        """Set each label's drift from the validation scores; NaN if it is unknown."""
        for label, value in zip(labels, drift.tolist(), strict=True):
            self._drift.labels(label).set(value)


class IndexMetrics:
    """The index of photos that /similar searches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._photos = _gauge(
            registry,
            "mumic_index_photos",
            "Photos of the index that /similar searches; 0 without an index.",
            "livemax",
        )
        self._last_refresh_successful = _gauge(
            registry,
            "mumic_index_last_refresh_successful",
            "1 if the index could be read when it was last checked for changes, or there is none, "
            "else 0: the photos read before are still searched.",
            "livemin",
        )
        self._last_refresh_successful.set(1)
        self._search_seconds = _histogram(
            registry,
            "mumic_search_seconds",
            "Seconds of searching the index for all queries of one request.",
            SECONDS,
        )

    def set_photos(self, photos: int) -> None:
        """Set the number of photos of the index."""
        self._photos.set(photos)

    def set_refreshed(self, *, succeeded: bool) -> None:
        """Set the outcome of a check for changes of the index."""
        self._last_refresh_successful.set(succeeded)

    def observe_search(self, seconds: float) -> None:
        """Observe the duration of one request's search."""
        self._search_seconds.observe(seconds)


class ModelMetrics:
    """The served checkpoint and its device."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._info = _gauge(
            registry,
            "mumic_model_info",
            "The served checkpoint: 1; earlier checkpoints: 0.",
            "livemax",
            *("name", "version", "labels_version", "device", "precision"),
        )
        self._current: Gauge | None = None
        self._fused = _gauge(
            registry,
            "mumic_model_fused",
            "1 if layer fusion of the image tower succeeded or does not apply; 0 if it failed: "
            "inference is slower, and the log has the reason.",
            "livemin",
        )
        self._reloads = _counter(
            registry,
            "mumic_checkpoint_reloads_total",
            "Reloads of the checkpoint by outcome: ok or failed.",
            "outcome",
        )
        for outcome in ("ok", "failed"):
            self._reloads.labels(outcome)
        self._last_reload_successful = _gauge(
            registry,
            "mumic_checkpoint_last_reload_successful",
            "1 if the last reload of the checkpoint succeeded or there was none, else 0: the "
            "previous checkpoint is still served.",
            "livemin",
        )
        self._last_reload_successful.set(1)
        self._device_memory = {
            kind: _gauge(registry, f"mumic_device_memory_{kind}_bytes", text, aggregation, "device")
            for kind, text, aggregation in DEVICE_MEMORY
        }

    def set_served(
        self,
        *,
        name: str,
        version: str,
        labels_version: str,
        device: str,
        precision: str,
        fused: bool,
    ) -> None:
        """Set the served checkpoint, which replaces the previous one."""
        if self._current is not None:
            self._current.set(0)
        self._current = self._info.labels(name, version, labels_version, device, precision)
        self._current.set(1)
        self._fused.set(fused)

    def count_reload(self, *, succeeded: bool) -> None:
        """Count a reload of the checkpoint."""
        self._reloads.labels("ok" if succeeded else "failed").inc()
        self._last_reload_successful.set(succeeded)

    def set_device_memory(self, device: str, sizes_bytes: Mapping[str, int]) -> None:
        """Set the memory of a device, by the kinds of `DEVICE_MEMORY`."""
        for kind, size_bytes in sizes_bytes.items():
            self._device_memory[kind].labels(device).set(size_bytes)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=registry)


def _gauge(
    registry: CollectorRegistry, name: str, text: str, aggregation: Aggregation, *labels: str
) -> Gauge:
    return Gauge(name, text, labels, registry=registry, multiprocess_mode=aggregation)


def _histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: Sequence[float], *labels: str
) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)
