"""Prints the measures of quality of photos and of bad copies, and how many the limits refuse.

    python recipes/applications/quality_limits.py --photos FOLDER

The copies are dark, blurred, or replaced by a page of text. docs/applications.md has the table.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from edits import blurred, darkened, edited, encoded, text_page

from app.applications.gallery import Flaw, Quality, measure_quality
from app.core.checkpoint import read_checkpoint
from app.core.images import ImageLimits, Preprocess, SkippedFile, find_photos, load_pixels
from app.settings import SHIPPED_CHECKPOINT

PERCENTILES = (1, 5, 50, 95, 99)
MEASURES = ("brightness", "sharpness", "text", "contrast")
FLAWS: tuple[Flaw, ...] = ("too_dark", "blurred", "text_heavy")


def measured(files: Sequence[bytes], preprocess: Preprocess) -> list[Quality]:
    """Measure image files at the model's input size."""
    limits = ImageLimits()
    return [measure_quality(load_pixels(each, limits, preprocess).values) for each in files]


def table(sets: dict[str, list[Quality]]) -> list[str]:
    """Return the lines of the table: one per set of photos and measure.

    Args:
        sets: the photos by the name of their set.
    """
    lines = [
        "| photos | measure | " + " | ".join(f"{each} %" for each in PERCENTILES) + " |",
        "|---|---|" + "---:|" * len(PERCENTILES),
    ]
    for name, photos in sets.items():
        for measure in MEASURES:
            values = np.percentile([getattr(each, measure) for each in photos], PERCENTILES)
            lines.append(f"| {name} | {measure} | {' | '.join(f'{x:.2f}' for x in values)} |")
    lines += ["", "| photos | number | " + " | ".join(FLAWS) + " |", "|---|---:|---:|---:|---:|"]
    for name, photos in sets.items():
        flaws = [each.flaw for each in photos]
        shares = [f"{flaws.count(flaw) / len(flaws):.1%}" for flaw in FLAWS]
        lines.append(f"| {name} | {len(photos)} | {' | '.join(shares)} |")
    return lines


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of any photos")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    parser.add_argument("--count", type=int, default=500, help="most photos, drawn at random")
    arguments = parser.parse_args()
    preprocess = read_checkpoint(arguments.checkpoint).preprocess
    rng = random.Random(0)
    paths = sorted(
        each
        for each in find_photos(arguments.photos)
        if not isinstance(each, SkippedFile | OSError)
    )
    files = [path.read_bytes() for path in rng.sample(paths, min(arguments.count, len(paths)))]
    sets = {
        "as they are": files,
        "dark": [edited(each, darkened) for each in files],
        "blurred": [edited(each, blurred) for each in files],
        "page of text": [encoded(text_page(rng)) for _ in files],
    }
    print("\n".join(table({name: measured(each, preprocess) for name, each in sets.items()})))


if __name__ == "__main__":
    main()
