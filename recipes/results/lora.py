"""Compares LoRA with training of the complete matrices, also at lower learning rates."""

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from runs import Study, epochs_of, mean_and_spread

from app.core.checkpoint import read_checkpoint
from app.errors import OptionError
from app.evaluation.report import table_to_markdown
from app.training.config import TrainConfig
from app.training.objective import TemperedSigmoid
from app.training.run import adamw, initial_model

RANKS = (4, 16)
RATES = (1, 10)  # multiples of the learning rate: updates of low rank need a higher one
LOWER_RATES = (0.03, 0.1, 0.3)  # of the complete matrices: they forget less
BATCH_SIZE = 16
STEPS = 5


def lines(study: Study, leave_out: Sequence[str]) -> Iterator[str]:
    """Yield a table of accuracy, and one of the cost of a step."""
    methods: dict[str, dict[str, Any]] = {"plain": {}}
    for factor in LOWER_RATES:
        rate = factor * study.learning_rate
        methods[f"plain, learning rate {rate:g}"] = {"learning_rate": rate}
    for rank in RANKS:
        for factor in RATES:
            rate = factor * study.learning_rate
            title = f"LoRA, rank {rank}, learning rate {rate:g}"
            methods[title] = {"lora_rank": rank, "learning_rate": rate}
    rows = [
        [title, *_macro_map_cells(study, title, leave_out, **settings)]
        for title, settings in methods.items()
    ]
    yield "Macro mAP after the last epoch, %:\n\n"
    yield table_to_markdown([["method", "trained classes", "left-out classes"], *rows]) + "\n"
    yield f"\nCost of a step of {BATCH_SIZE} photos with both towers trained:\n\n"
    yield from _cost_table(study)


def _macro_map_cells(
    study: Study, title: str, leave_out: Sequence[str], **changes: Any
) -> list[str]:
    """Train with a method, and format macro mAP of trained and of left-out classes.

    Args:
        study: the common settings; one run per seed.
        title: of the method.
        leave_out: names whose human labels are not used in training.
        changes: fields of `TrainConfig` that differ from the study's settings.

    Returns:
        Both values after the last epoch, in percent.

    Raises:
        OptionError: no left-out class has an AP in the validation split.
    """
    method = title.lower().replace(", ", "-").replace(" ", "-")
    name = "-".join([method, "without", *leave_out])
    ends = [
        epochs_of(study.train(name, seed=seed, leave_out=leave_out, **changes))[-1]
        for seed in study.seeds
    ]
    columns = zip(*(_macro_maps(end, leave_out) for end in ends), strict=True)
    return [mean_and_spread(values) for values in columns]


def _macro_maps(row: Mapping[str, float], leave_out: Sequence[str]) -> tuple[float, float]:
    """Return the mean AP of trained and of left-out classes at the end of an epoch."""
    ap = {
        name.removeprefix("ap_"): value
        for name, value in row.items()
        if name.startswith("ap_") and not np.isnan(value)
    }
    left_out = [value for name, value in ap.items() if name in leave_out]
    if not left_out:
        raise OptionError("leave-out", "no left-out class has an AP in the validation split")
    return fmean(value for name, value in ap.items() if name not in leave_out), fmean(left_out)


def _cost_table(study: Study) -> Iterator[str]:
    methods: dict[str, dict[str, Any]] = {"plain": {}}
    methods |= {f"LoRA, rank {rank}": {"lora_rank": rank} for rank in RANKS}
    rows = []
    context = multiprocessing.get_context("spawn")
    for title, settings in methods.items():
        # A process of its own, because the peak of a process never falls.
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            trained, seconds, peak_bytes = pool.submit(measure_cost, study, settings).result()
        rows.append([title, f"{trained:,}", f"{seconds:.2f} s", f"{peak_bytes / 1e6:,.0f} MB"])
    head = ["method", "trained parameters", "median time of a step", "peak memory"]
    yield table_to_markdown([head, *rows]) + "\n"


def measure_cost(study: Study, settings: Mapping[str, Any]) -> tuple[int, float, int]:
    """Measure optimizer steps on random pixels.

    Args:
        study: the checkpoint, the label texts and the device.
        settings: fields of `TrainConfig`.

    Returns:
        The number of trained parameters, the median time of a step in seconds, and the peak memory
        in bytes: on a GPU what PyTorch allocated, on a CPU what the process needed more than before
        it loaded the model.
    """
    init, data = read_checkpoint(study.init), study.data()
    before = _peak_bytes(study.torch_device)
    config = TrainConfig(batch_size=BATCH_SIZE, **settings)
    model = initial_model(init, config, study.torch_device)
    objective = TemperedSigmoid(model, data, init.labels, config)
    optimizer = adamw(objective, config)
    objective.train()
    step = data.indices("train")[:BATCH_SIZE]
    side = model.image_size_px
    pixels = torch.rand((len(step), 3, side, side), device=study.torch_device)
    times = []
    for _ in range(1 + STEPS):
        begin = perf_counter()
        torch.autograd.backward(objective(pixels, step, step)[0])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if study.torch_device.type == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter() - begin)
    trained = sum(each.numel() for each in objective.parameters() if each.requires_grad)
    return trained, median(times[1:]), _peak_bytes(study.torch_device) - before


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage: its peak includes that of the parent process before the exec.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0])
