"""`mumic index`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import console
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.errors import ImageError, OptionError


def index_command(
    folder: Annotated[Path, typer.Argument(help="folder with photos, including inner folders")],
    out: Annotated[Path, typer.Option(help="directory of the index; created or updated")],
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="embed all photos again, as for another checkpoint"),
    ] = False,
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Make or update an index of the photos of a folder, for similar photos and duplicates.

    Only new and changed photos are embedded; a photo that was renamed keeps its embedding, and one
    that is gone is removed. An interrupted run continues where it stopped. A photo that cannot be
    used is reported, the others are indexed, and the exit code is 1.
    """
    if not folder.is_dir():
        raise OptionError("folder", f"{folder} is not a folder")
    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)

    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from app.cli.photo_inputs import PhotoInputs, UnreadableFile, readable_name
    from app.core.images import ImageLimits, find_photos
    from app.index import FolderUpdate, open_for_writing
    from app.main import load_classifier
    from app.tagger import Tagger

    total = sum(isinstance(found, Path) for found in find_photos(folder))
    if not total:  # such as a disk that is not mounted
        console.print(
            f"mumic: no photo was found in {folder}; the index is unchanged", markup=False
        )
        raise typer.Exit(1)
    classifier = load_classifier(settings)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    batch_size = settings.max_batch_size or classifier.batch_size
    tagger = Tagger(classifier, limits=limits, batch_size=batch_size)
    inputs = PhotoInputs([str(folder)], limits)
    root = readable_name(folder / "_").removesuffix("_")  # such as `photos/`
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with (
        open_for_writing(
            out, classifier.checkpoint, classifier.dimension, rebuild=rebuild
        ) as writer,
        Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as progress,
    ):
        update = FolderUpdate(writer, tagger.embed)
        task = progress.add_task("indexing", total=total)
        for photo, outcome in inputs.run(update.embed, batch_size):
            id = photo.id.removeprefix(root)
            problem = None
            if isinstance(outcome, UnreadableFile):
                update.keep("" if photo.id == readable_name(folder) else id)
                problem = outcome.message
            elif isinstance(outcome, ImageError):
                problem = outcome.message
            elif not update.put(id, outcome):
                problem = "another photo has the same name, when written in UTF-8"
            if problem is not None:
                update.counts.failed += 1
                console.print(f"mumic: {photo.id}: {problem}", markup=False)
            progress.advance(task)
        update.finish()
    counts = asdict(update.counts)
    inputs.report(sum(counts.values()) - counts["removed"], counts["failed"])
    summary = ", ".join(f"{number} {name}" for name, number in counts.items())
    console.print(f"mumic: {out}: {summary}", markup=False)
    if counts["failed"]:
        raise typer.Exit(1)
