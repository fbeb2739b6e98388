"""Runs `mumic calibrate zero-shot`: fits the calibration and writes a checkpoint directory."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from app.core.checkpoint import CARD_FILE, write_zero_shot_calibration
from app.core.classifier import Classifier
from app.core.files import refuse_foreign
from app.core.labels import render
from app.core.model import moments
from app.dataset.photos import pixel_batches
from app.errors import DataError, OptionError
from app.evaluation.predictions import load_requested_photos
from app.evaluation.requests import CalibrateZeroShotRequest
from app.evaluation.zero_shot.fitting import (
    ZeroShotMeasure,
    fit_zero_shot,
    fittable_texts,
    left_out_logits,
    log_odds,
    measure_zero_shot,
)

BACKGROUND_TEXTS = Path(__file__).parent / "background_texts.txt"
PRIORS = (0.5, 0.3, 0.2, 0.1, 0.05)  # of the table
MIN_TEXTS = 2  # one to fit, one to check
MIN_BACKGROUND_TEXTS = 2  # for a covariance


def run_zero_shot_calibration(request: CalibrateZeroShotRequest, console: Console) -> str:
    """Fit the calibration of zero-shot scores and write the checkpoint.

    Args:
        request: the checkpoint, the photos to fit on, and the prior.
        console: receives progress and notes.

    Returns:
        Recall and specificity by `sigmoid` and by `calibrated` with several priors, as text.

    Raises:
        OptionError: an option is out of range.
        DataError: the photos cannot be read, or too few texts have known photos.
        CheckpointError: the checkpoint is damaged, or another directory is at the output.
    """
    if not 0 < request.prior < 1:
        raise OptionError("prior", f"must be above 0 and below 1, got {request.prior}")
    classifier = Classifier.load(request.checkpoint, device=request.device, precision="fp32")
    refuse_foreign(request.out, CARD_FILE)
    labels, split = classifier.labels, request.split
    background_texts = _read_texts(request.background or BACKGROUND_TEXTS)
    data = load_requested_photos(request, labels, split=split)
    indices = data.indices(split)
    columns = fittable_texts(data.targets[indices], request.min_positives).tolist()
    if len(columns) < MIN_TEXTS:
        raise DataError(
            f"{request.manifest}: {len(columns)} texts have at least {request.min_positives} "
            f"photos in the split {split} that they are known to fit, and as many that they do "
            f"not; at least {MIN_TEXTS} are needed. Add photos, or lower --min-positives"
        )
    targets = data.targets[indices][:, columns]
    prompts = [render(labels.template, text) for text in background_texts]
    background = moments(classifier.embed_texts(prompts))
    texts = classifier.embed_texts([data.texts[column] for column in columns])
    with Progress(console=console) as progress:
        images = torch.cat(
            [
                classifier.embed_images(pixels)
                for pixels in pixel_batches(
                    [data.photos / data.files[i] for i in indices],
                    classifier.preprocess,
                    workers=request.workers,
                    progress=progress,
                )
            ]
        )
    left_out = left_out_logits(images, texts, targets, background, prior=request.prior)
    sigmoid = classifier.zero_shot(images, texts, "sigmoid")
    measures = {"sigmoid": measure_zero_shot(sigmoid, targets)}
    for prior in sorted({*PRIORS, request.prior}, reverse=True):
        shifted = left_out + log_odds(prior) - log_odds(request.prior)
        measures[f"calibrated, prior {prior:g}"] = measure_zero_shot(shifted, targets)
    chosen = f"calibrated, prior {request.prior:g}"
    write_zero_shot_calibration(
        classifier.checkpoint,
        fit_zero_shot(images, texts, targets, background, prior=request.prior),
        request.out,
        {
            "part": split,
            "photos": len(indices),
            "texts": len(columns),
            "prior": request.prior,
            "recall": round(measures[chosen].recall, 4),
            "specificity": round(measures[chosen].specificity, 4),
        },
    )
    console.print(
        f"wrote {request.out}; serve it with: mumic serve --checkpoint {request.out}", markup=False
    )
    title = f"{len(columns)} texts, {len(indices)} photos; each text by a calibration without it"
    return "".join(f"{line}\n" for line in (title, *_table(measures, chosen)))


def _read_texts(path: Path) -> list[str]:
    """Return the texts of a file, one per line.

    Raises:
        OptionError: the file cannot be read, is not UTF-8 or has too few texts.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise OptionError("background", f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError("background", f"{path} is not UTF-8: {error}") from error
    texts = [line.strip() for line in lines if line.strip()]
    if len(texts) < MIN_BACKGROUND_TEXTS:
        raise OptionError(
            "background",
            f"{path} has {len(texts)} texts; at least {MIN_BACKGROUND_TEXTS} are needed, better "
            "some hundred, one per line",
        )
    return texts


def _table(measures: Mapping[str, ZeroShotMeasure], chosen: str) -> Iterator[str]:
    yield f"{'at a confidence of 0.5':28}{'recall':>8}{'specificity':>13}"
    for name, measure in measures.items():
        mark = "  written" if name == chosen else ""
        yield f"{name:28}{measure.recall:8.3f}{measure.specificity:13.3f}{mark}"
