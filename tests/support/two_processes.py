"""The function that each of two training processes runs; see `test_training_devices`."""

from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from rich.progress import Progress

from app.core.checkpoint import read_checkpoint
from app.dataset.labelled import load_labelled_photos
from app.training.config import TrainConfig
from app.training.run import TrainingResult, train
from tests.support.killing import KilledError, KillingProgress
from tests.support.training_set import LABELS, NAMES

ONE = TrainConfig(learning_rate=1e-3, batch_size=4, epochs=3, save_every_steps=1, best_by="last")
TWO = replace(ONE, micro_batches=2, ema_decay=0.5)


def train_together(fabric: Fabric, folder: Path) -> None:
    """Train in one micro-batch and in two, and in two with a kill; save the results."""
    torch.set_num_threads(1)
    init = read_checkpoint(folder / "init")
    data = load_labelled_photos(folder / "manifest.csv", folder / "photos", LABELS, names=NAMES)
    quiet = Progress(disable=True)
    plain = train(init, data, ONE, folder / "plain", progress=quiet, fabric=fabric)
    whole = train(init, data, TWO, folder / "whole", progress=quiet, fabric=fabric)
    try:
        killing = KillingProgress(after=2)
        train(init, data, TWO, folder / "killed", progress=killing, fabric=fabric)
    except KilledError:
        fabric.barrier()
    resumed = train(init, data, TWO, folder / "killed", progress=quiet, fabric=fabric)
    results = {"plain": plain, "whole": whole, "resumed": resumed}
    for name, trained in results.items():
        torch.save(_content(trained), folder / f"{name}-{fabric.global_rank}.pt")


def _content(trained: TrainingResult) -> dict[str, object]:
    return {"weights": trained.model.clip.state_dict(), "history": trained.history}
