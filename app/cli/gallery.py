"""`mumic gallery`."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.cli.console import console
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.errors import ImageError, OptionError

if TYPE_CHECKING:
    from app.cli.photo_inputs import PhotoInputs
    from app.tagger import MeasuredPhoto, Tagger

THUMBNAIL_PX = 224  # longer side


def gallery_command(
    folder: Annotated[Path, typer.Argument(help="folder with the photos of one listing")],
    count: Annotated[
        int | None,
        typer.Option(min=1, help="photos to choose, at most as many as there are; default: 10"),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CATEGORY=NUMBER", help="weight of a category, from 0 to 100 (repeatable)"
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="folder to write gallery.json and gallery.html to")
    ] = Path("gallery"),
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Choose the photos that a listing shows first, without a server.

    Prints the chosen photos in order, each with its reason. gallery.json is the answer of
    POST /gallery, gallery.html a contact sheet of all photos and of the chosen ones. A photo that
    cannot be used has an error in gallery.json, and the exit code is 1.
    """
    if not folder.is_dir():
        raise OptionError("folder", f"{folder} is not a folder")
    given = dict(map(_read_weight, weight or ()))
    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)

    import torch

    from app.applications.gallery import (
        category_weights,
        check_count,
        choose_gallery,
        write_contact_sheet,
    )
    from app.cli.photo_inputs import PhotoInputs
    from app.core.files import atomic_file
    from app.core.images import ImageLimits, find_photos
    from app.main import load_classifier
    from app.serving.observability import CONTROLS
    from app.serving.schemas import gallery_response, model_info
    from app.tagger import Tagger

    photos = sum(isinstance(found, Path) for found in find_photos(folder))
    if not photos:
        console.print(f"mumic: no photo was found in {folder}", markup=False)
        raise typer.Exit(1)
    chosen_count = check_count(count, photos)
    classifier = load_classifier(settings)
    weights = category_weights(classifier.labels, given)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    batch_size = settings.max_batch_size or classifier.batch_size
    tagger = Tagger(classifier, limits=limits, batch_size=batch_size)
    listing = _measure(PhotoInputs([str(folder)], limits), tagger, batch_size)
    if not listing.photos:
        _refuse(listing.errors)
    gallery = choose_gallery(
        torch.stack([photo.embedding for photo in listing.photos]),
        torch.stack([photo.logits for photo in listing.photos]),
        [photo.quality for photo in listing.photos],
        classifier.labels,
        weights,
        chosen_count,
    )
    if not gallery.choices:
        flaws = [f"{listing.ids[each.photo]}: {each.message}" for each in gallery.left_out]
        _refuse([*flaws, *listing.errors])
    response = gallery_response(model_info(classifier), gallery, listing.ids, [])
    document = response.model_dump(mode="json", exclude_none=True) | {"results": listing.results}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError("out", f"cannot make {out}: {error.strerror}") from error
    with atomic_file(out / "gallery.json") as file:
        file.write((json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())
    write_contact_sheet(out / "gallery.html", gallery, listing.ids, listing.thumbnails)
    for place, choice in enumerate(gallery.choices, 1):
        line = f"{place}\t{listing.ids[choice.photo].translate(CONTROLS)}\t{choice.reason}"
        sys.stdout.write(f"{line}\n")
    if listing.errors:
        for message in listing.errors:
            console.print(f"mumic: {message}", markup=False)
        raise typer.Exit(1)


@dataclass(slots=True)
class _Listing:
    """The photos of a folder.

    Attributes:
        photos: those that could be decoded.
        ids: of these.
        thumbnails: of these, as data URLs.
        results: of all photos, as in the answer of POST /gallery.
        errors: why the others cannot be used, one line each.
    """

    photos: "list[MeasuredPhoto]" = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    thumbnails: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def _measure(inputs: "PhotoInputs", tagger: "Tagger", batch_size: int) -> _Listing:
    """Read, embed and measure the photos, batch by batch; print how many cannot be used."""
    from app.cli.photo_inputs import UnreadableFile, failed_document
    from app.core.images import thumbnail_url
    from app.serving.schemas import measured_photo

    listing = _Listing()
    for photo, outcome in inputs.run(tagger.measure, batch_size):
        if isinstance(outcome, ImageError | UnreadableFile):
            listing.results.append(failed_document(photo.id, outcome))
            listing.errors.append(f"{photo.id}: {outcome.message}")
            continue
        assert isinstance(photo.content, bytes)  # it was measured
        listing.photos.append(outcome)
        listing.ids.append(photo.id)
        listing.thumbnails.append(thumbnail_url(photo.content, THUMBNAIL_PX))
        result = measured_photo(photo.id, outcome.width, outcome.height, outcome.quality)
        listing.results.append(result.model_dump(mode="json"))
    inputs.report(len(listing.results), len(listing.errors))
    return listing


def _refuse(problems: list[str]) -> NoReturn:
    """Print why no photo can be used, and exit."""
    console.print("mumic: no photo can be used", markup=False)
    for problem in problems:
        console.print(f"mumic: {problem}", markup=False)
    raise typer.Exit(1)


def _read_weight(text: str) -> tuple[str, float]:
    """Read a category and its weight, `Property=2`.

    Raises:
        OptionError: there is no `=`, or no weight from 0 to 100 after it.
    """
    from app.applications.gallery import MAX_WEIGHT

    name, _, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not name or not 0 <= weight <= MAX_WEIGHT:
        wanted = f"CATEGORY=NUMBER with a number from 0 to {MAX_WEIGHT:g}"
        raise OptionError("weight", f"must be {wanted}, got {text!r}")
    return name.strip(), weight
