"""The training loop: from a checkpoint and targets to the best epoch's weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from rich.progress import Progress
from torch import Tensor
from torch.optim import Optimizer

from app.core.checkpoint import Checkpoint
from app.core.model import MumicModel
from app.dataset.labelled import LabelledPhotos
from app.errors import OptionError
from app.training.config import TrainConfig
from app.training.data import Inputs
from app.training.objective import Losses, Objective, TemperedSigmoid, merge_low_rank
from app.training.run.averaging import WeightAverage
from app.training.run.devices import create_fabric
from app.training.run.run_log import RunLog
from app.training.run.setup import (
    adamw,
    create_inputs,
    initial_model,
    run_fingerprint,
    trained_parameters,
)
from app.training.run.state import (
    BestEpoch,
    History,
    RunState,
    Stateful,
    load_best,
    load_state,
    save_best,
    save_state,
)
from app.training.run.validation import MEASURES, ranks_below, selection_metric, validate

LOG_EVERY_STEPS = 10


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a run.

    Attributes:
        model: the towers with the best epoch's weights, in evaluation mode.
        history: rows of the log; those that end an epoch have `macro_map`, `gap`, `gap_at_10`,
            `validation_loss` and `ap_NAME` on the validation split.
        best_step: the step that ended the best epoch.
        start: what `validate` measured before the first step.
    """

    model: MumicModel
    history: History
    best_step: int
    start: Mapping[str, float]

    @property
    def measures(self) -> dict[str, float]:
        """`macro_map`, `gap` and `gap_at_10` on the validation split, after the best epoch."""
        return {name: self._best_row[name] for name in MEASURES}

    @property
    def start_measures(self) -> dict[str, float]:
        """`macro_map`, `gap` and `gap_at_10` on the validation split, before the first step."""
        return {name: self.start[name] for name in MEASURES}

    @property
    def epoch_rows(self) -> list[dict[str, float]]:
        """The row of each epoch."""
        return [row for row in self.history if "macro_map" in row]

    @property
    def best_epoch(self) -> int:
        """The number of the best epoch, from 1."""
        return self.epoch_rows.index(self._best_row) + 1

    @property
    def validation(self) -> dict[str, float]:
        """Average precision of each class on the validation split, after the best epoch."""
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
) -> TrainingResult:
    """Fine-tune both towers on the tempered-sigmoid loss (section 2).

    A run that was killed and is started again with the same arguments resumes from its last saved
    step. It ends with the same weights as an uninterrupted run.

    Args:
        init: the initial weights.
        data: photos, texts and targets.
        config: the settings.
        run_folder: the folder of the run's state and logs.
        progress: shows the time left.
        device: the device to train on; the CPU by default.
        feature_cache: with `freeze_image`, a file of features that several runs share.
        fabric: launched devices, instead of one device.
        pixels: (N, 3, S, S) uint8, the decoded photos, if they are in memory.

    Raises:
        OptionError: the state in `run_folder` is of another run, or settings contradict each
            other.
        DataError: a photo cannot be used.
        DiskError: the state cannot be written, as on a full disk; the previous one is intact.
    """
    fabric = fabric or create_fabric(device or torch.device("cpu"), config.precision)
    model = initial_model(init, config, fabric.device)
    cache = feature_cache or run_folder / "features.safetensors"
    inputs = create_inputs(
        model, init, data, config, cache, progress=progress, fabric=fabric, pixels=pixels
    )
    objective = TemperedSigmoid(model, data, init.labels, config)
    if fabric.is_global_zero:
        progress.console.print(trained_parameters(objective), markup=False)
    fingerprint = run_fingerprint(init, data, config, {"objective": "tempered sigmoid"})
    history, best, start = run_loop(
        objective, inputs, data, config, run_folder, fingerprint, progress=progress, fabric=fabric
    )
    merge_low_rank(model)
    return TrainingResult(model, history, best.step, start)


