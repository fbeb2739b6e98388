"""The declared facilities of a listing: labels of the label set, or texts of the client."""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.files import nearest_names, unknown_name_message
from app.core.labels import Label, LabelSet, render, tokenizer_words
from app.errors import OptionError

MAX_COMPARED_CHARS = 64  # as of an id; a longer text is not compared with names


@dataclass(frozen=True, slots=True)
class Facility:
    """One declared facility.

    Attributes:
        text: as declared, without white space around it.
        label: the label that it names; None for a text of the client's own.
        similar: ids of the labels with names similar to a text, most similar first.
    """

    text: str
    label: Label | None = None
    similar: tuple[str, ...] = ()


def read_declared(texts: Sequence[str], label_set: LabelSet) -> list[Facility]:
    """Find the labels that declared texts name; any other text stays a text.

    A text names a label by its id, its name or the text of its prompt, read as the tokenizer does:
    without case, white space, HTML escapes and Unicode normalisation. A text with an underscore
    and without a blank is an id, so that an unknown id is not scored as a text.

    Args:
        texts: what is declared, each without white space around it and not empty.
        label_set: the checkpoint's labels.

    Returns:
        A facility per text, in order.

    Raises:
        OptionError: a text is an unknown id or the name of several labels, or two texts are the
            same label or the same text.
    """
    by_id = {tokenizer_words(label.id): label for label in label_set.labels}
    by_name: dict[str, dict[str, Label]] = {}
    for each in label_set.labels:
        for name in (each.name, each.text):
            by_name.setdefault(tokenizer_words(name), {})[each.id] = each
    id_of_name = {label.name: label.id for label in label_set.labels}
    facilities: list[Facility] = []
    first_of: dict[str, str] = {}
    for text in texts:
        words = tokenizer_words(text)
        named = [by_id[words]] if words in by_id else list(by_name.get(words, {}).values())
        if len(named) > 1:
            ids = " and ".join(label.id for label in named)
            raise OptionError(
                "declared", f"{reprlib.repr(text)} is the name of {ids}; declare an id"
            )
        label = named[0] if named else None
        if label is None and "_" in text and len(text.split()) == 1:
            unknown = unknown_name_message("label", text, label_set.ids)
            raise OptionError(
                "declared", f"{unknown}; a text of your own has blanks instead of underscores"
            )
        meaning = f"the label {label.id}" if label else "the same text"
        first = first_of.setdefault(f"label {label.id}" if label else f"text {words}", text)
        if len(first_of) == len(facilities):
            raise OptionError("declared", _repetition(first, text, meaning))
        similar = () if label else _similar(text, id_of_name)
        facilities.append(Facility(text, label, similar))
    return facilities


def prompts_of(facilities: Sequence[Facility], template: str) -> list[str]:
    """Render the prompts of the facilities that are texts, in order.

    Args:
        facilities: what is declared.
        template: that of the label set, so that texts are scored as its labels are.
    """
    return [render(template, facility.text) for facility in facilities if facility.label is None]


def _similar(text: str, id_of_name: dict[str, str]) -> tuple[str, ...]:
    if len(text) > MAX_COMPARED_CHARS:
        return ()
    return tuple(id_of_name[name] for name in nearest_names(text, id_of_name))


def _repetition(first: str, second: str, meaning: str) -> str:
    if first == second:
        return f"{reprlib.repr(first)} is declared twice; declare it once"
    return f"{reprlib.repr(first)} and {reprlib.repr(second)} are {meaning}; declare one of them"
