"""`mumic similar`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import console, escape_unencodable, write_document
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.applications.similarity import Match
    from app.cli.photo_inputs import Failure
    from app.tagger import EmbeddedPhoto

Names = list[str] | None


def similar_command(
    photos: Annotated[
        list[str] | None, typer.Argument(help="photo files, folders, or - for a photo on stdin")
    ] = None,
    text: Annotated[
        Names, typer.Option(help="find the photos that fit a text instead (repeatable)")
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(metavar="DIRECTORY", help="index made by mumic index [MUMIC_INDEX]"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="most matches a query")] = 10,
    min_similarity: Annotated[
        float, typer.Option(min=-1, max=1, help="lowest similarity of a match, a cosine")
    ] = -1.0,
    include_label: Annotated[
        Names, typer.Option(help="label id; a match shows one of them (repeatable)")
    ] = None,
    include_category: Annotated[
        Names, typer.Option(help="category; a match shows a label of one of them (repeatable)")
    ] = None,
    exclude_label: Annotated[
        Names, typer.Option(help="label id that no match shows (repeatable)")
    ] = None,
    exclude_category: Annotated[
        Names, typer.Option(help="category of which no match shows a label (repeatable)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the answer of POST /similar")] = False,
    checkpoint: Checkpoint = None,
    device: Device = None,
    precision: Precision = None,
) -> None:
    """Find the photos of an index that look like a photo or fit a text, without a server.

    Prints a line per match: the query, the rank, the similarity, the match, `duplicate` if it is a
    near-duplicate of the query, and its labels. A photo that cannot be used is reported, and the
    exit code is 1.
    """
    if bool(photos) == bool(text):
        raise OptionError("text", "give either photos or --text")
    settings = read_settings(checkpoint=checkpoint, device=device, precision=precision, index=index)
    if settings.index is None:
        raise OptionError("index", "is missing; give --index DIRECTORY or set MUMIC_INDEX")

    import numpy as np

    from app.applications.similarity import PhotoSearch, make_label_filter
    from app.cli.photo_inputs import PhotoInputs, failed_document
    from app.core.images import ImageLimits
    from app.index import IndexReader
    from app.main import load_classifier
    from app.serving.observability import CONTROLS
    from app.serving.schemas import index_info, model_info, similar_result
    from app.tagger import Tagger

    reader = IndexReader(Path(settings.index))
    reader.revision()  # a missing index is reported before the model is loaded
    classifier = load_classifier(settings)
    keep = make_label_filter(
        classifier.labels,
        include_labels=include_label or (),
        include_categories=include_category or (),
        exclude_labels=exclude_label or (),
        exclude_categories=exclude_category or (),
    )
    search = PhotoSearch(reader.read(classifier.checkpoint), classifier)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    batch_size = settings.max_batch_size or classifier.batch_size
    tagger = Tagger(classifier, limits=limits, batch_size=batch_size)

    inputs = PhotoInputs(photos or (), limits)
    queries: list[tuple[str, NDArray[np.float32] | Failure]] = (
        list(zip(text, tagger.embed_texts(text), strict=True))
        if text
        else [
            (photo.id, _embedding(outcome))
            for photo, outcome in inputs.run(tagger.embed, batch_size)
        ]
    )
    rows = [row for _, row in queries if isinstance(row, np.ndarray)]
    found = iter(
        search.find(np.stack(rows), count, keep=keep, min_similarity=min_similarity) if rows else ()
    )
    results: list[tuple[str, list[Match] | Failure]] = [
        (id, next(found) if isinstance(row, np.ndarray) else row) for id, row in queries
    ]
    failed = len(queries) - len(rows)
    for id, result in results:
        if not isinstance(result, list):
            console.print(f"mumic: {id}: {result.message}".translate(CONTROLS), markup=False)
    if not text:
        inputs.report(len(queries), failed)
    if as_json:
        write_document(
            {
                "model": model_info(classifier).model_dump(mode="json"),
                "index": index_info(search.photos).model_dump(mode="json"),
                "results": [
                    similar_result(id, result).model_dump(mode="json")
                    if isinstance(result, list)
                    else failed_document(id, result)
                    for id, result in results
                ],
            }
        )
    else:
        escape_unencodable()
        for id, result in results:
            for rank, match in enumerate(result if isinstance(result, list) else (), 1):
                _write_line(id, rank, match)
    if failed or not queries:
        raise typer.Exit(1)


def _embedding(outcome: "EmbeddedPhoto | Failure") -> "NDArray[np.float32] | Failure":
    """Return the embedding of a photo, or why it has none."""
    from app.tagger import EmbeddedPhoto

    if not isinstance(outcome, EmbeddedPhoto):
        return outcome
    if outcome.error is not None:
        return outcome.error
    assert outcome.embedding is not None  # there is no error
    return outcome.embedding


def _write_line(query: str, rank: int, match: "Match") -> None:
    from app.serving.observability import CONTROLS

    labels = ", ".join(f"{tag.label.name} {tag.confidence:.2f}" for tag in match.tags)
    duplicate = "duplicate" if match.duplicate else ""
    cells = (query, str(rank), f"{match.similarity:.3f}", match.id, duplicate, labels)
    sys.stdout.write("\t".join(cell.translate(CONTROLS) for cell in cells) + "\n")
