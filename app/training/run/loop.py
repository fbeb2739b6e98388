"""The training loop: from a checkpoint and targets to better weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from rich.progress import Progress
from torch import Tensor

from app.core.checkpoint import Checkpoint
from app.core.model import MumicModel
from app.dataset.labelled import LabelledPhotos
from app.errors import OptionError
from app.training.config import TrainConfig
from app.training.data import Inputs
from app.training.objective import Costs, Objective, TemperedSigmoid
from app.training.run.averaging import Average
from app.training.run.devices import make_fabric
from app.training.run.run_log import RunLog
from app.training.run.start import adamw, make_inputs, run_key, starting_model
from app.training.run.state import (
    Best,
    History,
    RunState,
    load_best,
    load_state,
    save_best,
    save_state,
)
from app.training.run.validation import choosing_metric, validate

LOG_EVERY_STEPS = 10


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gives.

    Attributes:
        model: the towers of the best epoch, in evaluation mode.
        history: rows of the log; those that end an epoch have `macro_map`, `gap`, `gap_at_10` and
            `ap_NAME` on the part validation.
        best_step: the step that ended the best epoch.
    """

    model: MumicModel
    history: History
    best_step: int

    @property
    def measures(self) -> dict[str, float]:
        """`macro_map`, `gap` and `gap_at_10` on the part validation, after the best epoch."""
        return {name: self._best_row[name] for name in ("macro_map", "gap", "gap_at_10")}

    @property
    def validation(self) -> dict[str, float]:
        """Average precision of each class on the part validation, after the best epoch."""
        return {k.removeprefix("ap_"): v for k, v in self._best_row.items() if k.startswith("ap_")}

    @property
    def _best_row(self) -> dict[str, float]:
        return next(row for row in self.history if row["step"] == self.best_step)


def train(
    init: Checkpoint,
    data: LabelledPhotos,
    config: TrainConfig,
    run_folder: Path,
    *,
    progress: Progress,
    device: torch.device | None = None,
    feature_cache: Path | None = None,
    fabric: Fabric | None = None,
    pixels: Tensor | None = None,
) -> Trained:
    """Fine-tune both towers on the tempered-sigmoid loss (section 2).

    A run that was killed goes on from its last saved step when it is started again with the same
    arguments, and ends with the weights that it would have had.

    Args:
        init: where the weights start.
        data: photos, texts and targets.
        config: the settings.
        run_folder: where the state of the run and its logs are kept.
        progress: where the time left is shown.
        device: where to train; the CPU by default.
        feature_cache: with `freeze_image`, where the features are kept from run to run.
        fabric: launched devices, instead of one device.
        pixels: (N, 3, S, S) uint8, the photos where they are decoded already.

    Raises:
        OptionError: the state in `run_folder` is of another run, or settings do not fit together.
        DataError: a photo cannot be used.
        DiskError: the state cannot be written, as on a full disk; the last one is whole.
    """
    fabric = fabric or make_fabric(device or torch.device("cpu"), config.precision)
    model = starting_model(init, config, fabric.device)
    cache = feature_cache or run_folder / "features.safetensors"
    inputs = make_inputs(
        model, init, data, config, cache, progress=progress, fabric=fabric, pixels=pixels
    )
    objective = TemperedSigmoid(model, data, config)
    key = run_key(init, data, config, {"objective": "tempered sigmoid"})
    history, best = fit(
        objective, inputs, data, config, run_folder, key, progress=progress, fabric=fabric
    )
    return Trained(model, history, best.step)


