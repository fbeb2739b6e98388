"""Before a run: its devices are launched, and every photo is decoded once."""

from pathlib import Path

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

from app.core.images import Preprocess
from app.core.runtime import Placement
from app.dataset.labelled import LabelledPhotos, refuse_untrainable
from app.dataset.photos import bad_photos, decode_photos, pixel_bytes, without_bad
from app.training.config import Precision
from app.training.run.devices import make_fabric

MOST_SHOWN = 20  # bad photos; all are in the run's folder


def launch(placement: Placement, precision: Precision, devices: int) -> Fabric:
    """Start the processes of a run; with several devices, each runs the command from its start."""
    fabric = make_fabric(placement.device, precision, devices)
    fabric.launch()
    return fabric


def usable_photos(
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
) -> tuple[LabelledPhotos, Tensor | None]:
    """The photos for training and validation that can be decoded.

    Those that cannot are told, and listed in `bad_photos.txt`.

    Args:
        data: all photos of the manifest.
        preprocess: the checkpoint's.
        manifest: for messages.
        run_folder: where the list goes.
        max_bad: how many may be bad: a count, or below 1 a share.
        keep: whether to keep the pixels in memory.
        workers: processes that load photos.
        fabric: the launched devices.
        progress: where the time left is shown, and the rest is told.

    Returns:
        The photos, and (N, 3, S, S) uint8 pixels where they are kept.

    Raises:
        DataError: too many photos are bad, or what is left is not enough to train on.
        OptionError: the pixels do not fit into memory.
    """
    used = data.select([i for i, part in enumerate(data.parts) if part != "test"])
    console = progress.console
    if keep:
        size = pixel_bytes(len(used.files), preprocess)
        console.print(
            f"keeping {len(used.files):,} photos in memory: {size / 1e6:,.0f} MB for each of "
            f"{fabric.world_size} processes"
        )
    paths = [used.photos / file for file in used.files]
    decoded = decode_photos(paths, preprocess, keep=keep, progress=progress, workers=workers)
    good, pixels = without_bad(used, decoded, manifest, max_bad)
    if not decoded.bad:
        return good, pixels
    if fabric.is_global_zero:
        lines = bad_photos(used, decoded)
        run_folder.mkdir(parents=True, exist_ok=True)
        listed = run_folder / "bad_photos.txt"
        listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for line in lines[:MOST_SHOWN]:
            console.print(f"[yellow]warning:[/] {escape(f'{manifest}: {line}')}")
        total = f"{len(lines)} of {len(used.files)} photos cannot be decoded and are skipped"
        console.print(f"[yellow]warning:[/] {escape(f'{manifest}: {total}; listed in {listed}')}")
    refuse_untrainable(good, manifest)
    return good, pixels


def progress_bars(console: Console, *, shown: bool) -> Progress:
    """Bars with the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
    )
