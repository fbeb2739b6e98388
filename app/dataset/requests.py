"""The common fields of requests on labelled photos."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class DatasetRequest(BaseModel):
    """The location of labelled photos and the settings to load them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: Path = Field(description="CSV or Parquet: file, part, positive, negative")
    photos: Path = Field(description="folder that the manifest's files are in")
    names: Path | None = Field(
        None, description="YAML: definitions of the manifest's names, if not label ids"
    )
    workers: int = Field(0, ge=0, description="processes that load photos, for each device")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
