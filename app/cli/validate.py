"""`mumic validate`."""

from typing import Annotated

import typer

from app.cli.console import console
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.errors import OptionError

Names = list[str] | None


def validate_command(
    photos: Annotated[
        list[str], typer.Argument(help="photo files, folders, or - for a photo on stdin")
    ],
    declared: Annotated[
        Names,
        typer.Option(
            help="a declared facility: a label id, a label's name, or a text (repeatable)"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the answer of POST /validate")] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="one threshold for all labels and texts; default: each label's own, and 0.5 for "
            "texts",
        ),
    ] = None,
    include_label: Annotated[
        Names, typer.Option(help="label id to report as undeclared (repeatable)")
    ] = None,
    include_category: Annotated[
        Names, typer.Option(help="category to report as undeclared (repeatable)")
    ] = None,
    exclude_label: Annotated[
        Names, typer.Option(help="label id not to report as undeclared (repeatable)")
    ] = None,
    exclude_category: Annotated[
        Names, typer.Option(help="category not to report as undeclared (repeatable)")
    ] = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Compare the declared facilities of a listing with its photos, without a server.

    A facility is confirmed by a photo, not seen on any, or not judged; labels that were seen but
    not declared follow. A photo that cannot be used is reported, and the exit code is 1.
    """
    if not declared:
        raise OptionError("declared", "give at least one facility: --declared sauna")
    if not all(text.strip() for text in declared):
        raise OptionError("declared", "a facility must not be empty")
    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)

    import numpy as np
    import torch

    from app.applications.validation import make_rules, prompts_of, read_declared, validate_listing
    from app.cli.photo_inputs import PhotoInputs
    from app.cli.validate_output import Photos, write_json, write_table
    from app.core.images import ImageLimits
    from app.core.labels import make_selection
    from app.main import load_classifier
    from app.serving.observability import CONTROLS
    from app.serving.schemas import ValidatedPhoto, model_info, validate_response
    from app.tagger import EmbeddedPhoto, Tagger

    classifier = load_classifier(settings)
    label_set, scoring = classifier.labels, classifier.choose_scoring()
    facilities = read_declared([text.strip() for text in declared], label_set)
    candidates = make_selection(
        label_set,
        include_labels=include_label or (),
        include_categories=include_category or (),
        exclude_labels=exclude_label or (),
        exclude_categories=exclude_category or (),
    ).candidates
    prompts = prompts_of(facilities, label_set.template)
    text_embeddings = (
        classifier.embed_texts(prompts) if prompts else torch.empty(0, classifier.dimension)
    )
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    batch_size = settings.max_batch_size or classifier.batch_size
    inputs = PhotoInputs(photos, limits)
    tagger = Tagger(classifier, limits=limits, batch_size=batch_size)
    found: Photos = [
        (photo.id, outcome.error or outcome if isinstance(outcome, EmbeddedPhoto) else outcome)
        for photo, outcome in inputs.run(tagger.embed, batch_size)
    ]
    used = [
        (id, photo, photo.embedding)
        for id, photo in found
        if isinstance(photo, EmbeddedPhoto) and photo.embedding is not None
    ]
    for id, photo in found:
        if not isinstance(photo, EmbeddedPhoto):
            console.print(f"{id}: error: {photo.message}".translate(CONTROLS), markup=False)
    inputs.report(len(found), len(found) - len(used))
    if not used:
        raise typer.Exit(1)
    embeddings = torch.from_numpy(np.stack([embedding for _, _, embedding in used]))
    validation = validate_listing(
        facilities,
        label_set,
        classifier.score_embeddings(embeddings),
        classifier.zero_shot(embeddings, text_embeddings, scoring),
        make_rules(label_set, scoring, min_confidence, classifier.checkpoint.card.metrics),
        candidates,
    )
    response = validate_response(
        model_info(classifier),
        [ValidatedPhoto(id=id, width=photo.width, height=photo.height) for id, photo, _ in used],
        validation,
    )
    if as_json:
        write_json(response, found)
    else:
        write_table(response)
    if len(used) < len(found):
        raise typer.Exit(1)
