"""The photos that a command names: files, folders and standard input."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from app.cli.console import console
from app.core.images import ImageLimits, SkippedFile, find_photos, read_photo_file
from app.errors import ImageError

T = TypeVar("T")
STDIN = "-"
UNREADABLE = "unreadable"  # the error code; a server has no such files


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file or folder that cannot be read.

    Attributes:
        message: why.
    """

    message: str


Failure = ImageError | UnreadableFile


@dataclass(frozen=True, slots=True)
class PhotoInput:
    r"""One photo of a command.

    Attributes:
        id: the path as given, or below the folder as given; bytes that are not UTF-8 are written
            as in `caf\xe9.jpg`.
        content: the bytes of the file, or why there are none.
    """

    id: str
    content: bytes | Failure


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

    def run(
        self, model: Callable[[list[bytes]], Iterable[T]], batch_size: int
    ) -> Iterator[tuple[PhotoInput, T | Failure]]:
        """Run a model on the photos; the files of one batch are in memory.

        Args:
            model: the bytes of files to an outcome of each, in order.
            batch_size: most photos in one call of the model.

        Yields:
            Each photo, and its outcome or why its file has no bytes.
        """
        remaining = iter(self)
        while batch := list(islice(remaining, batch_size)):
            outcomes = iter(
                model([each.content for each in batch if isinstance(each.content, bytes)])
            )
            for each in batch:
                yield each, next(outcomes) if isinstance(each.content, bytes) else each.content

    def report(self, done: int, failed: int) -> None:
        """Print on stderr what the results do not show.

        Args:
            done: number of photos.
            failed: number of those that cannot be used.
        """
        if self.skipped:
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.skipped.items()))
            console.print(f"skipped in folders, not photos: {kinds}", markup=False)
        if not done:
            folders = ", ".join(map(readable_name, self.names))
            console.print(f"mumic: no photo was found in {folders}", markup=False)
        elif failed:
            console.print(f"mumic: {failed} of {done} photos cannot be used", markup=False)

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
        content: bytes | Failure
        try:
            content = read_photo_file(path, self.limits)
        except ImageError as error:
            content = error
        except OSError as error:
            content = UnreadableFile(f"cannot read the file: {error.strerror}")
        return PhotoInput(readable_name(path), content)


def failed_document(id: str, failure: Failure) -> dict[str, object]:
    """Return the result of a photo that cannot be used, as in the answer of the server."""
    code = failure.code if isinstance(failure, ImageError) else UNREADABLE
    return {"id": id, "status": "error", "error": {"code": code, "message": failure.message}}


def readable_name(path: str | Path) -> str:
    r"""Return a path as text; a byte that is not UTF-8 is written as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # reading it says why
        return False