def fit(
    objective: Objective,
    inputs: Inputs,
    data: LabelledPhotos,
    config: TrainConfig,
    run_folder: Path,
    key: str,
    *,
    progress: Progress,
    fabric: Fabric,
) -> tuple[History, Best]:
    """Minimise an objective; afterwards it has the best epoch's weights, in evaluation mode.

    Args:
        objective: what is trained, on its device.
        inputs: where photos come from.
        data: which photos are in which part.
        config: the settings.
        run_folder: where the state of the run and its logs are kept.
        key: of all that decides the outcome; a state with another key is not continued.
        progress: where the time left is shown.
        fabric: one device, or several that are launched.

    Returns:
        The rows of the log, and the best epoch.

    Raises:
        OptionError, DataError, DiskError: as `train`.
    """
    metric = choosing_metric(config.best_by, data)
    train_indices = data.indices("train")
    steps_per_epoch = len(epoch_batches(train_indices, config, epoch=0))
    total_steps = config.epochs * steps_per_epoch
    _refuse_unshareable(train_indices, config, fabric)

    state = load_state(run_folder, key)
    optimizer, average = adamw(objective, config), Average(objective.weights, config.ema_decay)
    resumable: dict[str, Any] = {
        "weights": objective.weights,
        "optimizer": optimizer,
        "average": average,
        "scaler": fabric.strategy.precision,
    }
    for name, content in state.parts.items():
        resumable[name].load_state_dict(content)
    network, stepper = fabric.setup(objective, optimizer)
    task = progress.add_task("training", total=total_steps, completed=state.step)

    with RunLog(run_folder, rows=len(state.history)) as log:
        for epoch in range(state.step // steps_per_epoch, config.epochs):
            objective.train()
            steps = epoch_batches(train_indices, config, epoch)[state.step % steps_per_epoch :]
            parts = [_parts(step, config, fabric) for step in steps]
            batches = inputs.batches([part for step in parts for part in step], epoch)
            for step, own_parts in zip(steps, parts, strict=True):
                # Dropout, where a tower has it, repeats in a resumed run.
                torch.manual_seed(hash((config.seed, state.step, fabric.global_rank)))
                learning_rate = config.learning_rate_at(state.step, total_steps)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate
                costs = _backward(network, batches, step, own_parts, fabric)
                stepper.step()
                optimizer.zero_grad(set_to_none=True)
                objective.after_step()
                average.update()
                state.step += 1
                progress.update(task, completed=state.step)

                ends_epoch = state.step % steps_per_epoch == 0
                if state.step % LOG_EVERY_STEPS == 0 or ends_epoch:
                    row = {"step": state.step, "learning_rate": learning_rate}
                    row |= _summed(costs, fabric) | objective.measures()
                    progress.update(task, description=f"loss {row['loss']:.3f}")
                    _refuse_divergence(row)
                    state.history.append(row)
                if ends_epoch:
                    if fabric.is_global_zero:
                        with average.in_place():
                            row |= validate(objective.scores, data, inputs)
                            _keep_if_best(state, row, metric, objective, run_folder)
                    measured, state.best = fabric.broadcast((row, state.best))
                    row |= measured
                saves = ends_epoch or state.step % config.save_every_steps == 0
                if saves and fabric.is_global_zero:
                    state.parts = {name: part.state_dict() for name, part in resumable.items()}
                    log.write(state.history)
                    save_state(run_folder, state, key)

    assert state.best is not None  # every run ends an epoch
    objective.weights.load_state_dict(load_best(run_folder, state.best))
    objective.eval()
    fabric.barrier()  # all have read it before one deletes it
    return state.history, state.best


def _backward(
    network: _FabricModule,
    batches: Iterator[Tensor],
    step: Tensor,
    parts: Sequence[Tensor],
    fabric: Fabric,
) -> list[Costs]:
    """Add up the gradients of this device's parts of a step; devices meet at the last."""
    costs = []
    for i, part in enumerate(parts, start=1):
        with fabric.no_backward_sync(network, enabled=i < len(parts)):
            cost, named = network(next(batches), part, step)
            # Gradients are averaged over devices; their shares of the cost add up.
            fabric.backward(cost * fabric.world_size)
        costs.append(named)
    return costs


def epoch_batches(indices: Tensor, config: TrainConfig, epoch: int) -> list[Tensor]:
    """The photos of each step of an epoch, in an order that seed and epoch decide.

    The photos that do not fill a last batch sit the epoch out.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    shuffled = indices[torch.randperm(len(indices), generator=generator)]
    batches = list(torch.split(shuffled, config.batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < config.batch_size else batches


def _parts(step: Tensor, config: TrainConfig, fabric: Fabric) -> tuple[Tensor, ...]:
    """What this device does of a step, part by part."""
    share = step[fabric.global_rank :: fabric.world_size]
    return torch.tensor_split(share, config.parts)


def _keep_if_best(
    state: RunState,
    row: Mapping[str, float],
    metric: str | None,
    objective: Objective,
    run_folder: Path,
) -> None:
    value = row[metric] if metric else math.nan
    if state.best is None or not value <= state.best.value:
        state.best = Best(state.step, value)
        save_best(run_folder, state.best, objective.weights.state_dict())


def _refuse_unshareable(train_indices: Tensor, config: TrainConfig, fabric: Fabric) -> None:
    photos = min(len(train_indices), config.batch_size)
    if photos < fabric.world_size * config.parts:
        raise OptionError(
            "parts",
            f"a step of {photos} photos has not one for each of {config.parts} parts on "
            f"{fabric.world_size} devices; take fewer parts or a larger batch-size",
        )


def _refuse_divergence(row: dict[str, float]) -> None:
    if not math.isfinite(row["loss"]):
        raise OptionError(
            "learning-rate",
            f"the loss is {row['loss']} at step {row['step']}; take a lower one, or bf16 or fp32 "
            "instead of fp16",
        )


def _summed(costs: Sequence[Costs], fabric: Fabric) -> dict[str, float]:
    """The named costs of a whole step, from its parts on all devices."""
    local = torch.stack([torch.stack(list(named.values())) for named in costs]).sum(dim=0)
    total = cast(Tensor, fabric.all_reduce(local, reduce_op="sum"))
    return dict(zip(costs[0], total.tolist(), strict=True))
