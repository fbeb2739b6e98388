"""Similar photos and near-duplicates, by the embeddings of photos and texts (section 6)."""

from app.applications.similarity.duplicates import (
    DUPLICATE_SIMILARITY,
    DuplicateGroup,
    group_near_duplicates,
)
from app.applications.similarity.label_filter import (
    LabelFilter,
    make_label_filter,
)
from app.applications.similarity.nearest import (
    Neighbours,
    nearest_neighbours,
)
from app.applications.similarity.search import (
    DEFAULT_COUNT,
    MAX_COUNT,
    IndexedPhotos,
    Match,
    PhotoSearch,
)

__all__ = [
    "DEFAULT_COUNT",
    "DUPLICATE_SIMILARITY",
    "MAX_COUNT",
    "DuplicateGroup",
    "IndexedPhotos",
    "LabelFilter",
    "Match",
    "Neighbours",
    "PhotoSearch",
    "group_near_duplicates",
    "make_label_filter",
    "nearest_neighbours",
]
