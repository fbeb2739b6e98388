"""Writes an index of photos: one process per index, many photos per commit."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.core.checkpoint import Checkpoint
from app.errors import PhotoIndexError
from app.index.table import (
    TABLE,
    embeddings_of,
    lance_errors,
    make_schema,
    model_of,
    open_table,
    read_metadata,
)

LOCK_FILE = "mumic-index.lock"
DELETED_AT_ONCE = 1000
# Readers take seconds to read a version, which must exist for that long.
KEPT_VERSIONS_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedContent:
    """What the index stores of the content of a photo.

    Attributes:
        sha256: of the bytes of the file.
        embedding: (D,) float32, unit length.
        width: in pixels, after EXIF orientation.
        height: in pixels, after EXIF orientation.
    """

    sha256: bytes
    embedding: NDArray[np.float32]
    width: int
    height: int


class IndexWriter:
    """Changes an index. Every method commits atomically.

    Args:
        directory: the index, for messages.
        table: its table.
    """

    def __init__(self, directory: Path, table: Any) -> None:
        self._directory = directory
        self._table = table
        self._changed = False

    def stored(self) -> dict[str, EmbeddedContent]:
        """Return what is stored, by id."""
        with lance_errors(self._directory):
            rows = self._table.to_arrow()
        contents = zip(
            rows["sha256"].to_pylist(),
            embeddings_of(rows),
            rows["width"].to_pylist(),
            rows["height"].to_pylist(),
            strict=True,
        )
        return {
            id: EmbeddedContent(*content)
            for id, content in zip(rows["id"].to_pylist(), contents, strict=True)
        }

    def put(self, photos: Sequence[tuple[str, EmbeddedContent]]) -> None:
        """Add photos, or replace those that have the same ids.

        Args:
            photos: ids, each once, and contents.
        """
        schema = self._table.schema
        dimension = schema.field("embedding").type.list_size
        values = np.concatenate([content.embedding for _, content in photos])
        rows = pa.table(
            {
                "id": [id for id, _ in photos],
                "sha256": pa.array(
                    [each.sha256 for _, each in photos], schema.field("sha256").type
                ),
                "width": pa.array([each.width for _, each in photos], pa.int32()),
                "height": pa.array([each.height for _, each in photos], pa.int32()),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values), dimension),
            },
            schema=schema,
        )
        merge = self._table.merge_insert("id").when_matched_update_all()
        with lance_errors(self._directory):
            merge.when_not_matched_insert_all().execute(rows)
        self._changed = True

    def remove(self, ids: Sequence[str]) -> None:
        """Remove photos."""
        for start in range(0, len(ids), DELETED_AT_ONCE):
            quoted = [
                f"""'{id.replace("'", "''")}'""" for id in ids[start : start + DELETED_AT_ONCE]
            ]
            with lance_errors(self._directory):
                self._table.delete(f"id IN ({', '.join(quoted)})")
            self._changed = True

    def compact(self) -> None:
        """Merge the small files of many commits, and remove old versions, if there was a commit."""
        if self._changed:
            with lance_errors(self._directory):
                self._table.optimize(cleanup_older_than=KEPT_VERSIONS_FOR)


@contextmanager
def open_for_writing(
    directory: Path, checkpoint: Checkpoint, dimension: int, *, rebuild: bool = False
) -> Iterator[IndexWriter]:
    """Open or create an index, and keep other writers out.

    Args:
        directory: the index; created if it does not exist.
        checkpoint: embeds the photos.
        dimension: D, the length of an embedding.
        rebuild: whether to begin with an empty index, also one of another model.

    Raises:
        PhotoIndexError: the directory is not an index, it is of another model, another process
            writes to it, or it cannot be written.
    """
    with _locked(directory):
        if rebuild or not (directory / f"{TABLE}.lance").exists():
            schema = make_schema(model_of(checkpoint), dimension)
            with lance_errors(directory):
                table = lancedb.connect(directory).create_table(
                    TABLE, schema=schema, mode="overwrite"
                )
        else:
            table = open_table(directory)
            _, model = read_metadata(directory, table.schema)
            model.refuse_other(directory, checkpoint)
        yield IndexWriter(directory, table)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of an index; the kernel releases it if the process ends."""
    _refuse_foreign(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK_FILE).open("wb")
    except OSError as error:
        raise PhotoIndexError(f"{directory}: cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PhotoIndexError(
                f"{directory}: another mumic index is writing to it; run it again when that has "
                "ended"
            ) from error
        yield


def _refuse_foreign(directory: Path) -> None:
    """Refuse a directory with other files, which an index must not be mixed with.

    Raises:
        PhotoIndexError: the directory has files and no index.
    """
    if not directory.is_dir():
        return
    names = {path.name for path in directory.iterdir()}
    if names - {LOCK_FILE} and f"{TABLE}.lance" not in names:
        raise PhotoIndexError(
            f"{directory}: has files and is not an index of photos; choose another directory"
        )
