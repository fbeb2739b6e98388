"""What a run prints: a warning before few steps, and which epoch it kept."""

import shlex
from collections.abc import Sequence

from app.dataset.labelled import LabelledPhotos
from app.dataset.requests import DatasetRequest
from app.training.config import TrainConfig
from app.training.requests import TrainRequest
from app.training.run.loop import TrainingResult, count_steps
from app.training.run.validation import metric_text, selection_metric

METRIC_NAMES = {"macro_map": "macro mAP", "gap_at_10": "GAP@10"}
# AdamW moves a weight by at most about the learning rate per step, so 100 steps at the default of
# 1e-5 move it by less than 0.001, a small part of its usual size. Its mean of gradients spans ten
# steps: fewer are not enough at any learning rate.
SMALL_CHANGE = 0.001
FEW_STEPS = 10
FEW_PHOTOS_OPTIONS = (
    "lower --batch-size, raise --epochs and --learning-rate, and with few photos use "
    "--freeze-image --freeze-text (docs/how-to/train.md, A hundred photos on a CPU)"
)


def few_steps_warning(data: LabelledPhotos, config: TrainConfig) -> Sequence[str]:
    """Return a warning if a run has too few optimizer steps to change the weights, or nothing.

    Args:
        data: the photos of the run.
        config: its settings.
    """
    steps = count_steps(data, config)
    if steps >= FEW_STEPS and steps * config.learning_rate >= SMALL_CHANGE:
        return []
    photos = len(data.indices("train"))
    return [
        f"{photos} photos at --batch-size {config.batch_size} and --epochs {config.epochs} are "
        f"{steps} optimizer steps, which hardly change the weights at --learning-rate "
        f"{config.learning_rate:g}: {FEW_PHOTOS_OPTIONS}"
    ]


def kept_epoch_lines(
    result: TrainingResult, data: LabelledPhotos, config: TrainConfig
) -> tuple[list[str], list[str]]:
    """Return lines about the kept epoch and the start, and warnings if it is not better.

    Args:
        result: of the run.
        data: its photos.
        config: its settings.
    """
    selected_by = selection_metric(config.best_by, data)
    shown = ["macro_map"] if selected_by in (None, "macro_map") else ["macro_map", selected_by]
    kept, start = result.measures, result.start_measures
    epoch = f"epoch {result.best_epoch} of {len(result.epoch_rows)}"
    lines = [
        f"{METRIC_NAMES[metric]} on validation: start {metric_text(start[metric])}, "
        f"kept {metric_text(kept[metric])} ({epoch})"
        for metric in shown
        if metric is not None
    ]
    if selected_by is not None:
        tied = sum(row[selected_by] == kept[selected_by] for row in result.epoch_rows)
        if tied > 1:
            lines.append(
                f"{tied} epochs tie at {METRIC_NAMES[selected_by]} "
                f"{metric_text(kept[selected_by])}: of these, the one with the lowest validation "
                "loss was kept"
            )
    measured = selected_by or "macro_map"
    if not kept[measured] <= start[measured]:  # NaN cannot be compared
        return lines, []
    return lines, [_not_better(METRIC_NAMES[measured], start[measured], kept[measured])]


def thresholds_command(request: TrainRequest) -> str:
    """Return the command that fits the thresholds of a run's result on the same table."""
    words = ["mumic", "thresholds", "--checkpoint", str(request.out)]
    for name, field in DatasetRequest.model_fields.items():
        value = getattr(request, name)
        if name not in ("workers", "device") and value != field.default:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--out", str(request.out)])


def _not_better(name: str, start: float, kept: float) -> str:
    if start == kept == 1:
        return (
            f"the start checkpoint already has {name} 1.000 on validation, so it cannot show "
            "whether training helped: add photos to validation"
        )
    word = "worse" if kept < start else "no better"
    return (
        f"the result is {word} on validation than the start checkpoint ({name} "
        f"{kept:.4f} and {start:.4f}): {FEW_PHOTOS_OPTIONS}"
    )
