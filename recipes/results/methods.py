"""Compares the optional methods of `mumic train` with training without them."""

import multiprocessing
import random
import resource
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from runs import Study, best_epoch, epochs_of, mean_and_spread

from app.core.checkpoint import read_checkpoint
from app.dataset.manifest import load_names, names_from_labels, read_manifest, write_manifest
from app.errors import OptionError
from app.evaluation.metrics import sigmoid
from app.evaluation.report import table_to_markdown
from app.training.config import TrainConfig
from app.training.objective import TemperedSigmoid
from app.training.run import adamw, initial_model

LORA_RANKS = (4, 16)
LORA_RATES = (1, 10)  # multiples of the learning rate: updates of low rank need a higher one
L2_SP_WEIGHTS = (0.1, 1, 10)
HIERARCHY_WEIGHTS = (0.1, 1)
UNKNOWN = ("ignore", "negative", "em")
PLAIN = "mumic"  # the runs of the other studies
COST_BATCH_SIZE = 16
COST_STEPS = 5

Settings = Mapping[str, Any]


def lines(study: Study, leave_out: Sequence[str], label_share: float) -> Iterator[str]:
    """Yield a table of each method: LoRA and L2-SP, unknown pairs, parents, cost."""
    yield "LoRA and L2-SP, after the last epoch, %:\n\n"
    yield from _adaptation_table(study, leave_out)
    yield "\nLoss of unknown pairs, macro mAP of the best epoch, %:\n\n"
    yield from _unknown_table(study, label_share)
    yield f"\nPenalty on labels that are more probable than their parents, {study.split}, %:\n\n"
    yield from _hierarchy_table(study)
    yield f"\nCost of a step of {COST_BATCH_SIZE} photos with both towers trained:\n\n"
    yield from _cost_table(study)


def _adaptation_table(study: Study, leave_out: Sequence[str]) -> Iterator[str]:
    """Yield macro mAP of trained and of left-out classes, which show what training forgets."""
    methods: dict[str, Settings] = {"plain": {}}
    for rank in LORA_RANKS:
        for factor in LORA_RATES:
            rate = factor * study.learning_rate
            title = f"LoRA, rank {rank}, learning rate {rate:g}"
            methods[title] = {"lora_rank": rank, "learning_rate": rate}
    for weight in L2_SP_WEIGHTS:
        methods[f"L2-SP, weight {weight:g}"] = {"l2_sp": float(weight)}
    rows = []
    for title, settings in methods.items():
        name = "-".join([_slug(title), "without", *leave_out])
        ends = [
            epochs_of(study.train(name, seed=seed, leave_out=leave_out, **settings))[-1]
            for seed in study.seeds
        ]
        columns = [_macro_map_by_class(end, leave_out) for end in ends]
        rows.append([title, *(mean_and_spread(values) for values in zip(*columns, strict=True))])
    yield table_to_markdown([["method", "trained classes", "left-out classes"], *rows]) + "\n"


def _macro_map_by_class(row: Mapping[str, float], leave_out: Sequence[str]) -> tuple[float, float]:
    """Return the mean AP of trained and of left-out classes at the end of an epoch."""
    ap = {
        name.removeprefix("ap_"): value
        for name, value in row.items()
        if name.startswith("ap_") and not np.isnan(value)
    }
    left_out = [value for name, value in ap.items() if name in leave_out]
    if not left_out:
        raise OptionError("leave-out", "no left-out class has an AP in the split validation")
    return fmean(value for name, value in ap.items() if name not in leave_out), fmean(left_out)


def _unknown_table(study: Study, label_share: float) -> Iterator[str]:
    rows = []
    for title, shares in (
        (f"{100 * label_share:g} %", (label_share, label_share)),
        ("100 % of the positives", (1.0, 0.0)),
        ("100 %", (1.0, 1.0)),
    ):
        for unknown in UNKNOWN:
            if unknown == "ignore" and not shares[1]:
                continue  # without a negative, nothing is learned
            kept = "-".join(f"{share:g}" for share in shares)
            plain = shares == (1, 1) and unknown == "ignore"
            name = PLAIN if plain else f"unknown-{unknown}-labels-{kept}"
            runs = [
                best_epoch(
                    replace(study, manifest=thinned_manifest(study, *shares, seed)).train(
                        name, seed=seed, unknown=unknown
                    )
                )
                for seed in study.seeds
            ]
            macro_map = mean_and_spread([run["macro_map"] for run in runs])
            rows.append([title, unknown, macro_map])
    yield table_to_markdown([["train labels kept", "--unknown", "macro mAP"], *rows]) + "\n"


