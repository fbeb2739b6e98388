"""Photos, label texts and the targets between them."""

from app.dataset.labelled.copies import (
    copies_across_parts,
)
from app.dataset.labelled.labelled_photos import (
    LabelledPhotos,
    load_labelled,
)
from app.dataset.labelled.soft_targets import (
    UNKNOWN,
)
from app.dataset.labelled.trainable import (
    refuse_untrainable,
)

__all__ = [
    "UNKNOWN",
    "LabelledPhotos",
    "copies_across_parts",
    "load_labelled",
    "refuse_untrainable",
]
