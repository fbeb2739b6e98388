"""The settings of the runs in an output of `finetune.py`."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

# One after the other; of several in one place, the weights were averaged.
Runs = list[list[dict[str, Any]]]


def runs_of(student: Path) -> Runs:
    """Return the settings of the runs that made a `student.safetensors`."""
    with safe_open(student, framework="pt") as file:
        runs: Runs = json.loads(file.metadata()["runs"])
    return runs
