"""Prometheus metrics of one server process, or of all that share a directory."""

import itertools
import math
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

# prometheus_client's own switch, read when it is imported: where processes share their numbers.
SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
# Close enough around 30 ms and around 10 s that a percentile between two of them means something.
SECONDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5),
    *(10.0, 15.0, 20.0, 30.0),
)
# A series that begins with its first failures has no rate: these begin at 0.
ROUTES, STATUSES = ("/predict", "/embed", "/zero-shot"), ("200", "429", "499", "500", "503", "504")
PROBES, PROBE_STATUSES = ("/healthz", "/readyz"), ("200", "503")
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Of each process its own, of the device the same for all.
DEVICE_MEMORY: tuple[tuple[str, str, Literal["livesum", "livemax"]], ...] = (
    ("allocated", "Memory that tensors take on the device.", "livesum"),
    ("reserved", "Memory that torch keeps of the device, for tensors now and later.", "livesum"),
    ("total", "Memory that the device has.", "livemax"),
)
disable_created_metrics()  # twice the counters' lines; several processes tell none anyway


def shared_model() -> Mapping[str, str]:
    """The labels of `mumic_model_info`, from a process with which a directory is shared."""
    told = MultiProcessCollector(None).collect()
    return next(
        sample.labels
        for metric in told
        for sample in metric.samples
        if sample.name == "mumic_model_info" and sample.value == 1
    )


