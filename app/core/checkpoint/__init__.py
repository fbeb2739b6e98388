"""Checkpoint directories: read, verify, write, sign, import."""

from app.core.checkpoint.card import (
    CARD_FILE,
    Card,
    file_hash,
)
from app.core.checkpoint.directory import (
    CONFIG_FILE,
    Checkpoint,
    label_embeddings,
    load_model,
    read_checkpoint,
    refuse_unwritable,
    seal,
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
from app.core.checkpoint.relabelling import (
    write_relabelled,
)
from app.core.checkpoint.zero_shot import (
    write_zero_shot_calibration,
    zero_shot_calibration,
)

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "Card",
    "Checkpoint",
    "check_golden",
    "file_hash",
    "golden_images",
    "import_checkpoint",
    "import_from_checkpoint",
    "is_golden",
    "label_embeddings",
    "load_model",
    "read_checkpoint",
    "refuse_unwritable",
    "seal",
    "write_checkpoint",
    "write_relabelled",
    "write_zero_shot_calibration",
    "zero_shot_calibration",
]
