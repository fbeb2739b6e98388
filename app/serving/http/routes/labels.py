"""/labels: the label set, and its changes at run time."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Annotated

import torch
from fastapi import APIRouter, Path, Query, Request, Security

from app.applications.new_labels import (
    ExamplePhoto,
    LabelDocument,
    NewLabel,
    add_label,
    check_examples,
    fit_examples,
    label_document,
    label_of_document,
    make_label,
    now,
    remove_label,
    write_version,
)
from app.core.checkpoint import towers_key
from app.core.classifier import Classifier
from app.core.files import unknown_name_message
from app.errors import (
    BuiltInLabelError,
    ContradictingExamplesError,
    DiskError,
    DrainingError,
    ImageError,
    LabelExistsError,
    LabelsReadOnlyError,
    OptionError,
    RefusedCheckpointError,
    UnknownLabelError,
    UnusableImagesError,
)
from app.serving.http.auth import ADMIN_TOKEN, Bearer, Check, token
from app.serving.http.openapi import image_operation, problem_responses
from app.serving.http.responses import answer_within, embed_uploads
from app.serving.inference import EmbeddedImage, Engine, Reloader
from app.serving.request import RequestDependencies, Upload, read_uploads
from app.serving.schemas import (
    AddedLabelResponse,
    LabelBody,
    LabelOptions,
    LabelsResponse,
    RemovedLabelResponse,
    label_info,
    labels_response,
    model_info,
)
from app.settings import Settings

CHANGE_ERRORS = (LabelsReadOnlyError, RefusedCheckpointError, DiskError)
logger = logging.getLogger("mumic.serving")

AuthorName = Annotated[
    str, Query(max_length=200, description="who removes the label, kept in the checkpoint's card")
]

Id = Annotated[
    str, Path(description="of the label", openapi_examples={"beach": {"value": "beach"}})
]


def labels_router(engine: Engine) -> APIRouter:
    """Build the router of GET /labels and GET /labels/{id}."""
    router = APIRouter(tags=["information"])

    @router.get("/labels", summary="The label set", response_model=LabelsResponse)
    async def labels() -> LabelsResponse:
        return labels_response(engine.models.current.classifier.labels)

    @router.get(
        "/labels/{id}",
        summary="One label, to add it to a server with the same weights",
        response_model=LabelDocument,
        responses=problem_responses(UnknownLabelError),
    )
    async def label(id: Id) -> LabelDocument:
        return label_document(engine.models.current.classifier, id)

    return router


def label_changes_router(
    engine: Engine, dependencies: RequestDependencies, reloader: Reloader
) -> APIRouter:
    """Build the router of POST /labels and DELETE /labels/{id}, with its authentication."""
    settings = dependencies.settings
    router = APIRouter(tags=["administration"], dependencies=[Security(_may_change(settings))])

    @router.post(
        "/labels",
        name="add_label",
        summary="Add a label, with or without example photos",
        status_code=201,
        response_model=AddedLabelResponse,
        **image_operation(
            LabelOptions,
            LabelBody,
            example={"name": "Infinity pool", "parents": ["outdoor_swimming_pool"]},
            errors=(LabelExistsError, ContradictingExamplesError, *CHANGE_ERRORS),
            success=201,
        ),
    )
    async def add(request: Request) -> AddedLabelResponse:
        uploads, options = await read_uploads(request, LabelOptions, LabelBody, dependencies)
        served = engine.models.current
        text = options.text()
        make_label(text, served.classifier.labels)  # before the photos are embedded
        fitted = options.fitted if isinstance(options, LabelBody) else None
        if fitted and uploads:
            raise OptionError("fitted", "does not go with images; send one of them")
        counters = _counter_examples(options.counter_examples, uploads)
        photos = await dependencies.run_in_thread(lambda: _photos(uploads, counters))
        check_examples(photos)

        async def work() -> tuple[Classifier, NewLabel]:
            embeddings = torch.empty(0, served.classifier.dimension)
            if uploads:
                outcomes, _ = await embed_uploads(request, engine, served, uploads)
                embeddings = _all_embeddings(uploads, outcomes)
            made: list[NewLabel] = []

            def change(classifier: Classifier) -> Classifier:
                _refuse_other_towers(classifier, served.classifier)
                label = make_label(text, classifier.labels)
                if fitted:
                    new = label_of_document(classifier, label, fitted)
                else:
                    new = fit_examples(
                        classifier,
                        label,
                        photos,
                        embeddings,
                        accept_contradictions=options.accept_contradictions,
                    )
                made.append(new)
                edit = add_label(classifier, new, at=now(), by=options.author, photos=photos)
                return write_version(classifier, edit, settings.labels_dir)

            return await reloader.change_labels(change), made[0]

        classifier, new = await answer_within(request, settings.request_timeout_s, work())
        _log("added", new.label.id, classifier, options.author, request)
        labels = classifier.labels
        place = labels.index(new.label.id)
        return AddedLabelResponse(
            model=model_info(classifier),
            label=label_info(labels.labels[place], labels.prompts[place]),
            compared_with=new.background,
            note=new.note,
        )

    @router.delete(
        "/labels/{id}",
        name="remove_label",
        summary="Remove a label that was added",
        response_model=RemovedLabelResponse,
        responses=problem_responses(
            OptionError, UnknownLabelError, BuiltInLabelError, DrainingError, *CHANGE_ERRORS
        ),
    )
    async def remove(request: Request, id: Id, author: AuthorName = "") -> RemovedLabelResponse:
        def change(classifier: Classifier) -> Classifier:
            edit = remove_label(classifier, id, at=now(), by=author)
            return write_version(classifier, edit, settings.labels_dir)

        classifier = await reloader.change_labels(change)
        _log("removed", id, classifier, author, request)
        return RemovedLabelResponse(model=model_info(classifier), removed=id)

    return router


def _may_change(settings: Settings) -> Check:
    """Build the authentication of changes, or a refusal if the server allows none."""
    if settings.admin_token and settings.workers == 1:
        return token(settings.admin_token.get_secret_value(), ADMIN_TOKEN)
    problem = (
        "the server runs several workers; run one, with MUMIC_WORKERS=1"
        if settings.admin_token
        else "the server has no token for operators; set MUMIC_ADMIN_TOKEN"
    )

    async def refuse(_: Annotated[Bearer, Security(ADMIN_TOKEN)]) -> None:
        raise LabelsReadOnlyError(f"labels cannot be changed here: {problem}")

    return refuse


def _counter_examples(ids: Sequence[str], uploads: Sequence[Upload]) -> set[str]:
    """Return the ids of the images that do not show the label.

    Raises:
        OptionError: an id is not that of an image.
    """
    known = [upload.id for upload in uploads]
    for id in ids:
        if id not in known:
            raise OptionError("counter_examples", unknown_name_message("image", id, known))
    return set(ids)


def _photos(uploads: Sequence[Upload], counters: set[str]) -> list[ExamplePhoto]:
    return [ExamplePhoto(upload.id, _digest(upload), upload.id in counters) for upload in uploads]


def _digest(upload: Upload) -> str:
    """Return the sha256 of an image; of one without bytes, which is refused later, its id."""
    try:
        return hashlib.sha256(upload.source()).hexdigest()
    except ImageError:
        return upload.id


def _all_embeddings(
    uploads: Sequence[Upload], outcomes: Sequence[EmbeddedImage | ImageError]
) -> torch.Tensor:
    """Return (N, D) embeddings of all images.

    Raises:
        UnusableImagesError: an image cannot be used.
    """
    failures = [
        (upload.id, outcome)
        for upload, outcome in zip(uploads, outcomes, strict=True)
        if isinstance(outcome, ImageError)
    ]
    if failures:
        raise UnusableImagesError(failures)
    return torch.stack([each.embedding for each in outcomes if isinstance(each, EmbeddedImage)])


def _refuse_other_towers(current: Classifier, embedded_by: Classifier) -> None:
    """Refuse examples that were embedded by a checkpoint that is no longer served."""
    if towers_key(current.checkpoint.card.sha256) != towers_key(embedded_by.checkpoint.card.sha256):
        raise RefusedCheckpointError(
            "another checkpoint is served since the examples were embedded; send the request again"
        )


def _log(action: str, id: str, classifier: Classifier, author: str, request: Request) -> None:
    logger.info(
        "Label %s %s by %r (request %s): %s, version %s of the labels",
        id,
        action,
        author,
        request.state.request_id,
        classifier.checkpoint.directory,
        classifier.labels.version,
    )
