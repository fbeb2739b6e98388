"""How many photos a second this machine tags without HTTP, as well as is known here.

python -m benchmarks.throughput.ceiling weights/mumic-demo --megapixels 0.3 --seconds 5

Threads that each decode a batch and run the model on it with one core of their own: nobody waits
for anybody. Batch size and decoder are the fastest of those tried; the model is the server's.
It prints one JSON object; with --again one more, measured anew, for each line that it reads.
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
ALONE = 20  # images, one after the other

Decoder = Callable[[bytes], Tensor]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a machine gives at most.

    Args:
        images_per_second: decoded, resized, embedded and scored.
        model_images_per_second: of the model alone, on pixels that are there.
        latency_ms: of one image with nothing beside it, by all cores; the median.
        batch_size: the fastest.
        decoder: the fastest.
    """

    images_per_second: float
    model_images_per_second: float
    latency_ms: float
    batch_size: int
    decoder: str


def pace(one_batch: Callable[[], int], threads: int, seconds: float) -> float:
    """Images a second of threads that each work off one batch after the other.

    Args:
        one_batch: does the work and gives the number of images.
        threads: how many, each with one core.
        seconds: to measure, after one batch each to warm up.
    """
    begin = threading.Barrier(threads)
    paces: list[float] = []

    def work() -> None:
        set_torch_threads(1)
        one_batch()
        begin.wait()
        started = now = time.perf_counter()
        images = 0
        while now < started + seconds:
            images += one_batch()
            now = time.perf_counter()
        paces.append(images / (now - started))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(paces)


def measure(checkpoint: Path, files: Sequence[bytes], seconds: float) -> Iterator[Ceiling]:
    """Try what there is, and measure the fastest, again and again.

    Args:
        checkpoint: checkpoint directory.
        files: JPEG files.
        seconds: of each measurement.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    decoders = _decoders(classifier)
    decoder = min(decoders, key=lambda name: _seconds(lambda: decoders[name](files[0])))
    decode = decoders[decoder]

    def tag(batch: Tensor) -> int:
        classifier.score_images(batch)
        return len(batch)

    def whole(size: int) -> Callable[[], int]:
        stream = cycle(files)
        return lambda: tag(stack([decode(data) for data in islice(stream, size)]))

    trials = {size: pace(whole(size), cores, TRIAL_S) for size in BATCH_SIZES}
    size = max(trials, key=lambda size: trials[size])
    ready = stack([decode(data) for data in islice(cycle(files), size)])
    while True:
        yield Ceiling(
            images_per_second=pace(whole(size), cores, seconds),
            model_images_per_second=pace(lambda: tag(ready), cores, seconds / 2),
            latency_ms=1000 * _alone(whole(1), cores),
            batch_size=size,
            decoder=decoder,
        )


def mean_of(before: Ceiling, after: Ceiling) -> Ceiling:
    """The ceiling between two moments."""
    return replace(
        after,
        images_per_second=(before.images_per_second + after.images_per_second) / 2,
        model_images_per_second=(before.model_images_per_second + after.model_images_per_second)
        / 2,
        latency_ms=(before.latency_ms + after.latency_ms) / 2,
    )


@contextlib.contextmanager
def ceilings(
    checkpoint: Path, megapixels: float, seconds: float
) -> Iterator[Callable[[], Ceiling]]:
    """What the machine gives without HTTP whenever it is asked, by a process that waits meanwhile.

    Args:
        checkpoint: checkpoint directory.
        megapixels: of the photos.
        seconds: of each measurement.
    """
    options = ["--megapixels", f"{megapixels:g}", "--seconds", f"{seconds:g}", "--again"]
    command = [sys.executable, "-m", "benchmarks.throughput.ceiling", str(checkpoint), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise RuntimeError("the ceiling could not be measured")

        def again() -> Ceiling:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return Ceiling(**json.loads(process.stdout.readline()))

        try:
            yield again
        finally:
            process.stdin.close()  # which ends it


def _decoders(classifier: Classifier) -> dict[str, Decoder]:
    def bare(data: bytes) -> Tensor:
        return resize(simplejpeg.decode_jpeg(data), classifier.preprocess)

    return {
        "the server's": lambda data: load_pixels(data, ImageLimits(), classifier.preprocess).values,
        "bare libjpeg-turbo": bare,
    }


def _seconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(ALONE):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return median(times)


def _alone(one_image: Callable[[], int], cores: int) -> float:
    """Seconds of one image after the other, in a thread that may use every core."""
    found: list[float] = []

    def work() -> None:
        set_torch_threads(cores)
        _seconds(one_image)  # warms up
        found.append(_seconds(one_image))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--megapixels", type=float, choices=SIZES, default=0.3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--again", action="store_true", help="for each line of standard input")
    args = parser.parse_args()
    keep_freed_memory()
    for ceiling in measure(args.checkpoint, photos(args.megapixels), args.seconds):
        print(json.dumps(asdict(ceiling)), flush=True)
        if not (args.again and sys.stdin.readline()):
            break


if __name__ == "__main__":
    main()
