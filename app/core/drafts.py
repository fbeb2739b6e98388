"""Write a whole directory, or nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from app.errors import CheckpointError, DiskError


@contextmanager
def disk_errors(path: Path, consequence: str) -> Iterator[None]:
    """Around writing: a disk that is full or may not be written to is told as such.

    Args:
        path: what is written.
        consequence: what becomes of it, for the message.

    Raises:
        DiskError: it could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise DiskError(f"{path}: cannot be written: {error}; {consequence}") from error


@contextmanager
def draft_of(directory: Path, marker: str) -> Iterator[Path]:
    """A folder to fill, which takes a directory's place when the block ends well.

    Args:
        directory: what to write, or to replace when it holds the marker. A link stays, and what
            it points to is replaced.
        marker: name of the file without which a directory is not ours to replace.

    Yields:
        An empty folder beside it. It is gone afterwards, whatever happened.

    Raises:
        CheckpointError: something else is there; it is left as it is.
        DiskError: it cannot be written; what was there before is whole.
    """
    directory = directory.resolve()
    refuse_foreign(directory, marker)
    with disk_errors(directory, "what was there before is whole"):
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            yield draft
            draft.chmod(0o755)  # mkdtemp and safetensors keep others out
            for file in draft.iterdir():
                file.chmod(0o644)
                _bring_to_disk(file)
            _bring_to_disk(draft)
            _swap_in(draft, directory)
            _bring_to_disk(directory.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def refuse_foreign(directory: Path, marker: str) -> None:
    """Refuse to write where something else is; long work asks before it starts.

    Raises:
        CheckpointError: something without the marker is there.
    """
    if not _is_ours(directory, marker):
        raise CheckpointError(
            f"{directory}: there is something that holds no {marker}, so not a checkpoint; it was "
            "left as it is. Choose another place"
        )


def _is_ours(directory: Path, marker: str) -> bool:
    if not directory.is_dir():
        return not directory.exists()
    return (directory / marker).is_file() or not any(directory.iterdir())


def _swap_in(draft: Path, directory: Path) -> None:
    if not directory.exists():
        draft.rename(directory)
        return
    old = draft.with_name(f"{draft.name}-replaced")
    directory.rename(old)
    try:
        draft.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    shutil.rmtree(old)


def _bring_to_disk(path: Path) -> None:
    """A name that is on the disk before its content would lose both with the power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
