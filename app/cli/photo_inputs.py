"""The photos that a command names: files, folders and standard input."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.core.images import ImageLimits, SkippedFile, find_photos, read_photo_file
from app.errors import ImageError

STDIN = "-"


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file or folder that cannot be read.

    Attributes:
        message: why.
    """

    message: str


@dataclass(frozen=True, slots=True)
class PhotoInput:
    r"""One photo of a command.

    Attributes:
        id: the path as given, or below the folder as given; bytes that are not UTF-8 are written
            as in `caf\xe9.jpg`.
        content: the bytes of the file, or why there are none.
    """

    id: str
    content: bytes | ImageError | UnreadableFile


@dataclass(frozen=True, slots=True)
class PhotoInputs:
    """Iterates over photos and reads each when it is reached.

    Attributes:
        names: files, folders and `-` for standard input.
        limits: the largest photo that is read.
        skipped: the number of skipped entries of folders by kind, so far.
    """

    names: Sequence[str]
    limits: ImageLimits
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[PhotoInput]:
        for name in self.names:
            if name == STDIN:
                yield PhotoInput(STDIN, sys.stdin.buffer.read(self.limits.max_bytes + 1))
            elif not name:  # as of an empty variable; it is not the working directory
                yield PhotoInput(name, UnreadableFile("the name is empty"))
            elif _is_folder(Path(name)):
                yield from self._of_folder(Path(name))
            else:
                yield self._of_file(Path(name))

    def _of_folder(self, folder: Path) -> Iterator[PhotoInput]:
        for found in find_photos(folder):
            if isinstance(found, SkippedFile):
                self.skipped[found.kind] += 1
            elif isinstance(found, OSError):
                reason = UnreadableFile(f"cannot list the folder: {found.strerror}")
                yield PhotoInput(readable_name(found.filename), reason)
            else:
                yield self._of_file(found)

    def _of_file(self, path: Path) -> PhotoInput:
        content: bytes | ImageError | UnreadableFile
        try:
            content = read_photo_file(path, self.limits)
        except ImageError as error:
            content = error
        except OSError as error:
            content = UnreadableFile(f"cannot read the file: {error.strerror}")
        return PhotoInput(readable_name(path), content)


def readable_name(path: str | Path) -> str:
    r"""Return a path as text; a byte that is not UTF-8 is written as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # reading it says why
        return False
