"""Decoding and resizing one photo in one thread: the server's way against Pillow's full path.

python -m benchmarks.decoding.decode weights/mumic-demo
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import torch
from open_clip.transform import image_transform
from PIL import Image
from torch import Tensor

from app.core.checkpoint import load_model
from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, normalize
from app.core.labels import make_selection
from benchmarks.support.photos import SIZES, photos

ROUNDS = 7


def best_ms(function: Callable[[bytes], object], files: tuple[bytes, ...]) -> float:
    """Milliseconds a photo, of the fastest round over all of them."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for data in files:
            function(data)
        rounds.append(time.perf_counter() - started)
    return 1000 * min(rounds) / len(files)


def main() -> None:
    """Print a line for each size of photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    classifier = Classifier.load(args.checkpoint, device="cpu", precision="fp32")
    chosen = classifier.preprocess
    transform = image_transform(
        chosen.size_px,
        is_train=False,
        mean=chosen.mean,
        std=chosen.std,
        resize_mode="squash",
        interpolation=chosen.interpolation,
    )
    resized = (chosen.size_px, chosen.size_px)

    def full(data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data)).convert("RGB").resize(resized, Image.Resampling.BICUBIC)

    def ours(data: bytes) -> Tensor:
        return load_pixels(data, ImageLimits(), chosen).values

    model = load_model(classifier.checkpoint)
    embed = torch.inference_mode()(model.encode_image)
    thresholds = torch.tensor(make_selection(classifier.labels).thresholds)
    print("| MP | decoded as | Pillow, ms | ours, ms | ratio | lowest cosine | labels moved |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for size in SIZES:
        files = photos(size)
        cosines, moved = [], 0
        for data in files:
            slow = embed(transform(Image.open(io.BytesIO(data)))[None])
            fast = embed(normalize(ours(data)[None], chosen, torch.float32))
            cosines.append((slow * fast).sum().item())
            have, want = (classifier.probabilities(rows)[0] >= thresholds for rows in (fast, slow))
            moved += int((have != want).sum())
        theirs_ms, ours_ms = best_ms(full, files), best_ms(ours, files)
        source = load_pixels(files[0], ImageLimits(), chosen).source
        print(
            f"| {size:g} | {source} | {theirs_ms:.1f} | {ours_ms:.1f} | {ours_ms / theirs_ms:.2f} "
            f"| {min(cosines):.5f} | {moved} of {len(files) * len(thresholds)} |"
        )


if __name__ == "__main__":
    main()
