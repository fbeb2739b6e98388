"""How many photos a second this machine tags without HTTP: decode, resize, model, one loop.

python -m benchmarks.ceiling weights/mumic-demo --megapixels 0.3 --seconds 5
"""

import argparse
import json
import resource
import time
from itertools import cycle, islice
from pathlib import Path

import torch

from app.core.classifier import Classifier
from app.core.images import ImageLimits
from app.core.pixels import load_pixels
from benchmarks.photos import SIZES, photos

BATCH_SIZE = 8


def ceiling(checkpoint: Path, files: list[bytes], seconds: float) -> float:
    """Images a second.

    Args:
        checkpoint: checkpoint directory.
        files: JPEG files.
        seconds: to measure.
    """
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    stream, done = cycle(files), -BATCH_SIZE
    begin = now = time.perf_counter()
    while now < begin + seconds or done <= 0:
        batch = [
            load_pixels(data, ImageLimits(), classifier.preprocess).values
            for data in islice(stream, BATCH_SIZE)
        ]
        classifier.probabilities(classifier.embed_images(torch.stack(batch)))
        done += BATCH_SIZE
        now = time.perf_counter()
        if done == 0:  # the first batch warms up
            begin = now
    return done / (now - begin)


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--megapixels", type=float, choices=SIZES, default=0.3)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    pace = ceiling(args.checkpoint, list(photos(args.megapixels)), args.seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"images_per_second": pace, "peak_rss_mb": usage.ru_maxrss / 1024}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