def run_loop(
    objective: Objective,
    inputs: Inputs,
    data: LabelledPhotos,
    config: TrainConfig,
    run_folder: Path,
    fingerprint: str,
    *,
    progress: Progress,
    fabric: Fabric,
) -> tuple[History, BestEpoch, dict[str, float]]:
    """Minimise an objective, then load the best epoch's weights and set evaluation mode.

    Args:
        objective: the trained module with its loss, on its device.
        inputs: the source of batches.
        data: the photos and their splits.
        config: the settings.
        run_folder: the folder of the run's state and logs.
        fingerprint: of everything that determines the result; a state with another fingerprint
            is not resumed.
        progress: shows the time left.
        fabric: one device, or several that are launched.

    Returns:
        The rows of the log, the best epoch, and what `validate` measured before the first step.

    Raises:
        OptionError, DataError, DiskError: as `train`.
    """
    metric = selection_metric(config.best_by, data)
    train_indices = data.indices("train")
    _check_micro_batches(train_indices, config, fabric)
    total_steps = count_steps(data, config)
    steps_per_epoch = total_steps // config.epochs

    # Resume, or start from step 0.
    optimizer = adamw(objective, config)
    average = WeightAverage(objective.weights, config.ema_decay)
    stateful: dict[str, Stateful] = {
        "weights": objective.weights,
        "optimizer": optimizer,
        "average": average,
        "scaler": fabric.strategy.precision,
    }
    state = load_state(run_folder, stateful, fingerprint)
    network, fabric_optimizer = fabric.setup(objective, optimizer)
    state.start = state.start or _measure_start(objective, data, inputs, fabric)
    task = progress.add_task("training", total=total_steps, completed=state.step)

    with RunLog(run_folder, rows=len(state.history)) as log:
        for epoch in range(state.step // steps_per_epoch, config.epochs):
            objective.train()
            steps = epoch_batches(train_indices, config, epoch)[state.step % steps_per_epoch :]
            micro_batches = [_micro_batches(step, config, fabric) for step in steps]
            loaded = inputs.batches([each for step in micro_batches for each in step], epoch)

            for step, micro_batches_of_step in zip(steps, micro_batches, strict=True):
                # Seeded per step, so that dropout repeats in a resumed run.
                torch.manual_seed(hash((config.seed, state.step, fabric.global_rank)))
                learning_rate = config.learning_rate_at(state.step, total_steps)
                _set_learning_rate(optimizer, learning_rate)

                losses = _backward(network, loaded, step, micro_batches_of_step, fabric)
                fabric_optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                objective.after_step()
                average.update()
                state.step += 1
                progress.update(task, completed=state.step)

                ends_epoch = state.step % steps_per_epoch == 0
                if ends_epoch or state.step % LOG_EVERY_STEPS == 0:
                    row = {"step": state.step, "learning_rate": learning_rate}
                    row |= _reduce(losses, fabric) | objective.measures()
                    _check_finite(row)
                    state.history.append(row)
                    progress.update(task, description=f"loss {row['loss']:.3f}")
                if ends_epoch:
                    if fabric.is_global_zero:
                        with average.applied():
                            row |= validate(objective, data, inputs)
                            _save_if_best(state, row, metric, objective, run_folder)
                    measured, state.best = fabric.broadcast((row, state.best))
                    row |= measured
                saves = ends_epoch or state.step % config.save_every_steps == 0
                if saves and fabric.is_global_zero:
                    log.write(state.history)
                    save_state(run_folder, state, stateful, fingerprint)

    assert state.best is not None  # every run ends an epoch
    objective.weights.load_state_dict(load_best(run_folder, state.best))
    objective.eval()
    fabric.barrier()  # every process has read the weights before one deletes them
    return state.history, state.best, state.start


def count_steps(data: LabelledPhotos, config: TrainConfig) -> int:
    """The number of optimizer steps of a run."""
    return config.epochs * len(epoch_batches(data.indices("train"), config, epoch=0))


def _measure_start(
    objective: Objective, data: LabelledPhotos, inputs: Inputs, fabric: Fabric
) -> dict[str, float]:
    measured = validate(objective, data, inputs) if fabric.is_global_zero else {}
    return fabric.broadcast(measured)


def epoch_batches(indices: Tensor, config: TrainConfig, epoch: int) -> list[Tensor]:
    """The photos of each step of an epoch, shuffled by seed and epoch.

    An incomplete last batch is dropped, unless it is the only one.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    shuffled = indices[torch.randperm(len(indices), generator=generator)]
    batches = list(torch.split(shuffled, config.batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < config.batch_size else batches


def _micro_batches(step: Tensor, config: TrainConfig, fabric: Fabric) -> tuple[Tensor, ...]:
    """This device's share of a step, in micro-batches."""
    share = step[fabric.global_rank :: fabric.world_size]
    return torch.tensor_split(share, config.micro_batches)


def _check_micro_batches(train_indices: Tensor, config: TrainConfig, fabric: Fabric) -> None:
    photos = min(len(train_indices), config.batch_size)
    if photos < fabric.world_size * config.micro_batches:
        raise OptionError(
            "parts",
            f"a step of {photos} photos cannot be split into {config.micro_batches} micro-batches "
            f"on each of {fabric.world_size} devices; take fewer parts or a larger batch-size",
        )


def _set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def _backward(
    network: _FabricModule,
    loaded: Iterator[Tensor],
    step: Tensor,
    micro_batches: Sequence[Tensor],
    fabric: Fabric,
) -> list[Losses]:
    """Accumulate the gradients of a step's micro-batches; devices synchronise on the last one."""
    losses = []
    for i, indices in enumerate(micro_batches, start=1):
        with fabric.no_backward_sync(network, enabled=i < len(micro_batches)):
            loss, named = network(next(loaded), indices, step)
            # DDP averages gradients over devices, but each loss is a share of the step's sum.
            fabric.backward(loss * fabric.world_size)
        losses.append(named)
    return losses


def _reduce(losses: Sequence[Losses], fabric: Fabric) -> dict[str, float]:
    """Sum the named losses over the micro-batches of all devices."""
    local = torch.stack([torch.stack(list(named.values())) for named in losses]).sum(dim=0)
    total = cast(Tensor, fabric.all_reduce(local, reduce_op="sum"))
    return dict(zip(losses[0], total.tolist(), strict=True))


def _check_finite(row: Mapping[str, float]) -> None:
    if not math.isfinite(row["loss"]):
        raise OptionError(
            "learning-rate",
            f"the loss is {row['loss']} at step {row['step']}; take a lower one, or bf16 or fp32 "
            "instead of fp16",
        )


def _save_if_best(
    state: RunState,
    row: Mapping[str, float],
    metric: str | None,
    objective: Objective,
    run_folder: Path,
) -> None:
    if state.best is None or not ranks_below(row, state.best, metric):
        value = row[metric] if metric else math.nan
        state.best = BestEpoch(state.step, value, row["validation_loss"])
        save_best(run_folder, state.best, objective.weights.state_dict())
