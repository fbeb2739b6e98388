"""Predictions of a checkpoint for the photos of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from app.core.checkpoint import Checkpoint, check_golden, load_model, with_class_embeddings
from app.core.model import calibrated_logits, cosines, logits
from app.errors import OptionError
from app.evaluation.predictions.embedding import embed_photos, embed_texts


@dataclass(frozen=True, slots=True)
class Predictions:
    """Embeddings and scores of n photos.

    Attributes:
        checkpoint: the checkpoint that predicted them.
        image_embeddings: (n, D) float32 unit rows.
        logits: (n, C) float32 of the measured classes; a class whose text is the prompt of a label
            has the calibration of that label.
        label_logits: (n, L) float32 of the checkpoint's own labels, calibrated.
    """

    checkpoint: Checkpoint
    image_embeddings: NDArray[np.float32]
    logits: NDArray[np.float32]
    label_logits: NDArray[np.float32]


def checkpoints_by_title(checkpoints: Sequence[Checkpoint]) -> dict[str, Checkpoint]:
    """Return title to checkpoint: name and version, with the folder if these are equal.

    Raises:
        OptionError: a checkpoint is compared with itself.
    """
    found = {f"{each.card.name} {each.card.version}": each for each in checkpoints}
    if len(found) < len(checkpoints):
        found = {
            f"{each.card.name} {each.card.version} ({each.directory})": each for each in checkpoints
        }
    if len(found) < len(checkpoints):
        raise OptionError("compare-with", "is the checkpoint itself; give another one")
    return found


@torch.no_grad()
def predict_photos(
    checkpoint: Checkpoint,
    paths: Sequence[Path],
    texts: Sequence[str],
    *,
    device: torch.device,
    workers: int = 0,
    progress: Progress | None = None,
) -> Predictions:
    """Score photos in float32 by the same code path as serving (equation 2).

    Args:
        checkpoint: the checkpoint.
        paths: n photos, at least one.
        texts: C texts of the classes to measure.
        device: the device to run on.
        workers: processes that load photos.
        progress: shows the time left.

    Returns:
        Embeddings and logits, on the CPU.

    Raises:
        CheckpointError: the model does not reproduce its golden embeddings.
        DataError: a photo cannot be used; the message names it.
        TextError: a text is longer than the checkpoint's tokenizer allows.
    """
    model = load_model(checkpoint)
    check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
    model.to(device)
    every_text = [*texts, *checkpoint.labels.prompts]
    text_embeddings = with_class_embeddings(
        checkpoint, every_text, embed_texts(model, model.tokenize(every_text).to(device))
    )
    images = embed_photos(model, checkpoint.preprocess, paths, workers=workers, progress=progress)
    raw = logits(cosines(images, text_embeddings), model.logit_scale).cpu()
    calibrations = map(torch.from_numpy, checkpoint.labels.calibration_of(every_text))
    scores = calibrated_logits(raw, *calibrations).numpy()
    return Predictions(
        checkpoint,
        images.cpu().numpy(),
        logits=scores[:, : len(texts)],
        label_logits=scores[:, len(texts) :],
    )
