"""From the names that a photo carries to presence or absence of every label text."""

from collections.abc import Iterable, Mapping

from app.core.labels import LabelSet, render
from app.dataset.manifest import Name, Row, labels_of


class Columns:
    """Texts in the order of their first use; the same text in another case is the same column."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts: list[str] = []
        self._index: dict[str, int] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> int:
        """The text's column, a new one where it has none."""
        if text.casefold() not in self._index:
            self._index[text.casefold()] = len(self.texts)
            self.texts.append(text)
        return self._index[text.casefold()]


class Expansion:
    """What a row's names say about the columns.

    A name is known by its own text and, where it stands for a label, by that label's prompt. A
    positive name makes the labels that it implies positive; such a label is absent where every
    name that implies it is. A positive label makes its ancestors positive (section 3.2).

    Args:
        names: the names that a manifest may use.
        label_set: the labels that they stand for.
        columns: where the texts of the names and the labels' prompts get their place.
    """

    def __init__(self, names: Mapping[str, Name], label_set: LabelSet, columns: Columns) -> None:
        self._names = names
        self._label_set = label_set
        self._label_column = {
            label: columns.add(prompt)
            for label, prompt in zip(label_set.ids, label_set.prompts, strict=True)
        }
        self.classes = {
            key: columns.add(render(label_set.template, name.text)) for key, name in names.items()
        }
        self._implied_by: dict[str, set[str]] = {}
        for key, name in names.items():
            for label in name.implies:
                self._implied_by.setdefault(label, set()).add(key)

    def own_columns(self, key: str) -> set[int]:
        """The columns of a name's own text and of the label that it stands for."""
        label = self._names[key].label
        return {self.classes[key], *([self._label_column[label]] if label else [])}

    def pairs(self, row: Row, left_out: frozenset[str]) -> dict[int, bool]:
        """Column to presence, for all that one row says of names that are not left out."""
        positive, negative = row.positive - left_out, row.negative - left_out
        present = {
            label for key in positive for label in labels_of(self._names[key], self._label_set)
        }
        absent = {label for key in negative if (label := self._names[key].label)}
        absent |= {label for label, keys in self._implied_by.items() if keys <= negative}
        return (
            {self.classes[key]: False for key in negative}
            | {self._label_column[label]: False for label in absent}
            | {self._label_column[label]: True for label in present}
            | {self.classes[key]: True for key in positive}
        )
