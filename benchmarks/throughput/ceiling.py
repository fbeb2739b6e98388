"""Measures the highest throughput of this machine without HTTP: the ceiling of a server.

python -m benchmarks.throughput.ceiling weights/mumic-demo --megapixels 0.3 --seconds 5

One thread per core decodes a batch and runs the model on it, independently of the other threads.
Batch size and decoder are the fastest of those tried; the model is the server's fused model.
It prints one JSON object; with --again, it measures again for each line on standard input.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import simplejpeg
import torch
from torch import Tensor

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, stack
from app.core.images.preprocessing import resize
from app.core.runtime import keep_freed_memory, set_torch_threads
from benchmarks.support.photos import SIZES, photos

BATCH_SIZES = (4, 8, 16)
TRIAL_S = 2.0
LATENCY_SAMPLES = 20

Decoder = Callable[[bytes], Tensor]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Highest throughput and lowest latency of a machine.

    Args:
        images_per_second: images decoded, resized, embedded and scored.
        model_images_per_second: images embedded and scored, from decoded pixels.
        latency_ms: median of a single in-flight image on all cores.
        batch_size: the fastest of `BATCH_SIZES`.
        decoder: the fastest decoder.
    """

    images_per_second: float
    model_images_per_second: float
    latency_ms: float
    batch_size: int
    decoder: str


def throughput(run_batch: Callable[[], int], threads: int, seconds: float) -> float:
    """Return the images per second of threads that each run one batch after another.

    Args:
        run_batch: processes a batch and returns its number of images.
        threads: number of threads, each with one core.
        seconds: duration, after one warm-up batch per thread.
    """
    barrier = threading.Barrier(threads)
    throughputs: list[float] = []

    def work() -> None:
        set_torch_threads(1)
        run_batch()
        barrier.wait()
        started = now = time.perf_counter()
        images = 0
        while now < started + seconds:
            images += run_batch()
            now = time.perf_counter()
        throughputs.append(images / (now - started))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(throughputs)


def measure(checkpoint: Path, files: Sequence[bytes], seconds: float) -> Iterator[Ceiling]:
    """Find the fastest batch size and decoder, then yield one measurement after another.

    Args:
        checkpoint: checkpoint directory.
        files: JPEG files.
        seconds: duration of each measurement.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    decoders = _decoders(classifier)
    decoder = min(decoders, key=lambda name: _median_s(lambda: decoders[name](files[0])))
    decode = decoders[decoder]

    def tag(batch: Tensor) -> int:
        classifier.score_images(batch)
        return len(batch)

    def decode_and_tag(size: int) -> Callable[[], int]:
        stream = cycle(files)
        return lambda: tag(stack([decode(data) for data in islice(stream, size)]))

    trials = {size: throughput(decode_and_tag(size), cores, TRIAL_S) for size in BATCH_SIZES}
    size = max(trials, key=lambda size: trials[size])
    pixels = stack([decode(data) for data in islice(cycle(files), size)])
    while True:
        yield Ceiling(
            images_per_second=throughput(decode_and_tag(size), cores, seconds),
            model_images_per_second=throughput(lambda: tag(pixels), cores, seconds / 2),
            latency_ms=1000 * _latency_s(decode_and_tag(1), cores),
            batch_size=size,
            decoder=decoder,
        )


def mean_of(before: Ceiling, after: Ceiling) -> Ceiling:
    """Return the mean of two measurements with the same batch size and decoder."""
    return replace(
        after,
        images_per_second=(before.images_per_second + after.images_per_second) / 2,
        model_images_per_second=(before.model_images_per_second + after.model_images_per_second)
        / 2,
        latency_ms=(before.latency_ms + after.latency_ms) / 2,
    )


@contextlib.contextmanager
def ceiling_process(
    checkpoint: Path, megapixels: float, seconds: float
) -> Iterator[Callable[[], Ceiling]]:
    """Start a process that measures the ceiling on each call, and is idle between calls.

    Args:
        checkpoint: checkpoint directory.
        megapixels: size of the photos.
        seconds: duration of each measurement.

    Yields:
        A function that measures the ceiling.

    Raises:
        RuntimeError: the first measurement failed.
    """
    options = ["--megapixels", f"{megapixels:g}", "--seconds", f"{seconds:g}", "--again"]
    command = [sys.executable, "-m", "benchmarks.throughput.ceiling", str(checkpoint), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the ceiling could not be measured")

        def measure_again() -> Ceiling:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return Ceiling(**json.loads(process.stdout.readline()))

        try:
            yield measure_again
        finally:
            process.stdin.close()  # ends the process


def _decoders(classifier: Classifier) -> dict[str, Decoder]:
    def libjpeg_turbo(data: bytes) -> Tensor:
        return resize(simplejpeg.decode_jpeg(data), classifier.preprocess)

    return {
        "the server's": lambda data: load_pixels(data, ImageLimits(), classifier.preprocess).values,
        "bare libjpeg-turbo": libjpeg_turbo,
    }


def _median_s(function: Callable[[], object]) -> float:
    times = []
    for _ in range(LATENCY_SAMPLES):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return median(times)


def _latency_s(run_image: Callable[[], int], cores: int) -> float:
    """Return the median seconds per image, in a thread that may use all cores."""
    found: list[float] = []

    def work() -> None:
        set_torch_threads(cores)
        _median_s(run_image)  # warm-up
        found.append(_median_s(run_image))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def main() -> None:
    """Print each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--megapixels", type=float, choices=SIZES, default=0.3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument(
        "--again", action="store_true", help="measure again for each line on standard input"
    )
    args = parser.parse_args()
    keep_freed_memory()
    for ceiling in measure(args.checkpoint, photos(args.megapixels), args.seconds):
        print(json.dumps(asdict(ceiling)), flush=True)
        if not (args.again and sys.stdin.readline()):
            break


if __name__ == "__main__":
    main()
