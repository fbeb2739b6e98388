"""An index of the photos of a folder: a LanceDB table with their embeddings (extra `search`)."""

from app.index.folder_update import (
    FolderUpdate,
    UpdateCounts,
)
from app.index.table import (
    IndexReader,
    Revision,
)
from app.index.writing import (
    EmbeddedContent,
    open_for_writing,
)

__all__ = [
    "EmbeddedContent",
    "FolderUpdate",
    "IndexReader",
    "Revision",
    "UpdateCounts",
    "open_for_writing",
]
