"""Photo files on a disk: the photos of a folder, and bounded reading of one file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.core.images.formats import identify
from app.core.images.limits import ImageLimits
from app.errors import ImageError

# Files with these suffixes count as photos even if they are damaged or not supported.
PHOTO_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .avif .heic .heif .hif "
    ".jxl .jp2 .j2k".split()
)
SIGNATURE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """An entry of a folder that is not a photo.

    Attributes:
        path: the entry.
        kind: `hidden`, `linked folder`, `special file`, `no suffix`, or the suffix in lower case.
    """

    path: Path
    kind: str


def find_photos(folder: Path) -> Iterator[Path | SkippedFile | OSError]:
    """Find the photos of a folder and of its folders, sorted by name; the folder's own come first.

    A file is a photo if its suffix or its first bytes say so. Hidden entries and links to folders,
    which can form a loop, are skipped.

    Args:
        folder: where to search.

    Yields:
        A photo, a skipped entry, or why a folder cannot be listed (`filename` is its path).
    """
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            with os.scandir(current) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield error
            continue
        inner = []
        for entry in entries:
            path = current / entry.name
            if entry.name.startswith("."):
                yield SkippedFile(path, "hidden")
            elif entry.is_dir(follow_symlinks=False):
                inner.append(path)
            else:
                kind = _kind_if_skipped(entry, path)
                yield SkippedFile(path, kind) if kind else path
        folders += reversed(inner)


def read_photo_file(path: Path, limits: ImageLimits) -> bytes:
    """Read a file, but not much more than the limit.

    Raises:
        OSError: the file cannot be read.
        ImageError: it has too many bytes.
    """
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)
        size_bytes = max(len(data), os.fstat(file.fileno()).st_size)
    if len(data) > limits.max_bytes:
        raise ImageError(
            "too_many_bytes",
            f"the image has {size_bytes:,} bytes; at most {limits.max_bytes:,} are allowed",
        )
    return data


def _kind_if_skipped(entry: "os.DirEntry[str]", path: Path) -> str | None:
    """Return the kind of an entry that is not a photo; None for a photo."""
    if entry.is_dir():
        return "linked folder"
    suffix = path.suffix.lower()
    broken_link = entry.is_symlink() and not path.exists()
    if not entry.is_file() and not broken_link:
        return "special file"
    if suffix in PHOTO_SUFFIXES or _has_photo_signature(path):
        return None
    return suffix or "no suffix"


def _has_photo_signature(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            identify(file.read(SIGNATURE_BYTES))
    except (OSError, ImageError):
        return False
    return True
