"""Tag photo files with no server: what `mumic predict` does."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from app.core.classifier import Classifier
from app.core.images import ImageLimits, Pixels, load_pixels, stack
from app.core.labels import make_selection
from app.errors import ImageError, OptionError
from app.serving.schemas import (
    FailedResult,
    PredictResponse,
    PredictResult,
    failed_result,
    model_info,
    predict_result,
)
from app.settings import Settings


def predict_files(
    photos: Sequence[Path], classifier: Classifier, settings: Settings
) -> PredictResponse:
    """Tag photos at each label's own threshold.

    Args:
        photos: image files; a result's id is the path as given.
        classifier: the loaded checkpoint.
        settings: limits and batch size.

    Returns:
        What POST /predict answers; a bad photo has its error in its place.

    Raises:
        OptionError: a path is not a file.
    """
    missing = [str(photo) for photo in photos if not photo.is_file()]
    if missing:
        raise OptionError("photos", f"no such file: {', '.join(missing)}")
    results: list[PredictResult | FailedResult] = []
    size = settings.max_batch_size or classifier.batch_size
    for start in range(0, len(photos), size):
        results += _predict_batch(photos[start : start + size], classifier, settings)
    return PredictResponse(model=model_info(classifier), results=results)


def as_lines(answer: PredictResponse) -> Iterator[str]:
    """One line a photo, tab-separated: path, then its labels with their confidence."""
    for result in answer.results:
        if isinstance(result, FailedResult):
            yield f"{result.id}\terror: {result.error.message}\n"
        else:
            tags = ", ".join(f"{label.name} {label.confidence:.2f}" for label in result.labels)
            yield f"{result.id}\t{tags or 'no label reaches its threshold'}\n"


def _predict_batch(
    photos: Sequence[Path], classifier: Classifier, settings: Settings
) -> list[PredictResult | FailedResult]:
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    outcomes: list[Pixels | ImageError] = []
    for photo in photos:
        try:
            outcomes.append(load_pixels(photo.read_bytes(), limits, classifier.preprocess))
        except ImageError as error:
            outcomes.append(error)
    pixels = [outcome.values for outcome in outcomes if isinstance(outcome, Pixels)]
    batch = stack(pixels) if pixels else torch.empty(0)
    rows = iter(classifier.probabilities(classifier.embed_images(batch)) if pixels else batch)
    selection = make_selection(classifier.labels)
    return [
        failed_result(str(photo), outcome)
        if isinstance(outcome, ImageError)
        else predict_result(str(photo), outcome.width, outcome.height, selection(next(rows)))
        for photo, outcome in zip(photos, outcomes, strict=True)
    ]
