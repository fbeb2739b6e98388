"""Loads the labelled photos that a request names."""

from pathlib import Path

from app.core.labels import LabelSet
from app.dataset.labelled import LabelledPhotos, load_labelled_photos
from app.dataset.manifest import Split, load_names
from app.dataset.requests import DatasetRequest


def load_requested_photos(
    request: DatasetRequest,
    label_set: LabelSet,
    *,
    split: Split,
    soft_targets: Path | None = None,
) -> LabelledPhotos:
    """Load the photos of a request, with the targets of a label set.

    Args:
        request: the manifest, the photos, the names file and the columns.
        label_set: the labels.
        split: a split that must not be empty.
        soft_targets: a file of a teacher's targets.

    Raises:
        DataError: the manifest, the names or the soft targets are not valid.
    """
    return load_labelled_photos(
        request.manifest,
        request.photos,
        label_set,
        names=load_names(request.names, label_set) if request.names else None,
        soft_targets=soft_targets,
        split=split,
        columns=request.columns,
    )
