"""An interrupted run's state: all that is needed to go on as if nothing had happened."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from app.core.files import atomic_file
from app.errors import DiskError, OptionError

STATE_FILE = "state.pt"
History = list[dict[str, float]]
Weights = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch so far.

    Attributes:
        step: the step that ended it.
        value: of the metric that chooses; NaN where there is none.
    """

    step: int
    value: float


@dataclass(slots=True)
class RunState:
    """Where a run is.

    Attributes:
        step: optimizer steps taken.
        history: rows of the log so far.
        best: the best epoch so far, whose weights are in a file of their own.
        parts: state dicts by name: of the weights, the optimizer and what else goes on.
    """

    step: int = 0
    history: History = field(default_factory=list)
    best: Best | None = None
    parts: dict[str, Weights] = field(default_factory=dict)


def save_state(run_folder: Path, state: RunState, fingerprint: str) -> None:
    """Write a state; whatever happens on the way, the last one stays whole.

    Raises:
        DiskError: it could not be written, as on a full disk.
    """
    content = {name: getattr(state, name) for name in RunState.__slots__}
    content["best"] = state.best and (state.best.step, state.best.value)
    with atomic_file(run_folder / STATE_FILE) as file:
        torch.save({"fingerprint": fingerprint, **content}, file)
    for path in run_folder.glob("best-*.pt"):
        if state.best is None or path != _best_file(run_folder, state.best):
            path.unlink()


def load_state(run_folder: Path, fingerprint: str) -> RunState:
    """The state that a run of the same settings left, or a fresh one.

    Args:
        run_folder: where the state is, if there is one.
        fingerprint: of the settings and data of this run.

    Raises:
        OptionError: the state is of a run with other settings or data.
    """
    path = run_folder / STATE_FILE
    if not path.exists():
        return RunState()
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content.pop("fingerprint") != fingerprint:
        raise OptionError(
            "out",
            f"{path} is of an interrupted run with other settings, data or initial weights; "
            "start it again with the same ones, or delete that file",
        )
    content["best"] = content["best"] and Best(*content["best"])
    return RunState(**content)


def save_best(run_folder: Path, best: Best, weights: Weights) -> None:
    """Write the best epoch's weights; those of earlier ones go when the next state is saved.

    Raises:
        DiskError: they could not be written, as on a full disk.
    """
    with atomic_file(_best_file(run_folder, best)) as file:
        torch.save(dict(weights), file)


def load_best(run_folder: Path, best: Best) -> Weights:
    """The best epoch's weights, on the CPU."""
    weights: Weights = torch.load(
        _best_file(run_folder, best), map_location="cpu", weights_only=True
    )
    return weights


def discard(run_folder: Path) -> None:
    """Delete a finished run's state and weights; its logs stay."""
    for path in (run_folder / STATE_FILE, *run_folder.glob("best-*.pt")):
        path.unlink(missing_ok=True)


@contextmanager
def writing_result() -> Iterator[None]:
    """Around the writing of a run's result: where its weights are when it fails is told too.

    Raises:
        DiskError: it could not be written; the run's state is as it was.
    """
    try:
        yield
    except DiskError as error:
        raise DiskError(
            f"{error}. The trained weights are kept in the run's folder: start the same command "
            "again when there is room"
        ) from error


def _best_file(run_folder: Path, best: Best) -> Path:
    return run_folder / f"best-{best.step}.pt"
