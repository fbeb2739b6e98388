"""`mumic atlas`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import console
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.errors import ImageError, OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.applications.atlas import MappedPhoto
    from app.cli.photo_inputs import PhotoInputs
    from app.tagger import Tagger

MAX_THUMBNAIL_PX = 512


def atlas_command(
    folder: Annotated[Path, typer.Argument(help="folder with photos, also in inner folders")],
    out: Annotated[Path, typer.Option(help="HTML file to write")] = Path("atlas.html"),
    thumbnail_px: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_THUMBNAIL_PX,
            help="longer side of the photos in the file, 0 for none; by default 256, less for "
            "more than 6,000 photos, 64 for more than 26,000",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Draw a map of photos in which similar photos are near each other.

    Writes one HTML file that needs no server and no network. A photo that cannot be used is
    reported and left out, and the exit code is 1.
    """
    if not folder.is_dir():
        raise OptionError("folder", f"{folder} is not a folder")
    if out.is_dir():
        raise OptionError("out", f"{out} is a folder; name an HTML file")
    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)

    import numpy as np
    from rich.progress import Progress

    from app.applications.atlas import default_thumbnail_px, place_photos, write_atlas
    from app.cli.photo_inputs import PhotoInputs, readable_name
    from app.core.files import disk_errors
    from app.core.images import ImageLimits, find_photos
    from app.main import load_classifier
    from app.tagger import Tagger

    with disk_errors(out, "no photo was read"):  # before the work of hours
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    count = sum(isinstance(found, Path) for found in find_photos(folder))
    side_px = default_thumbnail_px(count) if thumbnail_px is None else thumbnail_px
    classifier = load_classifier(settings)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    batch_size = settings.max_batch_size or classifier.batch_size
    tagger = Tagger(classifier, limits=limits, batch_size=batch_size)
    inputs = PhotoInputs([str(folder)], limits)
    prefix = f"{readable_name(folder)}/"
    photos: list[MappedPhoto] = []
    embeddings: list[NDArray[np.float32]] = []
    done = 0
    with Progress(console=console) as progress:
        for outcome in progress.track(
            _map_photos(inputs, tagger, batch_size, prefix, side_px),
            total=count,
            description="photos",
        ):
            done += 1
            if isinstance(outcome, str):
                console.print(f"mumic: {outcome}", markup=False)
            else:
                photo, embedding = outcome
                photos.append(photo)
                embeddings.append(embedding)
        if photos:
            progress.add_task("layout", total=None)
            places = place_photos(np.stack(embeddings))
            title = f"Photos of {readable_name(folder.resolve().name)}"
            card = classifier.checkpoint.card
            write_atlas(out, title, f"{card.name} {card.version}", photos, places)
    inputs.report(done, done - len(photos))
    if done > len(photos) or not photos:
        raise typer.Exit(1)


def _map_photos(
    inputs: "PhotoInputs", tagger: "Tagger", batch_size: int, prefix: str, thumbnail_px: int
) -> "Iterator[tuple[MappedPhoto, NDArray[np.float32]] | str]":
    """Yield each photo with its embedding, or why it cannot be used; names without the prefix."""
    from app.applications.atlas import MappedPhoto
    from app.cli.photo_inputs import UnreadableFile
    from app.core.images import thumbnail_webp
    from app.core.labels import make_selection

    select = make_selection(tagger.classifier.labels)
    for photo, outcome in inputs.run(tagger.measure, batch_size):
        if isinstance(outcome, ImageError | UnreadableFile):
            yield f"{photo.id}: {outcome.message}"
            continue
        assert isinstance(photo.content, bytes)  # it was measured
        thumbnail = thumbnail_webp(photo.content, thumbnail_px) if thumbnail_px else b""
        tags = select(outcome.logits)
        yield MappedPhoto(photo.id.removeprefix(prefix), tags, thumbnail), outcome.embedding.numpy()
