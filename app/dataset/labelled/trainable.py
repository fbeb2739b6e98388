"""Checks that a dataset has the labels that training and validation need."""

from pathlib import Path

from app.dataset.labelled.labelled_photos import LabelledPhotos
from app.errors import DataError


def check_trainable(data: LabelledPhotos, manifest: Path) -> None:
    """Check that validation has a positive and that no class has only negatives in training.

    A class without any known target is allowed: the model scores its text without photos.

    Args:
        data: the photos of the manifest.
        manifest: the manifest's path, for the message.

    Raises:
        DataError: the validation split has no photo or no known positive, or a class has
            negatives but neither a human nor a teacher positive in the training split.
    """
    columns = list(data.classes.values())
    validation = data.indices("validation")
    if not len(validation):
        raise DataError(
            f"{manifest}: column part: no photo is in the split validation; "
            "mumic data split assigns the splits"
        )
    if not (data.targets[validation][:, columns] == 1).any():
        raise DataError(
            f"{manifest}: column positive: no photo of the split validation has a name; validation "
            "needs at least one positive"
        )
    train = data.indices("train")
    targets, soft_targets = data.targets[train], data.soft_targets[train]
    only_negative = [
        name
        for name, column in data.classes.items()
        if (targets[:, column] == 0).any()
        and not (targets[:, column] == 1).any()
        and not (soft_targets[:, column] > 0).any()
    ]
    if only_negative:
        options = " ".join(f"--leave-out {name}" for name in only_negative)
        raise DataError(
            f"{manifest}: column positive: the split train has only negative photos for "
            f"{', '.join(only_negative)}; add positive photos, or train without those labels: "
            f"{options}"
        )
