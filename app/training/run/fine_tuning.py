"""The run of `mumic train`: from labelled photos to a checkpoint directory."""

import math
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console

from app.core.checkpoint import Checkpoint, read_checkpoint, refuse_unwritable, write_checkpoint
from app.core.runtime import choose_placement
from app.errors import OptionError
from app.training.requests import TrainRequest
from app.training.run.loop import train
from app.training.run.preparation import (
    decodable_photos,
    launch_fabric,
    load_training_data,
    print_warning,
    print_warnings,
    progress_bars,
)
from app.training.run.report import few_steps_warning, kept_epoch_lines, thresholds_command
from app.training.run.state import delete_state, result_disk_errors
from app.training.run.validation import metric_text

README = """# {name}

Fine-tuned from {init} by `mumic train` on {photos} photos and epoch {kept} of {epochs} was
kept. Macro mAP on the validation split: {validation} (start: {start}). The settings are in
`mumic.json`.
"""


def run_training(request: TrainRequest, console: Console) -> None:
    """Fine-tune a checkpoint and write the result; an interrupted run is resumed.

    Args:
        request: the checkpoint to start from, the photos and the settings.
        console: receives progress, warnings and the result.

    Raises:
        OptionError: an option is out of range or contradicts another one.
        DataError: the photos cannot be read, or are not enough to train on.
        CheckpointError: the checkpoint is damaged, or the result could not be written.
        DiskError: the run's state or its result cannot be written.
    """
    init = read_checkpoint(request.init)
    name = request.name or request.out.name
    _check_options(request)
    refuse_unwritable(request.out, name=name, version=request.version)
    placement = choose_placement(request.device, request.precision, transformer=False)
    settings = {"initial_logit_scale": None} if request.keep_logit_scale else {}
    config = request.train_config(precision=placement.precision, **settings)
    data = load_training_data(
        request,
        init,
        soft_targets=request.soft_targets,
        positive_weight=request.positive_weight,
        unknown=request.unknown,
    )
    fabric = launch_fabric(placement, request.devices, console)
    print_warnings(data, request.manifest, console)
    run_folder = request.out.with_name(f"{request.out.name}.run")
    with progress_bars(console) as progress:
        data, pixels = decodable_photos(
            data,
            init.preprocess,
            request.manifest,
            run_folder,
            max_bad=request.max_bad_photos,
            keep=request.cache_photos,
            workers=request.workers,
            fabric=fabric,
            progress=progress,
            unknown=request.unknown,
        )
        for warning in (*few_steps_warning(data, config), *_fitted_labels_warning(init)):
            print_warning(console, warning)
        result = train(
            init,
            data,
            config,
            run_folder,
            progress=progress,
            feature_cache=request.feature_cache,
            fabric=fabric,
            pixels=pixels,
        )
    if not fabric.is_global_zero:
        return
    photos = len(data.indices("train"))
    with result_disk_errors():
        write_checkpoint(
            request.out,
            result.model.cpu(),
            init.config,
            init.labels.unmeasured(),  # everything was fitted to the old weights
            name=name,
            version=request.version,
            readme=README.format(
                name=name,
                init=init.card.name,
                photos=photos,
                kept=result.best_epoch,
                epochs=config.epochs,
                validation=metric_text(result.measures["macro_map"]),
                start=metric_text(result.start_measures["macro_map"]),
            ),
            training={
                "init": {"name": init.card.name, "version": init.card.version},
                "photos": photos,
                "texts": len(data.texts),
                "left_out": sorted(request.leave_out),
                "settings": asdict(config),
                "devices": request.devices,
                "best_epoch": result.best_epoch,
                "best_step": result.best_step,
                "positive_weights": {
                    label.id: label.positive_weight for label in init.labels.labels
                },
                "positive_weight_of_other_texts": request.positive_weight,
            },
            metrics={
                "validation": result.measures | result.validation,
                "validation_of_start": result.start_measures,
            },
            exif_orientation=init.preprocess.exif_orientation,
        )
    delete_state(run_folder)
    lines, warnings = kept_epoch_lines(result, data, config)
    for line in (f"wrote {request.out}", *lines):
        console.print(line, markup=False)
    for warning in warnings:
        print_warning(console, warning)
    console.print(
        f"thresholds are still those of {request.init}; next: {thresholds_command(request)}",
        markup=False,
    )


def _check_options(request: TrainRequest) -> None:
    initial, cap = request.initial_logit_scale, request.max_logit_scale
    if not request.keep_logit_scale and (initial or 0) > cap:
        raise OptionError(
            "initial-logit-scale",
            f"{initial} is above the cap of {cap:.3f}, to which the first step would reduce it: "
            "raise --max-logit-scale or start lower",
        )
    if not math.isfinite(request.positive_weight):
        raise OptionError(
            "positive-weight", f"must be a finite number, got {request.positive_weight}"
        )


def _fitted_labels_warning(init: Checkpoint) -> Iterator[str]:
    """Yield a warning if labels were fitted to examples with the weights that training changes."""
    if fitted := init.labels.fitted_ids:
        yield (
            f"{', '.join(fitted)} were fitted to example photos with the weights of "
            f"{init.card.name}; with the new weights they are scored by their texts: add the "
            "examples again with mumic labels"
        )
