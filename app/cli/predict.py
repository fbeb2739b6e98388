"""`mumic predict`."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.console import console
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.errors import OptionError

if TYPE_CHECKING:
    from app.core.labels import LabelSet
    from app.tagger import ScoredPhoto, TaggedPhoto

Names = list[str] | None


def predict_command(
    photos: Annotated[
        list[str], typer.Argument(help="photo files, folders, or - for a photo on stdin")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="the answer of POST /predict or POST /zero-shot")
    ] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="one threshold for all labels, also for those that are not served by default",
        ),
    ] = None,
    max_labels: Annotated[int | None, typer.Option(min=1, help="most labels a photo")] = None,
    include_label: Annotated[Names, typer.Option(help="label id to keep (repeatable)")] = None,
    include_category: Annotated[Names, typer.Option(help="category to keep (repeatable)")] = None,
    exclude_label: Annotated[Names, typer.Option(help="label id to remove (repeatable)")] = None,
    exclude_category: Annotated[Names, typer.Option(help="category to remove (repeatable)")] = None,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="every label, whatever its threshold")
    ] = False,
    label: Annotated[
        Names, typer.Option(help="score this text instead of the checkpoint's labels (repeatable)")
    ] = None,
    labels_file: Annotated[
        Path | None, typer.Option(help="file of such texts, one per line, UTF-8")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="text around each of them; default: a photo with {}")
    ] = None,
    scoring: Annotated[
        Literal["sigmoid", "softmax", "pair", "calibrated"] | None,
        typer.Option(
            help="how to score them; default: calibrated if the checkpoint has a calibration, "
            "otherwise sigmoid"
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Tag photo files and folders, without a server.

    A photo that cannot be used has an error in its result, the others are tagged, and the exit
    code is 1. Folders are searched for photos, including inner folders.
    """
    own_labels = _read_labels(label, labels_file)
    filters = {
        "include_labels": include_label or [],
        "include_categories": include_category or [],
        "exclude_labels": exclude_label or [],
        "exclude_categories": exclude_category or [],
    }
    if own_labels is None and (template is not None or scoring is not None):
        raise OptionError("label", "--template and --scoring need --label or --labels-file")
    if own_labels is not None and (all_scores or any(filters.values())):
        raise OptionError(
            "label", "own labels cannot be combined with --include-*, --exclude-* or --all-scores"
        )
    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision)

    from app.cli.photo_inputs import PhotoInputs
    from app.cli.predict_output import error_of, json_document, lines
    from app.core.images import ImageLimits
    from app.main import load_classifier
    from app.tagger import Tagger

    text_cache_size = max(settings.text_cache_size, len(own_labels or ()))  # read for each batch
    classifier = load_classifier(settings.model_copy(update={"text_cache_size": text_cache_size}))
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    batch_size = settings.max_batch_size or classifier.batch_size
    tagger = Tagger(classifier, limits=limits, batch_size=batch_size)

    def run(files: list[bytes]) -> "Sequence[TaggedPhoto | ScoredPhoto]":
        if own_labels is None:
            return tagger.tag(
                files,
                min_confidence=min_confidence,
                max_labels=max_labels,
                all_scores=all_scores,
                **filters,
            )
        scored = tagger.zero_shot(
            files,
            own_labels,
            template="a photo with {}" if template is None else template,
            scoring=scoring,
        )
        return [_select(photo, min_confidence or 0.0, max_labels) for photo in scored]

    run([])  # refuses invalid options before the first result
    if min_confidence is None and not all_scores:
        _report_not_served(classifier.labels, include_label or [])
    inputs = PhotoInputs(photos, limits)
    done = failed = 0
    used = None if own_labels is None else classifier.choose_scoring(scoring)
    with json_document(classifier, used) if as_json else lines() as write:
        for photo, result in inputs.run(run, batch_size):
            write(photo.id, result)
            sys.stdout.flush()
            failed += error_of(result) is not None
            done += 1
    inputs.report(done, failed)
    if failed or not done:
        raise typer.Exit(1)


def _read_labels(labels: Names, file: Path | None) -> list[str] | None:
    """Return the labels of the options, without white space around them; None if there are none.

    Raises:
        OptionError: the file cannot be read, or a label is not UTF-8.
    """
    if labels is None and file is None:
        return None
    texts = list(labels or ())
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise OptionError("labels_file", f"cannot read {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise OptionError("labels_file", f"{file} is not UTF-8: {error}") from error
        texts += [line for line in lines if line.strip()]
    for text in texts:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise OptionError("label", f"{text!r} is not UTF-8")
    return [text.strip() for text in texts]


def _select(photo: "ScoredPhoto", min_confidence: float, max_labels: int | None) -> "ScoredPhoto":
    kept = [score for score in photo.scores if score.confidence >= min_confidence]
    return replace(photo, scores=tuple(kept[:max_labels]))


def _report_not_served(label_set: "LabelSet", named: Sequence[str]) -> None:
    """Print which of the labels that were asked for no photo can have."""
    not_served = [
        label.id
        for label in label_set.labels
        if label.id in named and label.thresholds.serve is None
    ]
    if not_served:
        console.print(
            f"mumic: not served by default (serve: null): {', '.join(not_served)}; add "
            "--min-confidence or --all-scores",
            markup=False,
        )
