"""What a run is told: human labels, what photos rule out, and the ImageNet teacher."""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from prepare import FLOOR, ROOMS, add_sure_negatives, soft_targets
from safetensors.torch import load_file
from torch import Tensor, nn
from vocabulary import imagenet_names

from app.core.labels import LabelSet
from app.core.model import MumicModel
from app.core.preprocess import Preprocess
from app.dataset.labelled import LabelledPhotos
from app.dataset.soft_targets import UNKNOWN
from app.dataset.targets import Columns
from app.errors import DataError
from app.evaluation.embedding import embed_texts


class Teacher(nn.Module):
    """The ImageNet network as it was trained: logits of its 1000 classes.

    Args:
        pretrained: folder of the tower's weights.
        preprocess: mean and deviation of the channels, the student's as well.
    """

    mean: Tensor
    std: Tensor
    net: Any  # timm's classes carry no types

    def __init__(self, pretrained: Path, preprocess: Preprocess) -> None:
        super().__init__()
        self.net = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
        tower = load_file(pretrained / "mobilenetv2_100_imagenet1k.safetensors")
        self.net.load_state_dict({k: v.float() for k, v in tower.items()})
        self.eval().requires_grad_(False)
        self.net.to(memory_format=torch.channels_last)
        for name in ("mean", "std"):
            value = torch.tensor(getattr(preprocess, name))[:, None, None]
            self.register_buffer(name, value, persistent=False)

    def normalized(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] as the towers take them."""
        values = (images - self.mean) / self.std
        return values.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 1000) logits of images (B, 3, S, S) in [0, 1]."""
        logits: Tensor = self.net(self.normalized(images))[:, 1:]
        return logits

    def classify(self, features: Tensor) -> Tensor:
        """(B, 1000) logits of pooled features (B, 1280)."""
        logits: Tensor = self.net.classifier(features)[:, 1:]
        return logits


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known, on the device: N photos, L texts, 1000 classes.

    Attributes:
        human: (N, L) 1, 0 or -1.
        absent: (N, L) whether the photo's source rules the text out.
        of_class: (1000, L) whether a class means a text.
        spoken: (L,) whether any class does.
        texts: (L, D) unit rows.
        positive_weights: (L,).
    """

    human: Tensor
    absent: Tensor
    of_class: Tensor
    spoken: Tensor
    texts: Tensor
    positive_weights: Tensor

    def soft(self, logits: Tensor) -> Tensor:
        """(B, L) soft targets that the teacher's logits (B, 1000) mean, -1 where it is silent."""
        probabilities = logits.softmax(-1)
        probabilities = torch.where(probabilities < FLOOR, 0.0, probabilities)
        present = (probabilities @ self.of_class).clamp(max=1.0)
        return torch.where(self.spoken, present, UNKNOWN)

    def soft_of_photos(self, logits: Tensor, photos: Tensor) -> Tensor:
        """The same for photos, on the pairs that no human annotated."""
        soft = torch.where(self.absent[photos], 0.0, self.soft(logits))
        return torch.where(self.human[photos] >= 0, UNKNOWN, soft)


def gather_evidence(
    data: LabelledPhotos,
    model: MumicModel,
    labels: LabelSet,
    photos: Path,
    pretrained: Path,
    leave_out: Collection[str],
    device: torch.device,
) -> Evidence:
    """Everything that a run is told; the texts are those of the data and of the teacher."""
    imagenet = imagenet_names(pretrained / "imagenet_classes.txt")
    texts, meaning = soft_targets(torch.eye(len(imagenet)), imagenet, labels)
    with (photos / "photos.csv").open(encoding="utf-8", newline="") as lines:
        row_of = {row["file"]: row for row in csv.DictReader(lines)}
    if missing := [file for file in data.files if file not in row_of]:
        raise DataError(
            f"{photos / 'photos.csv'}: no row for {missing[0]}, which the manifest names"
            f"{f', nor for {len(missing) - 1} more' if len(missing) > 1 else ''}"
        )
    rows = [row_of[file] for file in data.files]
    rooms = [name for name in ROOMS if name not in leave_out]
    nothing = torch.full((len(rows), 0), UNKNOWN)
    ruled, ruled_out = add_sure_negatives([], nothing, rows, rooms, labels)
    columns = Columns([*data.texts, *texts, *ruled])
    own, size = [columns.add(text) for text in texts], len(columns.texts)

    of_class = torch.zeros(len(imagenet), size)
    of_class[:, own] = meaning
    spoken = torch.zeros(size, dtype=torch.bool)
    spoken[own] = True
    absent = torch.zeros(len(rows), size, dtype=torch.bool)
    absent[:, [columns.add(text) for text in ruled]] = ruled_out == 0
    more = (0, size - len(data.texts))
    return Evidence(
        human=nn.functional.pad(data.targets, more, value=UNKNOWN).to(device),
        absent=absent.to(device),
        of_class=of_class.to(device),
        spoken=spoken.to(device),
        texts=embed_texts(model, model.tokenize(columns.texts)).to(device),
        positive_weights=nn.functional.pad(data.positive_weights, more, value=1.0).to(device),
    )
