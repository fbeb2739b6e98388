"""Preparation of a run: its data is loaded, its processes are launched, every photo is decoded."""

from pathlib import Path
from typing import cast

from lightning_fabric import Fabric
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from app.core.checkpoint import Checkpoint
from app.core.images import Preprocess
from app.core.runtime import Placement
from app.dataset.labelled import (
    LabelledPhotos,
    check_trainable,
    duplicates_across_splits,
    load_labelled_photos,
    mask_without_negatives,
    unmeasured_warnings,
)
from app.dataset.manifest import load_names
from app.dataset.photos import (
    decode_photos,
    decoded_size_bytes,
    drop_undecodable_photos,
    undecodable_photo_lines,
)
from app.training.config import Precision, Unknown
from app.training.requests import RunRequest
from app.training.run.devices import create_fabric

MAX_WARNINGS = 20  # bad photos on the console; the run's folder lists all of them


def load_training_data(
    request: RunRequest,
    checkpoint: Checkpoint,
    *,
    soft_targets: Path | None = None,
    positive_weight: float = 10.0,
    unknown: Unknown = "ignore",
) -> LabelledPhotos:
    """Load photos, texts and targets, and check that a model can be trained on them.

    If unknown pairs are ignored, texts with positives but without negatives are not trained
    (`mask_without_negatives`).

    Args:
        request: the manifest and how its names are used.
        checkpoint: its label set gives the texts.
        soft_targets: a teacher's targets.
        positive_weight: weight of the positive pairs of texts that are no label's prompt.
        unknown: the loss of unknown pairs.

    Raises:
        DataError: a file is not valid, or the data are not enough to train on.
    """
    data = load_labelled_photos(
        request.manifest,
        request.photos,
        checkpoint.labels,
        names=load_names(request.names, checkpoint.labels) if request.names else None,
        soft_targets=soft_targets,
        leave_out=request.leave_out,
        positive_weight=positive_weight,
        columns=request.columns,
    )
    check_trainable(data, request.manifest, needs_train_negatives=unknown == "ignore")
    return mask_without_negatives(data) if unknown == "ignore" else data


def launch_fabric(placement: Placement, devices: int, console: Console) -> Fabric:
    """Launch the processes of a run; only the first of them prints to the console.

    With several devices, each of the other processes runs the command from its start.

    Args:
        placement: the device and the precision.
        devices: number of devices.
        console: is silenced in the other processes.

    Raises:
        OptionError: the machine has fewer devices, or they cannot run the precision.
    """
    fabric = create_fabric(placement.device, cast(Precision, placement.precision), devices)
    fabric.launch()
    console.quiet = not fabric.is_global_zero
    return fabric


def print_warnings(data: LabelledPhotos, manifest: Path, console: Console) -> None:
    """Print what is unusual about the data but does not stop a run."""
    for warning in (
        *data.warnings,
        *unmeasured_warnings(data),
        *duplicates_across_splits(data),
    ):
        print_warning(console, f"{manifest}: {warning}")


def decodable_photos(
    data: LabelledPhotos,
    preprocess: Preprocess,
    manifest: Path,
    run_folder: Path,
    *,
    max_bad: float,
    keep: bool,
    workers: int,
    fabric: Fabric,
    progress: Progress,
    unknown: Unknown = "ignore",
) -> tuple[LabelledPhotos, Tensor | None]:
    """Decode every photo of the train and validation splits, and drop those that fail.

    The dropped photos are listed in `bad_photos.txt`; the first ones are printed as warnings.

    Args:
        data: all photos of the manifest.
        preprocess: the checkpoint's.
        manifest: for messages.
        run_folder: the folder of `bad_photos.txt`.
        max_bad: how many photos may fail: a count, or below 1 a share.
        keep: whether to keep the pixels in memory.
        workers: processes that load photos.
        fabric: the launched devices.
        progress: shows the time left; its console receives the warnings.
        unknown: the loss of unknown pairs.

    Returns:
        The decodable photos, and their (N, 3, S, S) uint8 pixels if they are kept.

    Raises:
        DataError: too many photos fail, or the others are not enough to train on.
        OptionError: the pixels do not fit into memory.
    """
    used = data.select([i for i, split in enumerate(data.splits) if split != "test"])
    console = progress.console
    if keep:
        size = decoded_size_bytes(len(used.files), preprocess)
        console.print(
            f"keeping {len(used.files):,} photos in memory: {size / 1e6:,.0f} MB for each of "
            f"{fabric.world_size} processes"
        )
    paths = [used.photos / file for file in used.files]
    decoded = decode_photos(paths, preprocess, keep=keep, progress=progress, workers=workers)
    good, pixels = drop_undecodable_photos(used, decoded, manifest, max_bad)
    if not decoded.errors:
        return good, pixels
    if fabric.is_global_zero:
        lines = undecodable_photo_lines(used, decoded)
        run_folder.mkdir(parents=True, exist_ok=True)
        list_file = run_folder / "bad_photos.txt"
        list_file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for line in lines[:MAX_WARNINGS]:
            print_warning(console, f"{manifest}: {line}")
        total = f"{len(lines)} of {len(used.files)} photos cannot be decoded and are skipped"
        print_warning(console, f"{manifest}: {total}; listed in {list_file}")
    check_trainable(good, manifest, needs_train_negatives=unknown == "ignore")
    return good, pixels


def progress_bars(console: Console) -> Progress:
    """Progress bars with the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet,
    )


def print_warning(console: Console, warning: str) -> None:
    """Print a warning."""
    console.print(f"[yellow]warning:[/] {escape(warning)}")
