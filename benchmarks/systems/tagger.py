"""The model and labels of a checkpoint, loaded through open_clip, for the other systems."""

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

PhotoResult = dict[str, Any]
MAX_BATCH_SIZE = 4  # images per model call; more are slower on a CPU, see litserve_app.py


class Tagger:
    """Tags photos with open_clip alone, in float32 on the CPU.

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
        label_set = load_label_set(checkpoint / "labels.yaml")
        self._labels = label_set.labels
        calibration = label_set.calibration_of(label_set.prompts)
        self._calibration = [torch.from_numpy(each) for each in calibration]
        self._thresholds = torch.from_numpy(label_set.serve_thresholds)

    def decode(self, data: bytes) -> Tensor:
        """Decode a photo with Pillow and open_clip's evaluation transform.

        Args:
            data: an image file.

        Returns:
            (3, S, S) float32, normalised.
        """
        pixels: Tensor = self._transform(Image.open(io.BytesIO(data)))
        return pixels

    @torch.inference_mode()
    def tag(self, photos: Tensor) -> list[PhotoResult]:
        """Return the labels at or above their thresholds, best first, for each photo.

        Args:
            photos: (B, 3, S, S) float32, normalised.
        """
        rows = []
        for batch in torch.split(photos, MAX_BATCH_SIZE):
            embeddings = self._model.encode_image(batch, normalize=True)
            scale, offset = self._calibration
            logits = embeddings @ self._text_embeddings * self._scale
            rows.append(torch.sigmoid(logits * scale + offset))
        return [self._result(row) for row in torch.cat(rows)]

    def _result(self, probabilities: Tensor) -> PhotoResult:
        labels = [
            {"id": label.id, "name": label.name, "confidence": confidence}
            for label, confidence, threshold in zip(
                self._labels, probabilities.tolist(), self._thresholds.tolist(), strict=True
            )
            if confidence >= threshold
        ]
        return {"labels": sorted(labels, key=lambda label: -label["confidence"])}


def uploads(form: FormData) -> list[UploadFile]:
    """Return the uploaded photos of a request, in its order."""
    return [value for value in form.getlist("images") if isinstance(value, UploadFile)]


def arguments(description: str | None) -> argparse.Namespace:
    """Parse the command line of a system: a checkpoint, and a port on the loopback address."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()
