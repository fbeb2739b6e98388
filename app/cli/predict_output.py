"""The results of `mumic predict` as lines of text or as one JSON document, photo by photo."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from app.cli.console import escape_unencodable
from app.cli.photo_inputs import Failure, failed_document
from app.core.classifier import Classifier
from app.core.model import Scoring
from app.serving.observability import CONTROLS
from app.serving.schemas import Score, ZeroShotResult, model_info, predict_result
from app.tagger import ScoredPhoto, TaggedPhoto

Result = TaggedPhoto | ScoredPhoto | Failure
WriteResult = Callable[[str, Result], None]


def write_line(id: str, result: Result) -> None:
    """Print the id, a tab, and labels with confidences or the error; escape control characters."""
    if error := error_of(result):
        text = f"error: {error.message}"
    elif isinstance(result, ScoredPhoto):
        text = ", ".join(f"{score.label} {score.confidence:.2f}" for score in result.scores)
    elif isinstance(result, TaggedPhoto):
        text = ", ".join(f"{tag.label.name} {tag.confidence:.2f}" for tag in result.tags)
    text = text or "no label reaches its threshold"
    sys.stdout.write(f"{id.translate(CONTROLS)}\t{text.translate(CONTROLS)}\n")


@contextmanager
def lines() -> Iterator[WriteResult]:
    """Print a line per photo. What the output's encoding lacks is escaped."""
    escape_unencodable()
    yield write_line


@contextmanager
def json_document(classifier: Classifier, scoring: Scoring | None) -> Iterator[WriteResult]:
    """Print the answer of POST /predict or POST /zero-shot in UTF-8, each result when it is known.

    The document is complete even if the context ends early.

    Args:
        classifier: the checkpoint that produces the results.
        scoring: the method of POST /zero-shot; None for POST /predict.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    separator = ""
    sys.stdout.write(f'{{\n  "model": {_indented(model_info(classifier), 2)},')
    if scoring is not None:
        sys.stdout.write(f'\n  "scoring": "{scoring}",')
    sys.stdout.write('\n  "results": [')

    def write(id: str, result: Result) -> None:
        nonlocal separator
        sys.stdout.write(f"{separator}\n    {_indented(_json_result(id, result), 4)}")
        separator = ","

    try:
        yield write
    finally:
        sys.stdout.write("\n  ]\n}\n" if separator else "]\n}\n")


def error_of(result: Result) -> Failure | None:
    """Return why a photo has no labels; None if it has been processed."""
    return result.error if isinstance(result, TaggedPhoto | ScoredPhoto) else result


def _json_result(id: str, result: Result) -> BaseModel | dict[str, object]:
    if error := error_of(result):
        return failed_document(id, error)
    if isinstance(result, TaggedPhoto):
        return predict_result(id, result.width, result.height, result.tags)
    assert isinstance(result, ScoredPhoto)
    scores = [Score(label=each.label, confidence=each.confidence) for each in result.scores]
    return ZeroShotResult(id=id, width=result.width, height=result.height, scores=scores)


def _indented(value: BaseModel | dict[str, object], spaces: int) -> str:
    given = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(given, ensure_ascii=False, indent=2).replace("\n", "\n" + " " * spaces)
