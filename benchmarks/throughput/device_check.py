"""Compares a device with fp32 on the CPU, and measures its throughput by batch size, without HTTP.

python -m benchmarks.throughput.device_check weights/mumic-demo --device cuda
"""

import argparse
import time
from pathlib import Path

import torch

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, stack
from benchmarks.support.photos import photos

BATCH_SIZES = (1, 8, 32, 64, 128, 256)
SECONDS = 2.0


def images_per_second(classifier: Classifier, pixels: torch.Tensor) -> float:
    """Return the throughput of one inference worker, from CPU memory to CPU memory.

    Args:
        classifier: on its device.
        pixels: (B, 3, S, S) uint8, on the CPU.
    """
    for _ in range(3):
        classifier.embed_images(pixels)
    started = now = time.perf_counter()
    batches = 0
    while now < started + SECONDS:
        classifier.embed_images(pixels)
        batches += 1
        now = time.perf_counter()
    return batches * len(pixels) / (now - started)


def main() -> None:
    """Print a table of differences and throughput by precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "fp16"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=BATCH_SIZES)
    args = parser.parse_args()
    reference = Classifier.load(args.checkpoint, device="cpu", precision="fp32")
    batch = stack([load_pixels(d, ImageLimits(), reference.preprocess).values for d in photos(0.3)])
    expected = reference.embed_images(batch)
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
    sizes = " | ".join(f"images/s at {size}" for size in args.batch_sizes)
    print(f"{args.checkpoint.name} on {name}, torch {torch.__version__}\n")
    print(f"| precision | lowest cosine | largest difference of a probability | {sizes} |")
    print("|---|---:|---:|" + "---:|" * len(args.batch_sizes))
    for precision in args.precisions:
        classifier = Classifier.load(args.checkpoint, device=args.device, precision=precision)
        actual = classifier.embed_images(batch)
        cosine = (actual * expected).sum(dim=1).min().item()
        difference = (
            classifier.score_embeddings(actual).sigmoid()
            - reference.score_embeddings(expected).sigmoid()
        )
        throughputs = [
            images_per_second(classifier, stack([batch[n % len(batch)] for n in range(size)]))
            for size in args.batch_sizes
        ]
        figures = " | ".join(f"{throughput:.0f}" for throughput in throughputs)
        print(f"| {precision} | {cosine:.6f} | {difference.abs().max().item():.5f} | {figures} |")


if __name__ == "__main__":
    main()
