"""Targets of a training run: human labels, labels that a source excludes, and the teacher's."""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from prepare import FLOOR, ROOMS, add_assumed_negatives, soft_targets
from torch import Tensor, nn
from vocabulary import imagenet_names

from app.core.labels import LabelSet
from app.core.model import MumicModel
from app.dataset.labelled import UNKNOWN_TARGET, LabelledPhotos
from app.dataset.labelled.targets import TextColumns
from app.errors import DataError
from app.evaluation.predictions import embed_texts


@dataclass(frozen=True, slots=True)
class Evidence:
    """The targets of N photos and 1000 ImageNet classes for L texts.

    Attributes:
        human: (N, L) presence by humans: 1, 0 or -1 where unknown.
        absent: (N, L) whether the photo's source excludes the text.
        of_class: (1000, L) whether a class implies a text.
        covered: (L,) whether any class implies the text.
        labels: (L,) whether the text is a label's prompt.
        texts: (L, D) text embeddings, unit rows.
        positive_weights: (L,) weights of positives in the loss.
    """

    human: Tensor
    absent: Tensor
    of_class: Tensor
    covered: Tensor
    labels: Tensor
    texts: Tensor
    positive_weights: Tensor

    def soft(self, logits: Tensor) -> Tensor:
        """Return the (B, L) soft targets for the teacher's logits (B, 1000); -1 where unknown."""
        probabilities = logits.softmax(-1)
        probabilities = torch.where(probabilities < FLOOR, 0.0, probabilities)
        present = (probabilities @ self.of_class).clamp(max=1.0)
        return torch.where(self.covered, present, UNKNOWN_TARGET)

    def soft_of_photos(self, logits: Tensor, photos: Tensor) -> Tensor:
        """Return the soft targets of photos; -1 for pairs with a human label."""
        soft = torch.where(self.absent[photos], 0.0, self.soft(logits))
        return torch.where(self.human[photos] >= 0, UNKNOWN_TARGET, soft)


def gather_evidence(
    data: LabelledPhotos,
    model: MumicModel,
    labels: LabelSet,
    photos: Path,
    classes: Path,
    leave_out: Collection[str],
) -> Evidence:
    """Collect the targets of a run, for the texts of the data and of the teacher.

    Raises:
        DataError: `photos.csv` has no row for a photo of the manifest.
    """
    imagenet = imagenet_names(classes)
    texts, implied = soft_targets(torch.eye(len(imagenet)), imagenet, labels)
    with (photos / "photos.csv").open(encoding="utf-8", newline="") as lines:
        row_of = {row["file"]: row for row in csv.DictReader(lines)}
    if missing := [file for file in data.files if file not in row_of]:
        raise DataError(
            f"{photos / 'photos.csv'}: no row for {missing[0]}, which the manifest names"
            f"{f', nor for {len(missing) - 1} more' if len(missing) > 1 else ''}"
        )
    rows = [row_of[file] for file in data.files]
    rooms = [name for name in ROOMS if name not in leave_out]
    nothing = torch.full((len(rows), 0), UNKNOWN_TARGET)
    excluded, presence = add_assumed_negatives([], nothing, rows, rooms, labels)
    columns = TextColumns([*data.texts, *texts, *excluded])
    own, size = [columns.add(text) for text in texts], len(columns.texts)

    of_class = torch.zeros(len(imagenet), size)
    of_class[:, own] = implied
    covered = torch.zeros(size, dtype=torch.bool)
    covered[own] = True
    is_label = torch.zeros(size, dtype=torch.bool)
    is_label[[columns.add(prompt) for prompt in labels.prompts]] = True
    absent = torch.zeros(len(rows), size, dtype=torch.bool)
    absent[:, [columns.add(text) for text in excluded]] = presence == 0
    more = (0, size - len(data.texts))
    return Evidence(
        human=nn.functional.pad(data.targets, more, value=UNKNOWN_TARGET),
        absent=absent,
        of_class=of_class,
        covered=covered,
        labels=is_label,
        texts=embed_texts(model, model.tokenize(columns.texts)),
        positive_weights=nn.functional.pad(data.positive_weights, more, value=1.0),
    )
