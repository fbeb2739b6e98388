"""What the other systems serve: a checkpoint's model as open_clip loads it, and its labels."""

import argparse
import io
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file
from starlette.datastructures import FormData, UploadFile
from torch import Tensor

from app.core.labels import load_label_set

Answer = dict[str, Any]
MAX_BATCH_SIZE = 4  # images in one model call: more make a CPU slower, see litserve_app.py


class Tagger:
    """Photos to labels by open_clip alone, in float32 on the CPU.

    Args:
        checkpoint: checkpoint directory.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._model, self._transform = open_clip.create_model_from_pretrained(
            f"local-dir:{checkpoint}"
        )
        self._model.eval()
        embeddings = load_file(checkpoint / "label_embeddings.safetensors")["text_embeddings"]
        self._text_embeddings = embeddings.T.contiguous()
        self._scale = self._model.logit_scale.exp().item()
        self._labels = load_label_set(checkpoint / "labels.yaml").labels
        self._thresholds = torch.tensor([label.thresholds.serve for label in self._labels])

    def decode(self, data: bytes) -> Tensor:
        """A photo through Pillow and open_clip's evaluation transform.

        Args:
            data: an image file.

        Returns:
            (3, S, S) float32, normalised.
        """
        pixels: Tensor = self._transform(Image.open(io.BytesIO(data)))
        return pixels

    @torch.inference_mode()
    def tag(self, photos: Tensor) -> list[Answer]:
        """The labels at or above their thresholds, best first, for each photo.

        Args:
            photos: (B, 3, S, S) float32, normalised.
        """
        rows = []
        for batch in torch.split(photos, MAX_BATCH_SIZE):
            embeddings = self._model.encode_image(batch, normalize=True)
            rows.append(torch.sigmoid(embeddings @ self._text_embeddings * self._scale))
        return [self._answer(row) for row in torch.cat(rows)]

    def _answer(self, probabilities: Tensor) -> Answer:
        named = [
            {"id": label.id, "name": label.name, "confidence": confidence}
            for label, confidence, threshold in zip(
                self._labels, probabilities.tolist(), self._thresholds.tolist(), strict=True
            )
            if confidence >= threshold
        ]
        return {"labels": sorted(named, key=lambda label: -label["confidence"])}


def uploads(form: FormData) -> list[UploadFile]:
    """The photos of a request, in its order."""
    return [part for part in form.getlist("images") if isinstance(part, UploadFile)]


def arguments(description: str | None) -> argparse.Namespace:
    """The command line that all of these systems have: a checkpoint and a port of this machine."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()
