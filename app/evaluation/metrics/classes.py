"""The classes that an evaluation measures, and the texts that they are scored by."""

from collections.abc import Mapping, Sequence
from typing import Literal

from app.core.labels import LabelSet, render, tokenizer_words
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import NameDefinition
from app.errors import OptionError
from app.evaluation.metrics.subsets import ScoredClass

ClassSource = Literal["names", "labels"]
NO_CATEGORY = "No category"


def scored_classes(
    data: LabelledPhotos,
    label_set: LabelSet,
    names: Mapping[str, NameDefinition] | None,
    source: ClassSource,
) -> list[ScoredClass]:
    """Return the classes to measure: the manifest's names, or the labels of the label set.

    A name is scored by its own text, a label by its prompt.

    Args:
        data: the photos.
        label_set: the labels and their categories.
        names: definitions of the manifest's names; None if these are label ids.
        source: names or labels.

    Returns:
        The classes, in the order of the names or of the label set.
    """
    category = {label.id: label.category for label in label_set.labels}
    if names is None or source == "labels":
        column_of = {tokenizer_words(text): column for column, text in enumerate(data.texts)}
        prompts = zip(label_set.ids, label_set.prompts, strict=True)
        columns = {id: column_of[tokenizer_words(prompt)] for id, prompt in prompts}
        categories = category
    else:
        columns = dict(data.classes)
        categories = {key: _category(name, category) for key, name in names.items()}
    positives = (data.targets == 1).sum(dim=0).tolist()
    return [
        ScoredClass(key, categories[key], column, positives[column])
        for key, column in columns.items()
    ]


def class_texts(
    classes: Sequence[ScoredClass],
    label_set: LabelSet,
    names: Mapping[str, NameDefinition] | None,
    source: ClassSource,
) -> list[str]:
    """Return the text by which a checkpoint scores each class.

    Args:
        classes: the classes.
        label_set: the checkpoint's, with its template and prompts.
        names: definitions of the manifest's names; None if these are label ids.
        source: as for `scored_classes`.

    Returns:
        A rendered text per class.

    Raises:
        OptionError: the label set, that of a checkpoint to compare with, lacks a label.
    """
    if names is not None and source == "names":
        return [render(label_set.template, names[each.key].text) for each in classes]
    prompts = dict(zip(label_set.ids, label_set.prompts, strict=True))
    if missing := [each.key for each in classes if each.key not in prompts]:
        raise OptionError(
            "compare-with",
            f"its label set lacks {', '.join(missing[:5])}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}; both checkpoints "
            "must have the labels to measure, or --names must define the manifest's names",
        )
    return [prompts[each.key] for each in classes]


def _category(name: NameDefinition, of_label: Mapping[str, str]) -> str:
    labels = [*([name.label] if name.label else []), *name.implies]
    return of_label[labels[0]] if labels else NO_CATEGORY
