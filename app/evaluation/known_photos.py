"""Runs `mumic labels known-photos`: writes a checkpoint with embeddings of labelled photos."""

import torch
from rich.console import Console
from rich.progress import Progress

from app.core.checkpoint import (
    CARD_FILE,
    MAX_KNOWN_PHOTOS,
    KnownPhotos,
    write_known_photos,
)
from app.core.classifier import Classifier
from app.core.files import refuse_foreign
from app.dataset.photos import pixel_batches
from app.errors import OptionError
from app.evaluation.predictions import load_requested_photos
from app.evaluation.requests import KnownPhotosRequest


def run_known_photos(request: KnownPhotosRequest, console: Console) -> None:
    """Embed photos of a split, and write the checkpoint with them and their targets.

    If the split has more photos than wanted, they are drawn at random, the same at each call.

    Args:
        request: the checkpoint and the photos.
        console: receives progress and notes.

    Raises:
        OptionError: the number of photos is out of range.
        DataError: the photos cannot be read.
        CheckpointError: the checkpoint is damaged, or another directory is at the output.
    """
    if not 1 <= request.count <= MAX_KNOWN_PHOTOS:
        raise OptionError("count", f"must be from 1 to {MAX_KNOWN_PHOTOS}, got {request.count}")
    classifier = Classifier.load(request.checkpoint, device=request.device, precision="fp32")
    refuse_foreign(request.out, CARD_FILE)
    labels, split = classifier.labels, request.split
    data = load_requested_photos(request, labels, split=split)
    indices = data.indices(split)
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))
    indices = indices[order[: request.count].sort().values]
    with Progress(console=console) as progress:
        embeddings = torch.cat(
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
    targets = data.targets[indices][:, data.columns_of(labels.prompts)].to(torch.int8)
    known = KnownPhotos(embeddings, dict(zip(labels.ids, targets.T, strict=True)))
    metrics = {"part": split, "photos": len(indices)}
    write_known_photos(classifier.checkpoint, known, request.out, metrics)
    console.print(
        f"wrote {request.out} with {len(indices)} known photos; serve it with: mumic serve "
        f"--checkpoint {request.out}",
        markup=False,
    )
