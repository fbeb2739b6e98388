"""A manifest expanded to targets of every photo for every label text."""

from app.dataset.labelled.duplicates import (
    duplicates_across_splits,
)
from app.dataset.labelled.labelled_photos import (
    LabelledPhotos,
    load_labelled_photos,
)
from app.dataset.labelled.listing import (
    listed,
)
from app.dataset.labelled.soft_targets import (
    UNKNOWN_TARGET,
)
from app.dataset.labelled.trainable import (
    check_trainable,
    mask_without_negatives,
    unmeasured_warnings,
)

__all__ = [
    "UNKNOWN_TARGET",
    "LabelledPhotos",
    "check_trainable",
    "duplicates_across_splits",
    "listed",
    "load_labelled_photos",
    "mask_without_negatives",
    "unmeasured_warnings",
]
