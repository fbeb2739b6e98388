"""Measures the cost of converting photos to sRGB, in CPU time of one thread.

python -m benchmarks.decoding.colour

Each photo is decoded without a profile and with several, in turn, so that a change of the machine's
speed affects all of them.
"""

import argparse
import io
import time
from collections.abc import Mapping

import torch
from PIL import Image

from app.core.images import ImageLimits, Preprocess, load_pixels
from benchmarks.support.photos import SIZES, photos
from tests.support.icc import (
    DISPLAY_P3,
    SRGB,
    SRGB_CURVE,
    cmyk_lab,
    matrix_profile,
    table_profile,
)
from tests.support.photos import encoded

ROUNDS = 15
PREPROCESS = Preprocess(288, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def with_profile(jpeg: bytes, profile: bytes) -> bytes:
    """Insert a profile of less than 64 kB into a JPEG."""
    body = b"ICC_PROFILE\0\1\1" + profile
    return jpeg[:2] + b"\xff\xe2" + (len(body) + 2).to_bytes(2) + body + jpeg[2:]


def best_ms(variants: Mapping[str, bytes]) -> dict[str, float]:
    """Return the fastest of `ROUNDS` interleaved decodings of each file, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, data in variants.items():
            started = time.process_time()
            load_pixels(data, ImageLimits(), PREPROCESS)
            times[name].append(1000 * (time.process_time() - started))
    return {name: min(each) for name, each in times.items()}


def main() -> None:
    """Print a row for each size of photo and each profile."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    print("| MP | decoded as | profile | CPU ms | ratio to none |\n|---:|---|---|---:|---:|")
    for size in SIZES:
        rgb = photos(size)[0]
        cmyk = encoded(Image.open(io.BytesIO(rgb)).convert("CMYK"), "JPEG", quality=90)
        variants = {
            "none": rgb,
            "sRGB": with_profile(rgb, matrix_profile(SRGB, SRGB_CURVE)),
            "Display P3": with_profile(rgb, matrix_profile(DISPLAY_P3, SRGB_CURVE)),
            "none (CMYK)": cmyk,
            "press (CMYK)": with_profile(cmyk, table_profile(b"mft1", cmyk_lab(9))),
        }
        source = load_pixels(rgb, ImageLimits(), PREPROCESS).source
        for name, ms in (measured := best_ms(variants)).items():
            plain = measured["none (CMYK)" if "CMYK" in name else "none"]
            print(f"| {size:g} | {source} | {name} | {ms:.1f} | {ms / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
