"""The saved state of a run, from which an interrupted run is resumed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from app.core.files import atomic_file
from app.errors import DiskError, OptionError

STATE_FILE = "state.pt"
History = list[dict[str, float]]
StateDict = Mapping[str, Any]


class Stateful(Protocol):
    """An object whose state belongs to the state of a run, such as an optimizer."""

    def state_dict(self) -> Any:
        """The state to save."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Restore a saved state."""


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """The best epoch so far.

    Attributes:
        step: the step that ended it.
        value: of the selection metric; NaN where the run has none.
        validation_loss: breaks ties of the value.
    """

    step: int
    value: float
    validation_loss: float


@dataclass(slots=True)
class RunState:
    """The progress of a run.

    Attributes:
        step: optimizer steps taken.
        history: rows of the log so far.
        best: the best epoch so far, whose weights are in a file of their own.
        start: what `validate` measured before the first step; empty until then.
    """

    step: int = 0
    history: History = field(default_factory=list)
    best: BestEpoch | None = None
    start: dict[str, float] = field(default_factory=dict)


def save_state(
    run_folder: Path, state: RunState, stateful: Mapping[str, Stateful], fingerprint: str
) -> None:
    """Write a state atomically, and delete the weights of epochs that are no longer the best.

    Args:
        run_folder: the folder of the run.
        state: the progress of the run.
        stateful: the objects whose state is saved with it, by name.
        fingerprint: of everything that determines the result of this run.

    Raises:
        DiskError: it could not be written, as on a full disk; the previous state is intact.
    """
    content = {
        "fingerprint": fingerprint,
        "step": state.step,
        "history": state.history,
        "best": state.best and astuple(state.best),
        "start": state.start,
        "state_dicts": {name: each.state_dict() for name, each in stateful.items()},
    }
    with atomic_file(run_folder / STATE_FILE) as file:
        torch.save(content, file)
    for path in run_folder.glob("best-*.pt"):
        if state.best is None or path != _best_file(run_folder, state.best):
            path.unlink()


def load_state(run_folder: Path, stateful: Mapping[str, Stateful], fingerprint: str) -> RunState:
    """Restore the state of an interrupted run; without one, return a fresh state.

    Args:
        run_folder: the folder of the run.
        stateful: the objects to restore, by the names under which they were saved.
        fingerprint: of everything that determines the result of this run.

    Raises:
        OptionError: the state is of a run with another fingerprint.
    """
    path = run_folder / STATE_FILE
    if not path.exists():
        return RunState()
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["fingerprint"] != fingerprint:
        raise OptionError(
            "out",
            f"{path} is of an interrupted run with other settings, data, initial weights or "
            "versions of the packages that decode photos; start it again with the same ones, or "
            "delete that file",
        )
    for name, state_dict in content["state_dicts"].items():
        stateful[name].load_state_dict(state_dict)
    best = content["best"] and BestEpoch(*content["best"])
    return RunState(content["step"], content["history"], best, content["start"])


def save_best(run_folder: Path, best: BestEpoch, weights: StateDict) -> None:
    """Write the best epoch's weights; `save_state` deletes those of earlier epochs.

    Raises:
        DiskError: they could not be written, as on a full disk.
    """
    with atomic_file(_best_file(run_folder, best)) as file:
        torch.save(dict(weights), file)


def load_best(run_folder: Path, best: BestEpoch) -> StateDict:
    """Read the best epoch's weights to the CPU."""
    weights: StateDict = torch.load(
        _best_file(run_folder, best), map_location="cpu", weights_only=True
    )
    return weights


def delete_state(run_folder: Path) -> None:
    """Delete a finished run's state and weights; its logs stay."""
    for path in (run_folder / STATE_FILE, *run_folder.glob("best-*.pt")):
        path.unlink(missing_ok=True)


@contextmanager
def result_disk_errors() -> Iterator[None]:
    """Add to a disk error while a result is written that the trained weights are not lost.

    Raises:
        DiskError: the result could not be written; the run's state is unchanged.
    """
    try:
        yield
    except DiskError as error:
        raise DiskError(
            f"{error}. The trained weights are still in the run's folder: start the same command "
            "again when the disk has room"
        ) from error


def _best_file(run_folder: Path, best: BestEpoch) -> Path:
    return run_folder / f"best-{best.step}.pt"
