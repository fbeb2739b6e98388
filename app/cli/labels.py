"""`mumic labels ...`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import console
from app.cli.request_command import request_command
from app.errors import DataError, ImageError, OptionError, UnusableImagesError
from app.evaluation.requests import KnownPhotosRequest

if TYPE_CHECKING:
    from torch import Tensor

    from app.applications.new_labels import ExamplePhoto, LabelEdit
    from app.core.checkpoint import Checkpoint
    from app.core.classifier import Classifier

labels_app = typer.Typer(
    help="Add labels to a checkpoint without training, list, export and remove them.",
    no_args_is_help=True,
)
Source = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="checkpoint directory")]
Out = Annotated[
    Path,
    typer.Option(help="checkpoint directory to write; may be the input, which is then replaced"),
]
Author = Annotated[str, typer.Option(help="who changes the labels, kept in the checkpoint")]


@labels_app.command("list")
def list_command(
    checkpoint: Source,
    as_json: Annotated[bool, typer.Option("--json", help="the answer of GET /labels")] = False,
) -> None:
    """List the labels of a checkpoint, those that were added with when and by whom."""
    from app.core.checkpoint import read_checkpoint
    from app.serving.observability import CONTROLS
    from app.serving.schemas import labels_response

    labels = read_checkpoint(checkpoint).labels
    if as_json:
        document = labels_response(labels).model_dump(mode="json")
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        return
    for label in labels.labels:
        serve = label.thresholds.serve
        cells = [label.id, label.category, "-" if serve is None else f"{serve:.3f}"]
        if label.added:
            by = f" by {label.added.by}" if label.added.by else ""
            cells.append(f"added {label.added.at:%Y-%m-%d}{by}, {label.added.examples} examples")
        sys.stdout.write("\t".join(cell.translate(CONTROLS) for cell in cells) + "\n")


@labels_app.command("add")
def add_command(
    checkpoint: Source,
    name: Annotated[str, typer.Option(help="display name")],
    out: Out,
    id: Annotated[str | None, typer.Option(help="default: derived from the name")] = None,
    description: Annotated[str | None, typer.Option(help="default: the name")] = None,
    category: Annotated[str, typer.Option(help="an existing or a new category")] = "Custom",
    parent: Annotated[
        list[str] | None, typer.Option(help="id of a label that it implies (repeatable)")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="the text that it is scored by: name or description")
    ] = "name",
    serve: Annotated[
        float | None, typer.Option(min=0, max=1, help="threshold; default: chosen")
    ] = None,
    example: Annotated[
        list[Path] | None, typer.Option(help="photo that shows it (repeatable, at most 50)")
    ] = None,
    counter_example: Annotated[
        list[Path] | None, typer.Option(help="photo that does not show it (repeatable)")
    ] = None,
    accept_contradictions: Annotated[
        bool,
        typer.Option("--accept-contradictions", help="use examples that contradict the others too"),
    ] = False,
    author: Author = "",
) -> None:
    """Add a label by its text, and better with 1 to 50 example photos.

    Prints the label as the answer of POST /labels describes it.
    """
    if prompt not in ("name", "description"):
        raise OptionError("prompt", f"must be name or description, got {prompt!r}")

    from app.applications.new_labels import (
        LabelText,
        add_label,
        check_examples,
        fit_examples,
        make_label,
        now,
    )
    from app.serving.schemas import AddedLabelResponse, label_info, model_info

    classifier = _load(checkpoint, out)
    text = LabelText(
        name=name,
        id=id,
        description=description,
        category=category,
        parents=tuple(parent or ()),
        prompt="name" if prompt == "name" else "description",
        serve=serve,
    )
    label = make_label(text, classifier.labels)
    photos, contents = _read(example or [], counter_example or [])
    check_examples(photos)
    new = fit_examples(
        classifier,
        label,
        photos,
        _embed(classifier, photos, contents),
        accept_contradictions=accept_contradictions,
    )
    edit = add_label(classifier, new, at=now(), by=author, photos=photos)
    written = classifier.with_labels_of(_write(classifier, edit, out))
    labels = written.labels
    place = labels.index(label.id)
    answer = AddedLabelResponse(
        model=model_info(written),
        label=label_info(labels.labels[place], labels.prompts[place]),
        compared_with=new.background,
        note=new.note,
    )
    document = answer.model_dump(mode="json")
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


@labels_app.command("remove")
def remove_command(
    checkpoint: Source,
    id: Annotated[str, typer.Argument(help="id of a label that was added")],
    out: Out,
    author: Author = "",
) -> None:
    """Remove a label that was added."""
    from app.applications.new_labels import now, remove_label

    classifier = _load(checkpoint, out)
    _write(classifier, remove_label(classifier, id, at=now(), by=author), out)


@labels_app.command("export")
def export_command(
    checkpoint: Source, id: Annotated[str, typer.Argument(help="id of a label")]
) -> None:
    """Print a label as JSON, for mumic labels import or POST /labels with the same weights."""
    from app.applications.new_labels import label_document

    document = label_document(_load(checkpoint), id).model_dump(mode="json")
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


@labels_app.command("import")
def import_command(
    checkpoint: Source,
    file: Annotated[Path, typer.Argument(help="from mumic labels export or GET /labels/ID")],
    out: Out,
    author: Author = "",
) -> None:
    """Add a label that was exported from a checkpoint with the same weights."""
    from pydantic import ValidationError

    from app.applications.new_labels import (
        LabelDocument,
        add_label,
        label_of_document,
        make_label,
        now,
        text_of_document,
    )

    try:
        document = LabelDocument.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{file}: not an exported label: {where}: {first['msg']}") from error
    classifier = _load(checkpoint, out)
    label = make_label(text_of_document(document), classifier.labels)
    new = label_of_document(classifier, label, document.fitted)
    _write(classifier, add_label(classifier, new, at=now(), by=author), out)


@labels_app.command("known-photos")
@request_command(KnownPhotosRequest, checkpoint="CHECKPOINT")
def known_photos_command(request: KnownPhotosRequest) -> None:
    """Store embeddings of labelled photos, which new labels are fitted against."""
    from app.evaluation.known_photos import run_known_photos

    run_known_photos(request, console)


def _load(checkpoint: Path, out: Path | None = None) -> "Classifier":
    """Load a checkpoint in float32; check first that the result can be written."""
    from app.core.checkpoint import CARD_FILE
    from app.core.classifier import Classifier
    from app.core.files import refuse_foreign

    if out is not None:
        refuse_foreign(out, CARD_FILE)
    return Classifier.load(checkpoint, precision="fp32")


def _read(
    examples: list[Path], counter_examples: list[Path]
) -> "tuple[list[ExamplePhoto], list[bytes]]":
    """Read the photos.

    Raises:
        OptionError: a file cannot be read.
        UnusableImagesError: a file is too large.
    """
    import hashlib

    from app.applications.new_labels import ExamplePhoto
    from app.core.images import ImageLimits, read_photo_file

    photos: list[ExamplePhoto] = []
    contents: list[bytes] = []
    for paths, is_counter in ((examples, False), (counter_examples, True)):
        for path in paths:
            try:
                data = read_photo_file(path, ImageLimits())
            except ImageError as error:
                raise UnusableImagesError([(str(path), error)]) from error
            except OSError as error:
                raise OptionError("example", f"cannot read {path}: {error.strerror}") from error
            photos.append(ExamplePhoto(str(path), hashlib.sha256(data).hexdigest(), is_counter))
            contents.append(data)
    return photos, contents


def _embed(
    classifier: "Classifier", photos: "list[ExamplePhoto]", contents: list[bytes]
) -> "Tensor":
    """Embed the photos, (N, D).

    Raises:
        UnusableImagesError: photos cannot be decoded.
    """
    import numpy as np
    import torch

    from app.tagger import Tagger

    if not contents:
        return torch.empty(0, classifier.dimension)
    outcomes: Any = Tagger(classifier).embed(contents)
    failures = [
        (photo.id, outcome.error)
        for photo, outcome in zip(photos, outcomes, strict=True)
        if outcome.error
    ]
    if failures:
        raise UnusableImagesError(failures)
    return torch.from_numpy(np.stack([outcome.embedding for outcome in outcomes]))


def _write(classifier: "Classifier", edit: "LabelEdit", out: Path) -> "Checkpoint":
    from app.applications.new_labels import write_edit

    written = write_edit(classifier, edit, out)
    console.print(
        f"wrote {out} (version {edit.labels.version} of the labels); serve it with: mumic serve "
        f"--checkpoint {out}",
        markup=False,
    )
    return written
