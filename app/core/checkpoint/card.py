"""mumic.json: what a checkpoint says of itself, and the hashes that hold it together."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import CheckpointError

CARD_FILE = "mumic.json"


class Golden(BaseModel):
    """Expected unit embeddings, in float32 on a CPU.

    Attributes:
        image_embeddings: (4, D), one row for each of `app.core.checkpoint.golden.golden_images`.
        text_embeddings: (2, D), one row for each of `app.core.checkpoint.golden.GOLDEN_TEXTS`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_embeddings: tuple[tuple[float, ...], ...]
    text_embeddings: tuple[tuple[float, ...], ...]


class Card(BaseModel):
    """What a checkpoint says of itself.

    Attributes:
        sha256: the hash of each file that the card signs.
        exif_orientation: whether photos are turned upright before the model sees them.
        training: how the checkpoint was made, free-form.
        metrics: what it reached, free-form.
        golden: embeddings that a loaded model must reproduce.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(min_length=1)
    sha256: dict[str, str]
    exif_orientation: bool = True
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    golden: Golden


def make_card(**fields: Any) -> Card:
    """Check a card's fields.

    Raises:
        CheckpointError: a field is not valid; the text names it.
    """
    try:
        return Card(**fields)
    except ValidationError as error:
        raise CheckpointError(_first(error)) from error


def read_card(directory: Path) -> Card:
    """Read a checkpoint's card.

    Raises:
        CheckpointError: it cannot be read or is not valid; the text names the field.
    """
    path = directory / CARD_FILE
    with reading(path):
        data = path.read_bytes()
    try:
        return Card.model_validate_json(data)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {_first(error)}. Copy the checkpoint again") from error


def write_card(directory: Path, card: Card) -> None:
    """Write a checkpoint's card; a kill on the way leaves the last one whole."""
    partial = directory / f".{CARD_FILE}"
    partial.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.chmod(0o644)
    partial.replace(directory / CARD_FILE)


def file_hash(path: Path) -> str:
    """The sha256 of a file, as hex.

    Raises:
        CheckpointError: it cannot be read.
    """
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around reading a checkpoint: a disk that refuses, or a file that has just gone, is told.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return f"{where}: {first['msg']}"
