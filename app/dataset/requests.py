"""The common fields of requests on labelled photos and of requests that read tables."""

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from app.dataset.manifest import TableColumns


class TableRequest(BaseModel):
    """The names of a table's columns, and the separator in its cells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_column: str = Field("file", description="column of the photo's file")
    positive_column: str = Field("positive", description="column of the labels that are present")
    negative_column: str = Field("negative", description="column of the labels that are absent")
    separator: str | None = Field(
        None, min_length=1, description="separates the labels in a cell; default: |"
    )

    @property
    def columns(self) -> TableColumns:
        """The columns and the separator."""
        return TableColumns(
            file=self.file_column,
            positive=self.positive_column,
            negative=self.negative_column,
            separator=self.separator,
        )


class DatasetRequest(TableRequest):
    """The location of labelled photos and the settings to load them."""

    manifest: Path = Field(description="CSV or Parquet: file, part, positive, negative")
    photos: Path = Field(description="folder that the manifest's files are in")
    part_column: str = Field("part", description="column of the split")
    names: Path | None = Field(
        None, description="YAML: definitions of the manifest's names, if not label ids"
    )
    workers: int = Field(0, ge=0, description="processes that load photos, for each device")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")

    @property
    def columns(self) -> TableColumns:
        """The columns and the separator."""
        return replace(super().columns, part=self.part_column)
