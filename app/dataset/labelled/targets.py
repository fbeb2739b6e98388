"""Expands the names of a photo to targets for every label text."""

from collections.abc import Iterable, Mapping, Set

from app.core.labels import LabelSet, render, tokenizer_words
from app.dataset.manifest import ManifestRow, NameDefinition, labels_implied_by


class TextColumns:
    """Assigns a column to each text that the tokenizer tells apart, in the order of first use."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts: list[str] = []
        self._index: dict[str, int] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> int:
        """Return the column of a text; add one for a new text."""
        words = tokenizer_words(text)
        if words not in self._index:
            self._index[words] = len(self.texts)
            self.texts.append(text)
        return self._index[words]


class TargetExpansion:
    """Derives the targets of a row from its names.

    A name sets the target of its own text and, where it is defined by a label, of that label's
    prompt. A positive name makes its implied labels positive; an implied label is absent where
    every name that implies it is absent. A positive label makes its ancestors positive
    (section 3.2), also where they are given as absent; `contradicted` lists those. An absent
    label makes its descendants absent (`absent_descendants`).

    Args:
        names: the names that a manifest may use.
        label_set: the labels that the names refer to.
        columns: receives a column for each text of a name and each prompt of a label.
    """

    def __init__(
        self, names: Mapping[str, NameDefinition], label_set: LabelSet, columns: TextColumns
    ) -> None:
        self._names = names
        self._label_set = label_set
        self._label_column = {
            label: columns.add(prompt)
            for label, prompt in zip(label_set.ids, label_set.prompts, strict=True)
        }
        self.classes = {
            key: columns.add(render(label_set.template, name.text)) for key, name in names.items()
        }
        self._ancestors = {label: frozenset(label_set.ancestors(label)) for label in label_set.ids}
        self._implied_by: dict[str, set[str]] = {}
        for key, name in names.items():
            for label in name.implies:
                self._implied_by.setdefault(label, set()).add(key)

    def own_columns(self, key: str) -> set[int]:
        """Return the columns of a name's own text and of its label."""
        label = self._names[key].label
        return {self.classes[key], *([self._label_column[label]] if label else [])}

    def presence(self, row: ManifestRow, left_out: frozenset[str]) -> dict[int, bool]:
        """Return column to presence for one row, without the names that are left out."""
        positive, negative = row.positive - left_out, row.negative - left_out
        return (
            {self.classes[key]: False for key in negative}
            | {self._label_column[label]: False for label in self._absent(negative)}
            | {self._label_column[label]: True for label in self._present(positive)}
            | {self.classes[key]: True for key in positive}
        )

    def absent_descendants(self, row: ManifestRow, left_out: frozenset[str]) -> set[int]:
        """Return the columns of the labels that are absent because an ancestor is."""
        absent = self._absent(row.negative - left_out) - self._present(row.positive - left_out)
        return {
            self._label_column[label]
            for label, ancestors in self._ancestors.items()
            if not absent.isdisjoint(ancestors)
        }

    def contradicted(self, row: ManifestRow) -> set[str]:
        """Return the labels that are absent by a name of the row and implied by a positive one."""
        return self._absent(row.negative) & self._present(row.positive)

    def _present(self, positive: Set[str]) -> set[str]:
        return {
            label
            for key in positive
            for label in labels_implied_by(self._names[key], self._label_set)
        }

    def _absent(self, negative: Set[str]) -> set[str]:
        own = {label for key in negative if (label := self._names[key].label)}
        return own | {label for label, keys in self._implied_by.items() if keys <= negative}
