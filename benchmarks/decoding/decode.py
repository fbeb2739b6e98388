"""Compares decoding and resizing of the server with a full decode by Pillow, in one thread.

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
from benchmarks.support.photos import SIZES, photos

ROUNDS = 7


def best_ms(function: Callable[[bytes], object], files: tuple[bytes, ...]) -> float:
    """Return the milliseconds per photo in the fastest of `ROUNDS` rounds over all files."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for data in files:
            function(data)
        rounds.append(time.perf_counter() - started)
    return 1000 * min(rounds) / len(files)


def main() -> None:
    """Print a row for each size of photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    classifier = Classifier.load(args.checkpoint, device="cpu", precision="fp32")
    preprocess = classifier.preprocess
    transform = image_transform(
        preprocess.size_px,
        is_train=False,
        mean=preprocess.mean,
        std=preprocess.std,
        resize_mode="squash",
        interpolation=preprocess.interpolation,
    )
    resized = (preprocess.size_px, preprocess.size_px)

    def pillow(data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data)).convert("RGB").resize(resized, Image.Resampling.BICUBIC)

    def mumic(data: bytes) -> Tensor:
        return load_pixels(data, ImageLimits(), preprocess).values

    model = load_model(classifier.checkpoint)  # unfused
    embed = torch.inference_mode()(model.encode_image)
    thresholds = torch.from_numpy(classifier.labels.serve_thresholds)
    print("| MP | decoded as | Pillow, ms | MuMIC, ms | ratio | lowest cosine | changed labels |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for size in SIZES:
        files = photos(size)
        cosines, changed = [], 0
        for data in files:
            expected = embed(transform(Image.open(io.BytesIO(data)))[None])
            actual = embed(normalize(mumic(data)[None], preprocess, torch.float32))
            cosines.append((expected * actual).sum().item())
            labels, expected_labels = (
                classifier.score_embeddings(embedding).sigmoid()[0] >= thresholds
                for embedding in (actual, expected)
            )
            changed += int((labels != expected_labels).sum())
        pillow_ms, mumic_ms = best_ms(pillow, files), best_ms(mumic, files)
        source = load_pixels(files[0], ImageLimits(), preprocess).source
        print(
            f"| {size:g} | {source} | {pillow_ms:.1f} | {mumic_ms:.1f} "
            f"| {mumic_ms / pillow_ms:.2f} | {min(cosines):.5f} "
            f"| {changed} of {len(files) * len(thresholds)} |"
        )


if __name__ == "__main__":
    main()
