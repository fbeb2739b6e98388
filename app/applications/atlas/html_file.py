"""The atlas as one HTML file that needs no network: styles, scripts, photos and places in it."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.files import atomic_file
from app.core.labels import Tag

# Each may use what the ones before it define.
MODULES = ("dom", "colours", "atlas_data", "map_view", "points", "card", "legend", "search", "main")
IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^export ", re.MULTILINE)
THUMBNAILS_BYTES = 60_000_000  # of a file with the default size
# Mean bytes of thumbnails of photos in base64, by the longer side; largest first.
THUMBNAIL_BYTES = {256: 9_000, 192: 6_000, 128: 3_700, 96: 2_300, 64: 1_200}


@dataclass(frozen=True, slots=True)
class MappedPhoto:
    """A photo of the atlas.

    Attributes:
        id: the name that is shown.
        tags: its labels, best first; the first one gives the category.
        thumbnail: a WebP; empty for none.
    """

    id: str
    tags: Sequence[Tag]
    thumbnail: bytes


def default_thumbnail_px(photos: int) -> int:
    """Return the longer side of thumbnails that keep the file below about 60 MB.

    Args:
        photos: number of photos.
    """
    fitting = (
        side_px
        for side_px, size_bytes in THUMBNAIL_BYTES.items()
        if photos * size_bytes <= THUMBNAILS_BYTES
    )
    return next(fitting, min(THUMBNAIL_BYTES))


def write_atlas(
    path: Path,
    title: str,
    model: str,
    photos: Sequence[MappedPhoto],
    places: NDArray[np.uint16],
) -> None:
    """Write the atlas. The same photos and places give the same bytes.

    Args:
        path: the HTML file; an existing one is replaced.
        title: of the page.
        model: name and version of the checkpoint.
        photos: N photos.
        places: (N, 2) coordinates, x and y in [0, GRID].

    Raises:
        DiskError: the file cannot be written; an existing one is unchanged.
    """
    page = files("app.applications.atlas") / "page"
    style = (page / "atlas.css").read_text(encoding="utf-8")
    script = "\n".join(
        _without_imports((page / f"{name}.js").read_text(encoding="utf-8")) for name in MODULES
    )
    thumbnails = [base64.b64encode(photo.thumbnail).decode() for photo in photos]
    html = Template((page / "index.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=_script_data(_document(model, photos, places, list(map(len, thumbnails)))),
        thumbnails="".join(thumbnails),
    )
    with atomic_file(path) as file:
        file.write(html.encode(errors="replace"))


def _document(
    model: str,
    photos: Sequence[MappedPhoto],
    places: NDArray[np.uint16],
    thumbnail_sizes: Sequence[int],
) -> dict[str, Any]:
    """Return what the scripts read; photos refer to labels, and labels to categories, by index."""
    labels = {tag.label.id: tag.label for photo in photos for tag in photo.tags}
    index = {id: place for place, id in enumerate(labels)}
    categories = sorted({label.category for label in labels.values()})
    return {
        "model": model,
        "places": base64.b64encode(places.astype("<u2").tobytes()).decode(),
        "categories": categories,
        "labels": [
            {"name": label.name, "category": categories.index(label.category)}
            for label in labels.values()
        ],
        "photos": [
            {
                "id": photo.id,
                # Per label its index and the confidence in percent, rounded.
                "tags": [
                    number
                    for tag in photo.tags
                    for number in (index[tag.label.id], round(100 * tag.confidence))
                ],
                "thumbnail": size,
            }
            for photo, size in zip(photos, thumbnail_sizes, strict=True)
        ],
    }


def _script_data(document: dict[str, Any]) -> str:
    """Write JSON that cannot end the script element that holds it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _without_imports(module: str) -> str:
    """Return a module as a part of one script: its imports are defined before it."""
    return EXPORT.sub("", IMPORT.sub("", module))


def _hash(text: str) -> str:
    """Return the source of a Content-Security-Policy that allows one inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
