"""The LanceDB table of an index of photos: schema, model and reading.

A table is changed by atomic commits, each of which is a version. A reader sees one version,
whatever is written meanwhile.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.applications.similarity import IndexedPhotos
from app.core.checkpoint import Checkpoint, towers_key
from app.errors import PhotoIndexError

TABLE = "photos"
METADATA_KEY = b"mumic"  # of the table's schema
FORMAT_VERSION = 1
SHA256_BYTES = 32
Revision = tuple[str, int]  # identifier of the table, and its version


@dataclass(frozen=True, slots=True)
class IndexModel:
    """The checkpoint that an index was made with.

    Attributes:
        name: the checkpoint's name.
        version: the checkpoint's version.
        towers: the key of its towers, on which embeddings depend.
    """

    name: str
    version: str
    towers: str

    def refuse_other(self, directory: Path, checkpoint: Checkpoint) -> None:
        """Check that the embeddings of an index and of a checkpoint can be compared.

        Labels and thresholds may differ: they are not in the index.

        Args:
            directory: the index, for the message.
            checkpoint: the checkpoint.

        Raises:
            PhotoIndexError: the checkpoint has other towers.
        """
        if self != (used := model_of(checkpoint)) and self.towers != used.towers:
            raise PhotoIndexError(
                f"{directory}: was made with the model {self.name} {self.version}, and its "
                f"embeddings cannot be compared with those of {used.name} {used.version}. Use that "
                f"checkpoint, or embed the photos again: mumic index FOLDER --out {directory} "
                "--rebuild"
            )


def model_of(checkpoint: Checkpoint) -> IndexModel:
    """Return what an index records of a checkpoint."""
    card = checkpoint.card
    return IndexModel(card.name, card.version, towers_key(card.sha256))


def make_schema(model: IndexModel, dimension: int) -> pa.Schema:
    """Return the schema of a new table, with its model and a new identifier.

    Args:
        model: the checkpoint.
        dimension: D, the length of an embedding.
    """
    described = {"format_version": FORMAT_VERSION, "id": uuid.uuid4().hex, "model": asdict(model)}
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("sha256", pa.binary(SHA256_BYTES), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dimension), nullable=False),
        ],
        metadata={METADATA_KEY: json.dumps(described).encode()},
    )


@contextmanager
def lance_errors(directory: Path) -> Iterator[None]:
    """Convert errors of LanceDB, which has no common base class for them.

    Raises:
        PhotoIndexError: LanceDB failed.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PhotoIndexError(f"{directory}: cannot be used: {reason}") from error


def open_table(directory: Path) -> Any:
    """Open the latest version of an index.

    Raises:
        PhotoIndexError: the directory is not an index, or it cannot be read.
    """
    if not (directory / f"{TABLE}.lance").is_dir():
        found = "is not an index of photos" if directory.exists() else "does not exist"
        raise PhotoIndexError(
            f"{directory}: {found}; make one with: mumic index FOLDER --out {directory}"
        )
    with lance_errors(directory):
        return lancedb.connect(directory).open_table(TABLE)


def read_metadata(directory: Path, schema: pa.Schema) -> tuple[str, IndexModel]:
    """Return the identifier and the model of a table.

    Raises:
        PhotoIndexError: the table was not written by `mumic index`, or by a later version of it.
    """
    try:
        described: Mapping[str, Any] = json.loads((schema.metadata or {})[METADATA_KEY])
        if described["format_version"] == FORMAT_VERSION:
            return described["id"], IndexModel(**described["model"])
        problem = f"has the format {described['format_version']}, supported is {FORMAT_VERSION}"
    except (KeyError, TypeError, ValueError):
        problem = "was not written by mumic index"
    raise PhotoIndexError(f"{directory}: {problem}; choose another directory")


@dataclass(frozen=True, slots=True)
class IndexReader:
    """Reads an index that another process may change.

    Attributes:
        directory: the index.
    """

    directory: Path

    def revision(self) -> Revision:
        """Return what identifies the content of the index.

        Raises:
            PhotoIndexError: the directory is not an index, or it cannot be read.
        """
        table = open_table(self.directory)
        with lance_errors(self.directory):
            return read_metadata(self.directory, table.schema)[0], table.version

    def read(self, checkpoint: Checkpoint | None = None) -> IndexedPhotos:
        """Read all photos; their embeddings take 4 D bytes a photo in memory.

        Args:
            checkpoint: a checkpoint that must have the towers of the index; None for any.

        Raises:
            PhotoIndexError: the directory is not an index or cannot be read, it is of another
                model, or it has no photos.
        """
        table = open_table(self.directory)
        with lance_errors(self.directory):
            _, model = read_metadata(self.directory, table.schema)
            if checkpoint is not None:
                model.refuse_other(self.directory, checkpoint)
            rows = table.to_arrow().sort_by("id")
            version = table.version
        if not rows.num_rows:
            raise PhotoIndexError(
                f"{self.directory}: has no photos; add some with: mumic index FOLDER --out "
                f"{self.directory}"
            )
        return IndexedPhotos(
            ids=rows["id"].to_pylist(),
            embeddings=embeddings_of(rows),
            widths=rows["width"].to_numpy(),
            heights=rows["height"].to_numpy(),
            version=version,
            towers=model.towers,
        )


def embeddings_of(rows: pa.Table) -> NDArray[np.float32]:
    """Return a copy of the embeddings of a table, (N, D) float32."""
    column = rows["embedding"].combine_chunks()
    values = np.array(column.flatten().to_numpy(), np.float32)  # writable, as torch wants it
    return values.reshape(len(rows), column.type.list_size)
