"""Time of gallery selection and of its measures, on one core.

    python -m benchmarks.applications.gallery

The embeddings and scores are random: their values do not change the number of operations.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from app.applications.gallery import (
    Quality,
    category_weights,
    choose_gallery,
    measure_quality,
)
from app.core.labels import builtin_label_set

DIMENSION, SIDE_PX = 256, 288  # of the shipped checkpoint
LABELS = builtin_label_set()
REPEATS = 15


def main() -> None:
    """Measure and print a table."""
    torch.set_num_threads(1)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3)))
    photo = pixels.to(torch.uint8).permute(2, 0, 1)
    rows = [
        ("quality of a photo", _median_s(lambda: measure_quality(photo))),
        ("10 of 50 photos", _median_s(lambda: _choose(50))),
        ("10 of 1,000 photos", _median_s(lambda: _choose(1000))),
    ]
    print("| step | CPU time, median |\n|---|---:|")
    for name, seconds in rows:
        print(f"| {name} | {1000 * seconds:.1f} ms |")


def _choose(photos: int) -> None:
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(photos, DIMENSION)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    logits = generator.normal(-3, 3, (photos, len(LABELS.labels))).astype(np.float32)
    qualities = [Quality(0.6, 0.4, 0.2, 0.0)] * photos
    choose_gallery(
        torch.from_numpy(embeddings),
        torch.from_numpy(logits),
        qualities,
        LABELS,
        category_weights(LABELS, {}),
        10,
    )


def _median_s(work: Callable[[], object]) -> float:
    """Return the median CPU time of a function, in seconds; other processes do not count."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return median(times)


if __name__ == "__main__":
    main()