def thinned_manifest(study: Study, positives: float, negatives: float, seed: int) -> Path:
    """Write the manifest with each label of a train photo kept with a probability.

    Args:
        study: its manifest is thinned.
        positives: the probability of a positive.
        negatives: the probability of a negative; with 1 for both, the manifest itself is returned.
        seed: of the labels that are kept.
    """
    if positives == negatives == 1:
        return study.manifest
    labels = read_checkpoint(study.init).labels
    names = load_names(study.names, labels) if study.names else names_from_labels(labels)

    def thin(file: str, given: frozenset[str], share: float) -> frozenset[str]:
        return frozenset(
            name for name in given if random.Random(f"{seed} {file} {name}").random() < share
        )

    rows = read_manifest(study.manifest, study.photos, names)
    path = study.work / f"labels-{positives:g}-{negatives:g}-seed-{seed}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(
        path,
        [
            replace(
                row,
                positive=thin(row.file, row.positive, positives),
                negative=thin(row.file, row.negative, negatives),
            )
            if row.split == "train"
            else row
            for row in rows
        ],
    )
    return path


def _hierarchy_table(study: Study) -> Iterator[str]:
    """Yield macro mAP, and how often a label is more probable than its parent."""
    labels = read_checkpoint(study.init).labels
    edges = [
        (labels.index(label.id), labels.index(parent))
        for label in labels.labels
        for parent in label.parents
    ]
    if not edges:
        raise OptionError("init", f"{study.init}: no label of the label set has parents")
    children, parents = np.array(edges).T
    rows = []
    for weight in (0.0, *HIERARCHY_WEIGHTS):
        name = f"hierarchy-penalty-{weight:g}" if weight else PLAIN
        runs = {
            str(seed): study.train(name, seed=seed, hierarchy_penalty=float(weight))
            for seed in study.seeds
        }
        scored = study.score(runs, by_label=True)
        excess = []
        for logits in scored.logits.values():
            p = sigmoid(logits)
            excess.append(p[:, children] - p[:, parents])
        rows.append(
            [
                f"{weight:g}",
                mean_and_spread([best_epoch(out)["macro_map"] for out in runs.values()]),
                mean_and_spread([float(np.mean(each > 0)) for each in excess]),
                mean_and_spread([float(np.mean(each > 0.1)) for each in excess]),
            ]
        )
    head = ["weight", "macro mAP on validation", "child above parent", "by more than 0.1"]
    yield table_to_markdown([head, *rows]) + "\n"


def _cost_table(study: Study) -> Iterator[str]:
    methods: dict[str, Settings] = {"plain": {}}
    methods |= {f"LoRA, rank {rank}": {"lora_rank": rank} for rank in LORA_RANKS}
    rows = []
    context = multiprocessing.get_context("spawn")
    for title, settings in methods.items():
        # A process of its own, because the peak of a process never falls.
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            trained, seconds, peak_bytes = pool.submit(measure_cost, study, settings).result()
        rows.append([title, f"{trained:,}", f"{seconds:.2f} s", f"{peak_bytes / 1e6:,.0f} MB"])
    head = ["method", "trained parameters", "median time of a step", "peak memory"]
    yield table_to_markdown([head, *rows]) + "\n"


def measure_cost(study: Study, settings: Settings) -> tuple[int, float, int]:
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
    config = TrainConfig(batch_size=COST_BATCH_SIZE, **settings)
    model = initial_model(init, config, study.torch_device)
    objective = TemperedSigmoid(model, data, init.labels, config)
    optimizer = adamw(objective, config)
    objective.train()
    step = data.indices("train")[:COST_BATCH_SIZE]
    side = model.image_size_px
    pixels = torch.rand((len(step), 3, side, side), device=study.torch_device)
    times = []
    for _ in range(1 + COST_STEPS):
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
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB on Linux


def _slug(title: str) -> str:
    return title.lower().replace(", ", "-").replace(" ", "-")
