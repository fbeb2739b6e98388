"""Manifests: tables of photos and names, and the mapping of names to labels."""

from app.dataset.manifest.manifest_file import (
    OPTIONAL_SPLIT,
    SPLITS,
    UNLISTED_ADVICE,
    Annotation,
    ManifestRow,
    Split,
    TableColumns,
    check_name_known,
    in_split,
    read_annotations,
    read_manifest,
    read_one_hot_annotations,
    write_annotations,
    write_manifest,
)
from app.dataset.manifest.names import (
    NameDefinition,
    labels_implied_by,
    load_names,
    names_from_labels,
)
from app.dataset.manifest.photo_folder import (
    PhotoFolder,
    same_photo_key,
)
from app.dataset.manifest.tables import (
    TableRow,
    join_cell,
    normal_name,
    read_table,
    write_table,
)

__all__ = [
    "OPTIONAL_SPLIT",
    "SPLITS",
    "UNLISTED_ADVICE",
    "Annotation",
    "ManifestRow",
    "NameDefinition",
    "PhotoFolder",
    "Split",
    "TableColumns",
    "TableRow",
    "check_name_known",
    "in_split",
    "join_cell",
    "labels_implied_by",
    "load_names",
    "names_from_labels",
    "normal_name",
    "read_annotations",
    "read_manifest",
    "read_one_hot_annotations",
    "read_table",
    "same_photo_key",
    "write_annotations",
    "write_manifest",
    "write_table",
]