class Metrics:
    """Counters and histograms in a registry of their own.

    Where a directory is shared, they are those of all processes, dead ones' too; `process_*` is
    told of each living one by its `pid`, and how many were replaced.
    """

    def __init__(self) -> None:
        self._registry = self._told = CollectorRegistry()
        if SHARED_DIRECTORY in os.environ:
            self._told = CollectorRegistry()
            MultiProcessCollector(self._told)
            self._told.register(SharingProcesses(os.environ[SHARED_DIRECTORY]))
        else:
            ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "mumic_requests_total",
            "Requests, by route and HTTP status.",
            ("route", "status"),
            registry=self._registry,
        )
        for route, status in (
            *itertools.product(ROUTES, STATUSES),
            *itertools.product(PROBES, PROBE_STATUSES),
        ):
            self._requests.labels(route, status)
        self._request_seconds = self._histogram(
            "mumic_request_seconds",
            "Seconds from a request's head to its answer, by route.",
            SECONDS,
            ("route",),
        )
        self._images = Counter(
            "mumic_images_total",
            "Accepted images by outcome: ok, failed, abandoned, or what was wrong with them.",
            ("outcome",),
            registry=self._registry,
        )
        self._decoded = Counter(
            "mumic_decoded_images_total",
            "Decoded images, by format and scale: JPEG/4 was decoded at a quarter of its size.",
            ("source",),
            registry=self._registry,
        )
        self._decode_seconds = self._histogram(
            "mumic_decode_seconds", "Seconds of decoding and resizing one image.", SECONDS
        )
        self._queue_seconds = self._histogram(
            "mumic_queue_seconds", "Seconds that one image waited for the model.", SECONDS
        )
        self._infer_seconds = self._histogram(
            "mumic_infer_seconds", "Seconds of one batch in the model.", SECONDS
        )
        self._batch_size = self._histogram("mumic_batch_size", "Images in one batch.", SIZES)
        self._text_seconds = self._histogram(
            "mumic_text_seconds",
            "Seconds of embedding one request's texts, the wait for others' included.",
            SECONDS,
        )
        self._in_flight = Gauge(
            "mumic_images_in_flight",
            "Images that were accepted and not yet answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._bytes = Gauge(
            "mumic_request_bytes_in_flight",
            "Bytes of requests' bodies that are held until they are answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._look_ups = Counter(
            "mumic_embedding_cache_lookups_total",
            "Photos looked up in the embedding cache, by result: hit or miss.",
            ("result",),
            registry=self._registry,
        )
        self._cache_bytes = Gauge(
            "mumic_embedding_cache_bytes",
            "Memory that the embedding cache takes.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._text_look_ups = Counter(
            "mumic_text_cache_lookups_total",
            "Texts looked up in the cache of text embeddings, by result: hit or miss.",
            ("result",),
            registry=self._registry,
        )
        self._scores = Counter(
            "mumic_label_scores_total",
            "Images by the tenth in which a label's probability lies; 0.9 is 0.9 to 1.",
            ("label", "tenth"),
            registry=self._registry,
        )
        self._positives = Counter(
            "mumic_label_positives_total",
            "Images whose probability of a label reaches the label's serve threshold.",
            ("label",),
            registry=self._registry,
        )
        self._label_drift = Gauge(
            "mumic_label_score_drift",
            "Population stability index of a label's recent scores against validation's.",
            ("label",),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self._drifting: Sequence[str] = ()
        self._memory = {
            kind: Gauge(
                f"mumic_device_memory_{kind}_bytes",
                text,
                ("device",),
                registry=self._registry,
                multiprocess_mode=mode,
            )
            for kind, text, mode in DEVICE_MEMORY
        }
        self._model = Gauge(
            "mumic_model_info",
            "The checkpoint that is served: 1, and 0 for those before it.",
            ("name", "version", "labels_version", "device", "precision"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self._named: Gauge | None = None
        Gauge(
            "mumic_start_time_seconds",
            "When the server started, since the epoch; of several workers the first of all.",
            registry=self._registry,
            multiprocess_mode="min",
        ).set_to_current_time()
        build = Gauge(
            "mumic_build_info",
            "What the server is built of; always 1.",
            ("version", "python", "torch"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        build.labels(__version__, platform.python_version(), version("torch")).set(1)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def count_image(self, outcome: str) -> None:
        """Count one accepted image: `ok`, `failed` by the model, `abandoned`, or its own error."""
        self._images.labels(outcome).inc()

    def observe_decode(self, source: str, seconds: float) -> None:
        """One image's decode and resize; `source` is its format and scale, such as `JPEG/4`."""
        self._decoded.labels(source).inc()
        self._decode_seconds.observe(seconds)

    def observe_queue(self, seconds: float) -> None:
        """One image's wait for the model."""
        self._queue_seconds.observe(seconds)

    def observe_batch(self, images: int, seconds: float) -> None:
        """One batch in the model."""
        self._batch_size.observe(images)
        self._infer_seconds.observe(seconds)

    def observe_texts(self, seconds: float, *, hits: int, misses: int) -> None:
        """One request's texts, of which so many were and were not in the cache."""
        self._text_seconds.observe(seconds)
        self._text_look_ups.labels("hit").inc(hits)
        self._text_look_ups.labels("miss").inc(misses)

    def count_look_up(self, *, hit: bool) -> None:
        """One photo looked up in the embedding cache."""
        self._look_ups.labels("hit" if hit else "miss").inc()

    def note_cache(self, size_bytes: int) -> None:
        """So much memory the embedding cache takes."""
        self._cache_bytes.set(size_bytes)

    def note_in_flight(self, images: int) -> None:
        """So many images are accepted and not yet answered."""
        self._in_flight.set(images)

    def note_bytes(self, held: int) -> None:
        """So many bytes of requests' bodies are held."""
        self._bytes.set(held)

    def note_device_memory(self, device: str, sizes_bytes: Mapping[str, int]) -> None:
        """So much of a device's memory is taken, by the kinds of `DEVICE_MEMORY`."""
        for kind, size_bytes in sizes_bytes.items():
            self._memory[kind].labels(device).set(size_bytes)

    def count_scores(
        self, labels: Sequence[str], counts: NDArray[np.int64], positives: NDArray[np.int64]
    ) -> None:
        """Count images by label and tenth of its probability, and those that have the label.

        Args:
            labels: C ids.
            counts: (C, 10) further images.
            positives: (C,) of them.
        """
        for row, column in zip(*counts.nonzero(), strict=True):
            self._scores.labels(labels[row], f"{column / 10:.1f}").inc(int(counts[row, column]))
        for label, images in zip(labels, positives.tolist(), strict=True):
            self._positives.labels(label).inc(images)

    def note_drift(self, labels: Sequence[str], drift: NDArray[np.float64]) -> None:
        """So far each label's recent scores are from validation's."""
        self._drifting = labels
        for label, value in zip(labels, drift.tolist(), strict=True):
            self._label_drift.labels(label).set(value)

    def name_model(
        self, *, name: str, version: str, labels_version: str, device: str, precision: str
    ) -> None:
        """Say which checkpoint is served, in the place of the one before."""
        if self._named is not None:
            self._named.set(0)
            for label in self._drifting:  # of the one before; of shared ones none can be removed
                self._label_drift.labels(label).set(math.nan)
        self._named = self._model.labels(name, version, labels_version, device, precision)
        self._named.set(1)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._told)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)
