"""Checkpoint directories: read, verify, write, sign, import."""

from app.core.checkpoint.background import (
    known_photos,
    write_known_photos,
    write_zero_shot_calibration,
    zero_shot_calibration,
)
from app.core.checkpoint.card import (
    CARD_FILE,
    Card,
    LabelChange,
    file_hash,
)
from app.core.checkpoint.directory import (
    Checkpoint,
    class_embeddings,
    label_embeddings,
    load_model,
    read_checkpoint,
    refuse_unwritable,
    seal,
    with_class_embeddings,
    write_checkpoint,
)
from app.core.checkpoint.golden import (
    check_golden,
    golden_images,
    is_golden,
)
from app.core.checkpoint.importer import (
    import_checkpoint,
    import_from_checkpoint,
)
from app.core.checkpoint.known_photos_file import (
    MAX_KNOWN_PHOTOS,
    KnownPhotos,
)
from app.core.checkpoint.label_versions import (
    next_labels_version,
    next_version,
    served_directory,
    write_labels,
)
from app.core.checkpoint.layout import (
    CONFIG_FILE,
    towers_key,
)
from app.core.checkpoint.relabelling import (
    write_relabelled,
)

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "MAX_KNOWN_PHOTOS",
    "Card",
    "Checkpoint",
    "KnownPhotos",
    "LabelChange",
    "check_golden",
    "class_embeddings",
    "file_hash",
    "golden_images",
    "import_checkpoint",
    "import_from_checkpoint",
    "is_golden",
    "known_photos",
    "label_embeddings",
    "load_model",
    "next_labels_version",
    "next_version",
    "read_checkpoint",
    "refuse_unwritable",
    "seal",
    "served_directory",
    "towers_key",
    "with_class_embeddings",
    "write_checkpoint",
    "write_known_photos",
    "write_labels",
    "write_relabelled",
    "write_zero_shot_calibration",
    "zero_shot_calibration",
]
