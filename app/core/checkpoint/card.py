"""mumic.json: a checkpoint's metadata, file hashes and golden embeddings."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import CheckpointError

CARD_FILE = "mumic.json"


class Golden(BaseModel):
    """Expected unit embeddings of the golden inputs, in float32 on a CPU.

    Attributes:
        image_embeddings: (4, D), one row per image of `app.core.checkpoint.golden.golden_images`.
        text_embeddings: (2, D), one row per text of `app.core.checkpoint.golden.GOLDEN_TEXTS`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_embeddings: tuple[tuple[float, ...], ...]
    text_embeddings: tuple[tuple[float, ...], ...]


class LabelChange(BaseModel):
    """One change of the label set at run time.

    Attributes:
        action: what was done.
        label: the label's id.
        at: when, in UTC.
        by: who did it, free text; empty if that is not stated.
        labels_version: version of the label set that it made.
        examples: sha256 of each example photo of an added label.
        counter_examples: sha256 of each counter-example.
        removed: the label set's entry of a removed label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["added", "removed"]
    label: str
    at: datetime
    by: str = ""
    labels_version: str
    examples: tuple[str, ...] = ()
    counter_examples: tuple[str, ...] = ()
    removed: dict[str, Any] | None = None


class Card(BaseModel):
    """Metadata of a checkpoint.

    Attributes:
        format_version: of the card.
        name: the checkpoint's name.
        version: the checkpoint's version.
        sha256: the hash of each signed file, by file name.
        exif_orientation: whether to apply the EXIF orientation of images.
        training: how the checkpoint was trained, free-form.
        metrics: its evaluation metrics, free-form.
        golden: embeddings that a loaded model must reproduce.
        label_changes: labels that were added or removed at run time, oldest first.
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
    label_changes: tuple[LabelChange, ...] = ()


def make_card(**fields: Any) -> Card:
    """Create a card from its fields.

    Raises:
        CheckpointError: a field is invalid; the text names it.
    """
    try:
        return Card(**fields)
    except ValidationError as error:
        raise CheckpointError(_first_error(error)) from error


def read_card(directory: Path) -> Card:
    """Read a checkpoint's card.

    Raises:
        CheckpointError: the card cannot be read or is invalid; the text names the field.
    """
    path = directory / CARD_FILE
    with read_errors(path):
        data = path.read_bytes()
    try:
        return Card.model_validate_json(data)
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: {_first_error(error)}. Copy the checkpoint again"
        ) from error


def write_card(directory: Path, card: Card) -> None:
    """Write a checkpoint's card atomically; without label changes, older versions can read it."""
    without = None if card.label_changes else {"label_changes"}
    partial = directory / f".{CARD_FILE}"
    partial.write_text(card.model_dump_json(indent=2, exclude=without) + "\n", encoding="utf-8")
    partial.chmod(0o644)
    partial.replace(directory / CARD_FILE)


def file_hash(path: Path) -> str:
    """Return the hexadecimal sha256 of a file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    with read_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Convert OSError to CheckpointError while a checkpoint is read.

    Raises:
        CheckpointError: the path cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error


def _first_error(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return f"{where}: {first['msg']}"
