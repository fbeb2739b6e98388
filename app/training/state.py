"""An interrupted run's state: all that is needed to go on as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from app.errors import OptionError

History = list[dict[str, float]]


@dataclass(slots=True)
class RunState:
    """Where a run is.

    Attributes:
        step: optimizer steps taken.
        history: rows of the log so far.
        weights: the towers' state dict.
        optimizer: the optimizer's.
    """

    step: int = 0
    history: History = field(default_factory=list)
    weights: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)


def save_state(path: Path, state: RunState, fingerprint: str) -> None:
    """Write a state; a kill on the way leaves the last one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    content = {name: getattr(state, name) for name in RunState.__slots__}
    torch.save({"fingerprint": fingerprint, **content}, partial)
    partial.replace(path)


def load_state(path: Path, fingerprint: str) -> RunState:
    """The state that a run of the same settings left, or a fresh one.

    Args:
        path: the state file, which need not exist.
        fingerprint: of the settings and data of this run.

    Raises:
        OptionError: the state is of a run with other settings or data.
    """
    if not path.exists():
        return RunState()
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content.pop("fingerprint") != fingerprint:
        raise OptionError(
            "out",
            f"{path} is of an interrupted run with other settings, data or initial weights; "
            "start it again with the same ones, or delete that file",
        )
    return RunState(**content)
