"""The log of a training run, read back."""

import csv
from pathlib import Path

from app.errors import DataError


def read_logit_scale(path: Path) -> tuple[list[float], list[float]]:
    """The steps of a run and logit_scale after each of them.

    Args:
        path: `log.csv` of a run's folder.

    Returns:
        Steps and values, equally many, at least one.

    Raises:
        DataError: it cannot be read, or a row or column is not what it should be.
    """
    steps, scales = [], []
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            for column in ("step", "logit_scale"):
                if column not in (reader.fieldnames or ()):
                    raise DataError(f"{path}: no column {column}; give a training run's log.csv")
            for row in reader:
                try:
                    steps.append(float(row["step"]))
                    scales.append(float(row["logit_scale"]))
                except (TypeError, ValueError) as error:
                    raise DataError(
                        f"{path}: row {reader.line_num}, columns step and logit_scale: {error}"
                    ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not steps:
        raise DataError(f"{path}: holds no step yet")
    return steps, scales
