"""Compares squashing the whole photo to a square with a centre crop (section 2.3)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from PIL import Image, ImageOps
from rich.progress import track
from runs import MUMIC, Study, console, mean_and_spread

from app.baselines.comparison import METRICS, compare, metrics_of, percent
from app.core.images import ImageLimits, decode
from app.evaluation.report import table_to_markdown

QUALITY = 95  # of the JPEG files of the crops
MIN_SIDE_PX = 65_535  # full size


def write_centre_crops(study: Study, out: Path) -> Path:
    """Write the centre square of every photo, which is what CLIP's preprocessing keeps of it.

    Squashing a square photo does not distort it. Existing crops are kept.
    """
    data = study.data()
    for file in track(data.files, "centre crops", console=console):
        path = out / file
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = decode(
            (data.photos / file).read_bytes(), ImageLimits(), min_side_px=MIN_SIDE_PX
        ).pixels
        photo = Image.fromarray(pixels)
        side = min(photo.size)
        square = ImageOps.fit(photo, (side, side))
        square.save(path, "JPEG", quality=QUALITY, subsampling=0)
    return out


def lines(study: Study) -> Iterator[str]:
    """Yield a table of the total metrics and a table of classes."""
    crops = write_centre_crops(study, study.work / "centre-crops")
    cropped = replace(study, photos=crops, work=study.work / "cropped")
    measures = {}
    for title, each in (("squash", study), ("centre crop", cropped)):
        runs = {str(seed): each.train(MUMIC, seed=seed) for seed in each.seeds}
        measures[title] = list(compare(each.score(runs)).measures.values())
    rows = []
    for title, runs_measured in measures.items():
        totals = [metrics_of(measured.subsets[0]) for measured in runs_measured]
        values = (mean_and_spread([run[metric].value for run in totals]) for metric in METRICS)
        rows.append([title, *values])
    yield table_to_markdown([["preprocessing", *METRICS], *rows]) + "\n"
    yield "\nAverage precision of each class with positives, mean of the seeds, %:\n\n"
    rows = []
    classes = list(enumerate(measures["squash"][0].classes))
    for c, first in sorted(classes, key=lambda each: -each[1].positives):
        if first.positives:
            squash, crop = (
                fmean(measured.classes[c].average_precision.value for measured in runs_measured)
                for runs_measured in measures.values()
            )
            cells = map(percent, (squash, crop, squash - crop))
            rows.append([first.key, str(first.positives), *cells])
    head = ["class", "positives", "squash", "centre crop", "difference"]
    yield table_to_markdown([head, *rows]) + "\n"
