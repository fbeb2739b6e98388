"""`mumic predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings


def predict_command(
    photos: Annotated[list[Path], typer.Argument(help="photo files")],
    as_json: Annotated[bool, typer.Option("--json", help="the answer of POST /predict")] = False,
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Tag photo files with the checkpoint's labels, without a server."""
    from app.core.images import ImageLimits
    from app.main import load_classifier
    from app.serving.schemas import PredictResponse, failed_result, model_info, predict_result
    from app.tagger import Tagger

    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    tagger = Tagger(load_classifier(settings), limits=limits, batch_size=settings.max_batch_size)
    tagged = tagger.tag(photos)
    if as_json:
        results = [
            failed_result(photo.id, photo.error)
            if photo.error
            else predict_result(photo.id, photo.width, photo.height, photo.tags)
            for photo in tagged
        ]
        response = PredictResponse(model=model_info(tagger.classifier), results=results)
        sys.stdout.write(response.model_dump_json(indent=2) + "\n")
    else:
        for photo in tagged:
            tags = ", ".join(f"{tag.label.name} {tag.confidence:.2f}" for tag in photo.tags)
            text = f"error: {photo.error.message}" if photo.error else tags
            sys.stdout.write(f"{photo.id}\t{text or 'no label reaches its threshold'}\n")
    if any(photo.error for photo in tagged):
        raise typer.Exit(1)
