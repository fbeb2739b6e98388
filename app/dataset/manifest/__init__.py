"""Manifests: tables of photos and names, and the mapping of names to labels."""

from app.dataset.manifest.manifest_file import (
    SPLITS,
    Annotation,
    ManifestRow,
    Split,
    check_name_known,
    check_photo_exists,
    in_split,
    photo_file,
    read_annotations,
    read_manifest,
    write_annotations,
    write_manifest,
)
from app.dataset.manifest.names import (
    NameDefinition,
    labels_implied_by,
    load_names,
    names_from_labels,
)
from app.dataset.manifest.tables import (
    TableRow,
    join_cell,
    read_table,
    write_table,
)

__all__ = [
    "SPLITS",
    "Annotation",
    "ManifestRow",
    "NameDefinition",
    "Split",
    "TableRow",
    "check_name_known",
    "check_photo_exists",
    "in_split",
    "join_cell",
    "labels_implied_by",
    "load_names",
    "names_from_labels",
    "photo_file",
    "read_annotations",
    "read_manifest",
    "read_table",
    "write_annotations",
    "write_manifest",
    "write_table",
]
