"""What a manifest must have before a model is trained on it."""

from pathlib import Path

from app.dataset.labelled.labelled_photos import LabelledPhotos
from app.errors import DataError


def refuse_untrainable(data: LabelledPhotos, manifest: Path) -> None:
    """Refuse classes that training could only learn to deny, and a split that cannot judge it.

    A class of which nothing at all is known stays allowed: its text is understood without photos.

    Args:
        data: the manifest's photos.
        manifest: where they are from, for the message.

    Raises:
        DataError: no photo is in the part validation, or none there has a known positive; or a
            class is absent from some photos of the part train and, by humans and teacher, present
            in none.
    """
    columns = list(data.classes.values())
    validation = data.indices("validation")
    if not len(validation):
        raise DataError(
            f"{manifest}: column part: no photo is in the part validation; "
            "mumic data split makes the three parts"
        )
    if not (data.targets[validation][:, columns] == 1).any():
        raise DataError(
            f"{manifest}: column positive: no photo of the part validation has a name; without "
            "one nothing says how good a run is"
        )
    train = data.indices("train")
    targets, soft_targets = data.targets[train], data.soft_targets[train]
    denied = [
        name
        for name, column in data.classes.items()
        if (targets[:, column] == 0).any()
        and not (targets[:, column] == 1).any()
        and not (soft_targets[:, column] > 0).any()
    ]
    if denied:
        options = " ".join(f"--leave-out {name}" for name in denied)
        raise DataError(
            f"{manifest}: column positive: no photo of the part train has {', '.join(denied)}, "
            f"and some are known not to; add photos, or train without those labels: {options}"
        )
