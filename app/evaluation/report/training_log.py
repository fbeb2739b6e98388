"""Reads the log of a training run."""

import csv
from dataclasses import dataclass
from pathlib import Path

from app.errors import DataError


@dataclass(frozen=True, slots=True)
class LogitScales:
    """logit_scale over a training run.

    Attributes:
        log: the log file.
        steps: optimizer steps, at least one.
        values: ln(1 / temperature) after each step.
    """

    log: Path
    steps: list[float]
    values: list[float]


def read_logit_scales(path: Path) -> LogitScales:
    """Read logit_scale from the log of a run.

    Args:
        path: `log.csv` of a run's folder.

    Raises:
        DataError: the file cannot be read, is empty or lacks a column, or a cell is not a number.
    """
    scales = LogitScales(path, [], [])
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            for column in ("step", "logit_scale"):
                if column not in (reader.fieldnames or ()):
                    raise DataError(f"{path}: no column {column}; give a training run's log.csv")
            for row in reader:
                try:
                    scales.steps.append(float(row["step"]))
                    scales.values.append(float(row["logit_scale"]))
                except (TypeError, ValueError) as error:
                    raise DataError(
                        f"{path}: row {reader.line_num}, columns step and logit_scale: {error}"
                    ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not scales.steps:
        raise DataError(f"{path}: has no logged step yet")
    return scales
