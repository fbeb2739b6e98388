"""A training run: setup, loop, validation, saved state."""

from app.training.run.averaging import WeightAverage
from app.training.run.devices import create_fabric
from app.training.run.fine_tuning import run_training
from app.training.run.loop import TrainingResult, run_loop, train
from app.training.run.preparation import (
    decodable_photos,
    launch_fabric,
    load_training_data,
    print_warnings,
    progress_bars,
)
from app.training.run.setup import adamw, create_inputs, initial_model, run_fingerprint
from app.training.run.state import delete_state, result_disk_errors
from app.training.run.validation import evaluate, metric_text

__all__ = [
    "TrainingResult",
    "WeightAverage",
    "adamw",
    "create_fabric",
    "create_inputs",
    "decodable_photos",
    "delete_state",
    "evaluate",
    "initial_model",
    "launch_fabric",
    "load_training_data",
    "metric_text",
    "print_warnings",
    "progress_bars",
    "result_disk_errors",
    "run_fingerprint",
    "run_loop",
    "run_training",
    "train",
]
