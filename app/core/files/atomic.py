"""Atomic writes of files and directories: a failed write leaves the previous content unchanged."""

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
    """Convert errors of the disk to DiskError during a write.

    Args:
        path: the file or directory being written.
        consequence: the state after a failure, for the message.

    Raises:
        DiskError: the path cannot be written, for example since the disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise DiskError(f"{path}: cannot be written: {error}; {consequence}") from error


@contextmanager
def staging_directory(directory: Path, marker: str) -> Iterator[Path]:
    """Create a staging directory that replaces the target if the block succeeds.

    Args:
        directory: the target. If it is a symbolic link, the directory it points to is replaced.
        marker: name of a file that an existing target must contain to be replaced.

    Yields:
        An empty staging directory with the same parent as the target. It is removed on failure.

    Raises:
        CheckpointError: the target exists without the marker; it is unchanged.
        DiskError: the target cannot be written; an existing target is unchanged.
    """
    directory = directory.resolve()
    refuse_foreign(directory, marker)
    with disk_errors(directory, "existing files are unchanged"):
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            yield staging
            staging.chmod(0o755)  # mkdtemp and safetensors give access to the owner only
            for file in staging.iterdir():
                file.chmod(0o644)
                _fsync(file)
            _fsync(staging)
            _swap_in(staging, directory)
            _fsync(directory.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces the target when it is completely on the disk.

    Raises:
        DiskError: the file cannot be written; an existing file is unchanged.
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
        # After a failed write, torch.save raises a RuntimeError when it closes its archive.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        partial.unlink(missing_ok=True)
        raise DiskError(
            f"{path}: cannot be written: {reason}; the existing file is unchanged. Run the same "
            "command again when the disk has space"
        ) from error


def refuse_foreign(directory: Path, marker: str) -> None:
    """Check that a target can be replaced.

    Raises:
        CheckpointError: the target exists, is not empty and does not contain the marker.
    """
    if not _is_replaceable(directory, marker):
        raise CheckpointError(
            f"{directory}: exists without {marker}, so it is not a checkpoint; it was not changed. "
            "Choose another directory"
        )


def _is_replaceable(directory: Path, marker: str) -> bool:
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


def _fsync(path: Path) -> None:
    """Flush a file or directory to the disk, so that a rename never precedes its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
