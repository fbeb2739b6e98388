"""Checks that a dataset has the labels that training and validation need."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from app.dataset.labelled.labelled_photos import LabelledPhotos
from app.dataset.labelled.listing import MAX_LISTED, listed
from app.dataset.labelled.soft_targets import UNKNOWN_TARGET
from app.dataset.manifest import UNLISTED_ADVICE, Split
from app.errors import DataError


def check_trainable(
    data: LabelledPhotos, manifest: Path, *, needs_train_negatives: bool = True
) -> None:
    """Check that training and validation have positives and negatives to learn and measure.

    A class without any known target is allowed: the model scores its text without photos.

    Args:
        data: the photos of the manifest.
        manifest: the manifest's path, for the message.
        needs_train_negatives: whether the train split needs a known negative; not if the loss
            counts unknown pairs.

    Raises:
        DataError: the validation split has no photo, no known positive or no known negative; no
            class has a negative in the training split; or a class has negatives there but
            neither a human nor a teacher positive.
    """
    columns = list(data.classes.values())
    validation = data.targets[data.indices("validation")][:, columns]
    if not len(validation):
        raise DataError(
            f"{manifest}: column part: no photo is in the split validation; "
            "mumic data split assigns the splits"
        )
    if not (validation == 1).any():
        raise DataError(
            f"{manifest}: column positive: no photo of the split validation has a name; validation "
            "needs at least one positive"
        )
    train = data.indices("train")
    targets, soft_targets = data.targets[train], data.soft_targets[train]
    has_negatives = (targets[:, columns] == 0).any() or _soft_negatives(data).any()
    if needs_train_negatives and not has_negatives:
        raise DataError(
            f"{manifest}: no label has a known negative in the split train: a model that answers "
            f"yes to everything would be right. {UNLISTED_ADVICE}"
        )
    if not (validation == 0).any():
        raise DataError(
            f"{manifest}: no label has a known negative in the split validation, so no epoch can "
            f"be measured. {UNLISTED_ADVICE}"
        )
    only_negative = [
        name
        for name, column in data.classes.items()
        if (targets[:, column] == 0).any()
        and not (targets[:, column] == 1).any()
        and not (soft_targets[:, column] > 0).any()
    ]
    if only_negative:
        few = len(only_negative) <= MAX_LISTED
        options = " ".join(f"--leave-out {name}" for name in (only_negative if few else ["NAME"]))
        each = "" if few else " for each"
        raise DataError(
            f"{manifest}: column positive: the split train has only negative photos for "
            f"{listed(only_negative)}; add positive photos, use a label set of your own, or train "
            f"without those labels: {options}{each}"
        )


def mask_without_negatives(data: LabelledPhotos) -> LabelledPhotos:
    """Make the targets unknown of each text that has positives but no negative to learn from.

    From positives alone the model would learn to answer yes to any photo. Validation and test
    targets stay. A warning names the classes and the number of other texts, which are those of
    implied labels.

    Args:
        data: the photos of the manifest.
    """
    train = data.indices("train")
    positives = (data.targets[train] == 1).any(dim=0)
    negatives = (data.targets[train] == 0).any(dim=0)
    masked = positives & ~negatives & ~_soft_negatives(data)
    if not masked.any():
        return data
    targets = data.targets.clone()
    targets[train[:, None], masked.nonzero().flatten()] = UNKNOWN_TARGET
    texts = [text for text, is_masked in zip(data.texts, masked.tolist(), strict=True) if is_masked]
    return replace(
        data,
        targets=targets,
        warnings=(
            *data.warnings,
            f"column negative: no known negative in the split train, so {len(texts)} of "
            f"{len(data.texts)} texts are not trained: {listed(texts)}",
        ),
    )


def unmeasured_warnings(data: LabelledPhotos) -> Iterable[str]:
    """Yield a warning for each split to measure on in which classes cannot be measured.

    Args:
        data: the photos of the manifest.
    """
    measured: tuple[Split, ...] = ("validation", "test")
    for split in measured:
        indices = data.indices(split)
        targets = {name: data.targets[indices, column] for name, column in data.classes.items()}
        known = {name: each for name, each in targets.items() if (each >= 0).any()}
        lacking = [
            name for name, each in known.items() if not ((each == 1).any() and (each == 0).any())
        ]
        if lacking:
            yield (
                f"no average precision in the split {split} without both a positive and a negative "
                f"photo ({len(lacking)} of {len(known)} labels): {listed(sorted(lacking))}"
            )


def _soft_negatives(data: LabelledPhotos) -> torch.Tensor:
    """Return (L,) whether a teacher doubts a text on a training photo."""
    soft = data.soft_targets[data.indices("train")]
    return ((soft >= 0) & (soft < 0.5)).any(dim=0)
