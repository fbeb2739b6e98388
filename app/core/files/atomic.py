"""Atomic writes: a file or a directory is written whole, or what was there stays."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
def staging_directory(directory: Path, marker: str) -> Iterator[Path]:
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
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            yield staging
            staging.chmod(0o755)  # mkdtemp and safetensors keep others out
            for file in staging.iterdir():
                file.chmod(0o644)
                _bring_to_disk(file)
            _bring_to_disk(staging)
            _swap_in(staging, directory)
            _bring_to_disk(directory.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to fill, which takes the place of the one there when all of it is on the disk.

    Raises:
        DiskError: it could not be written; what was there is as it was.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        # Where a write fails, torch.save fails a second time on closing its archive.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        partial.unlink(missing_ok=True)
        raise DiskError(
            f"{path}: cannot be written: {reason}; what was there before is whole. Start the same "
            "command again when there is room"
        ) from error


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


def _swap_in(staging: Path, directory: Path) -> None:
    if not directory.exists():
        staging.rename(directory)
        return
    old = staging.with_name(f"{staging.name}-replaced")
    directory.rename(old)
    try:
        staging.rename(directory)
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
