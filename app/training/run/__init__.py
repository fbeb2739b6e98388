"""A training run: start, loop, validation, state on disk."""

from app.training.run.devices import (
    make_fabric,
)
from app.training.run.loop import (
    fit,
    train,
)
from app.training.run.preparation import (
    launch,
    progress_bars,
    usable_photos,
)
from app.training.run.start import (
    make_inputs,
    run_key,
    starting_model,
)
from app.training.run.state import (
    discard,
    writing_result,
)

__all__ = [
    "discard",
    "fit",
    "launch",
    "make_fabric",
    "make_inputs",
    "progress_bars",
    "run_key",
    "starting_model",
    "train",
    "usable_photos",
    "writing_result",
]
