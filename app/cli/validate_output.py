"""The results of `mumic validate` as a table or as a JSON document."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from app.cli.console import escape_unencodable, write_document
from app.cli.photo_inputs import Failure, failed_document
from app.serving.observability import CONTROLS
from app.serving.schemas import EvidencePhoto, ValidateResponse
from app.tagger import EmbeddedPhoto

Photos = list[tuple[str, EmbeddedPhoto | Failure]]
HEADER = ("facility", "status", "confidence", "threshold", "rule", "photos", "best photo")


def write_json(response: ValidateResponse, photos: Photos) -> None:
    """Print the answer of POST /validate in UTF-8.

    Args:
        response: of the photos that could be used.
        photos: all photos, each with its embedding or error.
    """
    document: dict[str, Any] = response.model_dump(mode="json", exclude_none=True)
    used = iter(document["results"])
    document["results"] = [
        next(used) if isinstance(photo, EmbeddedPhoto) else failed_document(id, photo)
        for id, photo in photos
    ]
    write_document(document)


def write_table(response: ValidateResponse) -> None:
    """Print a row per declared facility and per undeclared label, then notes.

    Control characters are escaped, and what the output's encoding lacks.
    """
    escape_unencodable()
    rows = [[cell.translate(CONTROLS) for cell in row] for row in (HEADER, *_rows(response))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        sys.stdout.write(f"{'  '.join(cells).rstrip()}\n")
    for note in _notes(response):
        sys.stdout.write(f"{note.translate(CONTROLS)}\n")


def _rows(response: ValidateResponse) -> Iterator[Sequence[str]]:
    for each in response.declared:
        if each.evidence:
            yield each.text, each.status, *_cells(each.evidence)
        else:
            best = each.best_photo
            rule = (f"{each.rule.threshold:.2f}", each.rule.kind) if each.rule else ("-", "-")
            yield each.text, each.status, f"{best.confidence:.2f}", *rule, "0", best.id
    for found in response.undeclared:
        yield found.label.name, "undeclared", *_cells(found.evidence)


def _cells(evidence: Sequence[EvidencePhoto]) -> Sequence[str]:
    best = evidence[0]
    figures = f"{best.confidence:.2f}", f"{best.rule.threshold:.2f}", best.rule.kind
    return *figures, str(len(evidence)), best.id


def _notes(response: ValidateResponse) -> Iterator[str]:
    for each in response.declared:
        if each.reason:
            yield f"{each.text}: {each.reason}"
        if each.similar_labels:
            similar = " or ".join(each.similar_labels)
            yield f"{each.text}: scored as a text; is the label {similar} meant?"
