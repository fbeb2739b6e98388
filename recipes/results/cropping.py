"""The whole photo squashed to the model's square, against its centre crop (section 2.3)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from PIL import Image, ImageOps
from rich.progress import track
from runs import Study, console, mean_and_spread

from app.baselines.compare import compare
from app.baselines.tables import percent, table

QUALITY = 95  # of the JPEG files that the crops are


def write_centre_crops(study: Study, out: Path) -> Path:
    """Write every photo's centre square: what CLIP's own preprocessing leaves of it.

    A square photo is not distorted by the squash that follows. A crop that is there is kept.
    """
    data = study.data()
    for file in track(data.files, "centre crops", console=console):
        path = out / file
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(data.photos / file) as opened:
            photo = ImageOps.exif_transpose(opened).convert("RGB")
        side = min(photo.size)
        square = ImageOps.fit(photo, (side, side))
        square.save(path, "JPEG", quality=QUALITY, subsampling=0)
    return out


def lines(study: Study) -> Iterator[str]:
    """Totals of both, then the classes on which they differ most."""
    crops = write_centre_crops(study, study.work / "centre-crops")
    cropped = replace(study, photos=crops, work=study.work / "cropped")
    comparisons = {}
    for title, each in (("squash", study), ("centre crop", cropped)):
        runs = {str(seed): each.train("mumic", seed=seed) for seed in each.seeds}
        comparisons[title] = compare(each.score(runs))
    totals = {
        title: next(iter(comparison.totals.values())) for title, comparison in comparisons.items()
    }
    metrics = list(next(iter(totals["squash"].values())))
    yield from table(
        ["preprocessing", *metrics],
        [
            [
                title,
                *(
                    mean_and_spread([run[metric].value for run in runs.values()])
                    for metric in metrics
                ),
            ]
            for title, runs in totals.items()
        ],
    )
    yield "\nAverage precision of each class, mean of the seeds, %:\n\n"
    ap = {
        title: [
            fmean(values)
            for values in zip(
                *([each.value for each in run] for run in comparison.average_precisions.values()),
                strict=True,
            )
        ]
        for title, comparison in comparisons.items()
    }
    first = comparisons["squash"]
    yield from table(
        ["class", "positives", *ap, "difference"],
        [
            [name, str(positives), percent(squash), percent(crop), percent(squash - crop)]
            for name, positives, squash, crop in zip(
                first.classes, first.positives, ap["squash"], ap["centre crop"], strict=True
            )
            if positives
        ],
    )
