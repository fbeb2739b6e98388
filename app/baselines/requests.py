"""The requests of `mumic baseline asl` and `mumic compare`."""

from pathlib import Path

from pydantic import Field

from app.dataset.manifest import Split
from app.dataset.requests import DatasetRequest
from app.training.requests import FullRunRequest


class AslRequest(FullRunRequest):
    """Train an ASL classifier on labelled photos."""

    out: Path = Field(description="directory to write")
    epochs: int = Field(18, ge=1)
    learning_rate: float = Field(1e-4, ge=0)
    gamma_negative: float = Field(4.0, ge=0, description="focusing exponent of negatives")
    gamma_positive: float = Field(0.0, ge=0, description="focusing exponent of positives")
    clip: float = Field(
        0.05, ge=0, le=0.99, description="negatives below this probability have no loss"
    )


class CompareRequest(DatasetRequest):
    """Measure several models on the same labelled photos."""

    models: tuple[str, ...] = Field(
        description="checkpoints; SCORING is sigmoid (default), pair, softmax or calibrated"
    )
    split: Split = Field("test", description="the photos to measure on")
    top: int | None = Field(None, ge=1, description="also report the N classes with most positives")
    as_json: bool = Field(False, description="JSON, with intervals per class")
    resamples: int = Field(1000, ge=1, description="bootstrap draws")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")
