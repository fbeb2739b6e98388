"""The requests of the commands that evaluate a checkpoint or fit parts of it to photos."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from app.dataset.manifest import Split
from app.dataset.requests import DatasetRequest


class EvaluateRequest(DatasetRequest):
    """Measure a checkpoint on labelled photos."""

    checkpoint: Path = Field(description="checkpoint directory to measure")
    out: Path = Field(description="folder to write the report to")
    split: Split = Field("test", description="the photos to measure on")
    classes: Literal["names", "labels"] = Field(
        "names",
        description="score the manifest's names by their texts, or the label set's labels",
    )
    top: int | None = Field(None, ge=1, description="also report the N most frequent classes")
    chosen: tuple[str, ...] = Field(
        (), description="also report these classes together (repeatable)"
    )
    compare_with: Path | None = Field(
        None, description="a second checkpoint directory to measure on the same photos"
    )
    k: int = Field(10, ge=1, description="K of GAP@K")
    log: Path | None = Field(
        None, description="log.csv of the training run, to plot its logit_scale"
    )
    example: str | None = Field(
        None, description="file to show scores of; default: the one with the most positive labels"
    )
    resamples: int = Field(1000, ge=1, description="bootstrap draws of the intervals")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")


class ThresholdsRequest(DatasetRequest):
    """Fit the thresholds of a checkpoint's labels."""

    checkpoint: Path = Field(description="checkpoint directory to fit")
    out: Path = Field(
        description="checkpoint directory to write; may be the input, which is then replaced"
    )
    soft_targets: Path | None = Field(
        None,
        description="safetensors: a teacher's targets, for serve where no human label is known",
    )
    split: Split = Field("validation", description="the photos to fit on")
    precision: float | None = Field(
        None, ge=0, le=1, description="target precision of serve, instead of the best F1"
    )
    recall_at_least: float | None = Field(
        None,
        description="recall, between 0 and 1, that serve guarantees for each label, instead of "
        "the best F1",
    )
    slack: float = Field(
        0.01, ge=0, le=1, description="loss of F1 that a stricter serve threshold may cost"
    )
    recall: float = Field(0.98, description="target recall of store, all labels together")
    confidence: float = Field(
        0.95, description="confidence that a recall is reached on other photos"
    )
    min_positives: int = Field(
        10,
        ge=1,
        description="a label with fewer known positives or negatives gets the fallback",
    )


class CalibrateLabelsRequest(DatasetRequest):
    """Fit the calibration of a checkpoint's labels."""

    checkpoint: Path = Field(description="checkpoint directory to calibrate")
    out: Path = Field(
        description="checkpoint directory to write; may be the input, which is then replaced"
    )
    split: Split = Field("calibration", description="the photos to fit on")
    min_positives: int = Field(
        10,
        ge=1,
        description="a label with fewer known positives or negatives gets the pooled calibration",
    )


class PromptsRequest(DatasetRequest):
    """Choose each label's text: its name or its description."""

    checkpoint: Path = Field(description="checkpoint directory to choose for")
    out: Path = Field(
        description="checkpoint directory to write; may be the input, which is then replaced"
    )
    split: Split = Field("validation", description="the photos to choose by")
    plot: Path | None = Field(
        None, description="the AP gaps, .png or .svg; default: OUT.prompts.png"
    )
    min_positives: int = Field(
        10,
        ge=1,
        description="a label with fewer known positives or negatives keeps its text",
    )
    level: float = Field(0.95, description="a gap whose interval of this level contains 0 is noise")


class SuspectsRequest(DatasetRequest):
    """Find the photos and labels of a manifest to check by eye."""

    checkpoint: Path = Field(description="checkpoint directory that embeds the photos")
    out: Path = Field(description="folder: suspects.csv, suspects.html, embeddings.safetensors")
    embeddings: Path | None = Field(
        None, description="safetensors: embeddings of the photos, instead of computing them"
    )
    folds: int = Field(5, ge=2, description="folds of the out-of-fold scores")
    min_positives: int = Field(
        10,
        ge=2,
        description="a label with fewer known positives or negatives is not judged",
    )
    sheet: int = Field(100, ge=1, description="suspects on the contact sheet")
    seed: int = Field(0, ge=0, description="seed of the folds")


class KnownPhotosRequest(DatasetRequest):
    """Store embeddings of labelled photos, which new labels are fitted against."""

    checkpoint: Path = Field(description="checkpoint directory that embeds the photos")
    out: Path = Field(
        description="checkpoint directory to write; may be the input, which is then replaced"
    )
    split: Split = Field("validation", description="the photos to store")
    count: int = Field(2000, description="most photos, at most 2000")


class CalibrateZeroShotRequest(DatasetRequest):
    """Calibrate the scores of arbitrary texts."""

    checkpoint: Path = Field(description="checkpoint directory to calibrate")
    out: Path = Field(
        description="checkpoint directory to write; may be the input, which is then replaced"
    )
    split: Split = Field("validation", description="the photos to fit on")
    background: Path | None = Field(
        None, description="file of background texts, one per line, UTF-8; default: everyday nouns"
    )
    prior: float = Field(
        0.3,
        description="share of photos, between 0 and 1, that a text is assumed to fit; lower is "
        "stricter",
    )
    min_positives: int = Field(
        5,
        ge=1,
        description="a text with fewer known positives or negatives is not used",
    )
