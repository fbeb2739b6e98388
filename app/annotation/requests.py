"""The requests of the commands `mumic data ...`, one model each."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.dataset.requests import TableRequest

DEFAULT_THRESHOLD = 0.6  # section 3.2
LOCAL_FILES_URL = "/data/local-files/?d="  # Label Studio's address of local files


class DataRequest(BaseModel):
    """The base of all requests: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CandidatesRequest(DataRequest):
    """Sample the photos to annotate from an archive."""

    embeddings: Path = Field(description="safetensors: the archive's embeddings")
    properties: Path = Field(description="table: file and the column of --by")
    by: str = Field(description="column to stratify by, e.g. property_type")
    file_column: str = Field("file", description="column of the photo's file")
    count: int = Field(ge=0, description="photos to sample over the strata")
    out: Path = Field(description="table to write, .csv or .parquet")
    rare: tuple[str, ...] = Field(
        (),
        description="a rare label, or LABEL=TEXT to search for another text (repeatable)",
    )
    per_label: int = Field(100, ge=1, description="photos for each rare label")
    top: int = Field(1000, ge=1, description="most similar photos to sample those from")
    checkpoint: Path | None = Field(
        None, description="for --rare: the checkpoint that made the embeddings"
    )
    seed: int = Field(0, ge=0)


class TasksRequest(DataRequest):
    """Write a Label Studio project."""

    candidates: Path = Field(description="table with a column file")
    file_column: str = Field("file", description="column of the photo's file")
    photos: Path = Field(description="folder that the files are in")
    out: Path = Field(description="folder: config.xml, tasks.json, questions.yaml")
    labels: Path | None = Field(None, description="a label set; default: the built-in travel set")
    questions: Path | None = Field(
        None, description="YAML: exclusive and hard labels, or edited questions"
    )
    image_url: str = Field(
        LOCAL_FILES_URL, description="prefix of a file's address in Label Studio"
    )


class ConsolidateRequest(TableRequest):
    """Turn votes into targets; the names of columns are those of the golden set."""

    votes: Path = Field(
        description="table: file, label, votes, annotators; or Label Studio's .json"
    )
    photos: Path = Field(description="folder that the files are in")
    out: Path = Field(description="table to write: file, positive, negative")
    labels: Path | None = Field(None, description="a label set; default: the built-in travel set")
    names: Path | None = Field(
        None, description="YAML: definitions of the votes' labels, if not label ids"
    )
    questions: Path | None = Field(
        None, description="for Label Studio's export: its questions file"
    )
    threshold: float = Field(
        DEFAULT_THRESHOLD,
        ge=0.01,
        le=1,
        description="least share of yes votes for a label to be present",
    )
    golden: Path | None = Field(
        None, description="table of verified labels: file, positive, negative"
    )
    min_golden: int = Field(
        10,
        ge=1,
        description="a label with fewer golden positives or negatives uses --threshold",
    )
    report: Path | None = Field(None, description="table to write: every label at every threshold")


class SplitRequest(TableRequest):
    """Assign the splits of a manifest."""

    targets: Path = Field(description="table: file, positive and, optionally, negative")
    photos: Path = Field(description="folder that the files are in")
    out: Path = Field(description="manifest to write, .csv or .parquet")
    labels: Path | None = Field(
        None, description="a label set that must have every label of the table; default: any label"
    )
    names: Path | None = Field(
        None, description="YAML: definitions of the table's labels, if not label ids"
    )
    unlisted: Literal["unknown", "negative"] | None = Field(
        None,
        description="labels that a row does not list: unknown (default), or negative: the photo "
        "is known to lack them",
    )
    one_hot: bool = Field(
        False, description="each column but the file's is a label: 1 present, 0 absent"
    )
    shares: str = Field(
        "80/10/10", description="train/validation/test, or with a fourth for calibration"
    )
    seed: int = Field(0, ge=0)
