"""Runs `mumic baseline asl`: trains on labelled photos and writes an ASL directory."""

from rich.console import Console

from app.baselines.asl.classifier import CARD_FILE
from app.baselines.asl.training import AslSettings, train_asl
from app.baselines.requests import AslRequest
from app.core.checkpoint import read_checkpoint
from app.core.files import refuse_foreign
from app.core.runtime import choose_placement
from app.training.run import (
    decodable_photos,
    launch_fabric,
    load_training_data,
    metric_text,
    print_warnings,
    progress_bars,
)


def run_asl_training(request: AslRequest, console: Console) -> None:
    """Train an ASL classifier and write its directory; an interrupted run is resumed.

    Args:
        request: the image tower to start from, the photos and the settings.
        console: receives progress, warnings and the result.

    Raises:
        OptionError: an option is out of range or contradicts another one.
        DataError: the photos cannot be read, or are not enough to train on.
        CheckpointError: the checkpoint is damaged, or the output directory holds other files.
        DiskError: the run's state or its result cannot be written.
    """
    init = read_checkpoint(request.init)
    refuse_foreign(request.out, CARD_FILE)
    data = load_training_data(request, init)
    placement = choose_placement(request.device, request.precision, transformer=False)
    config = request.train_config(precision=placement.precision)
    fabric = launch_fabric(placement, request.devices, console)
    print_warnings(data, request.manifest, console)
    with progress_bars(console) as progress:
        data, pixels = decodable_photos(
            data,
            init.preprocess,
            request.manifest,
            request.out.with_name(f"{request.out.name}.run"),
            max_bad=request.max_bad_photos,
            keep=request.cache_photos,
            workers=request.workers,
            fabric=fabric,
            progress=progress,
        )
        classifier = train_asl(
            init,
            data,
            config,
            request.out,
            progress=progress,
            settings=AslSettings(request.gamma_negative, request.gamma_positive, request.clip),
            fabric=fabric,
            pixels=pixels,
        )
    macro_map = classifier.card.metrics["validation"]["macro_map"]
    console.print(f"{request.out}: macro mAP on validation {metric_text(macro_map)}", markup=False)
