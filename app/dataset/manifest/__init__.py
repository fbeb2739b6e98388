"""Tables of photos and labels, and what their names mean."""

from app.dataset.manifest.manifest_file import (
    PARTS,
    Annotation,
    Part,
    Row,
    in_part,
    photo_of,
    read_annotations,
    read_manifest,
    refuse_missing,
    refuse_unknown,
    write_annotations,
    write_manifest,
)
from app.dataset.manifest.names import (
    Name,
    labels_of,
    load_names,
    names_of,
)
from app.dataset.manifest.tables import (
    Record,
    joined,
    read_table,
    write_table,
)

__all__ = [
    "PARTS",
    "Annotation",
    "Name",
    "Part",
    "Record",
    "Row",
    "in_part",
    "joined",
    "labels_of",
    "load_names",
    "names_of",
    "photo_of",
    "read_annotations",
    "read_manifest",
    "read_table",
    "refuse_missing",
    "refuse_unknown",
    "write_annotations",
    "write_manifest",
    "write_table",
]
