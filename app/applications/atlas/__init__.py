"""Embedding atlas: a map of photos in one HTML file, where similar photos are near each other."""

from app.applications.atlas.html_file import (
    MappedPhoto,
    default_thumbnail_px,
    write_atlas,
)
from app.applications.atlas.layout import (
    GRID,
    place_photos,
)

__all__ = [
    "GRID",
    "MappedPhoto",
    "default_thumbnail_px",
    "place_photos",
    "write_atlas",
]
