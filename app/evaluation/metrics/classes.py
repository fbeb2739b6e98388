"""Which classes an evaluation measures, and by which texts."""

from collections.abc import Mapping, Sequence
from typing import Literal

from app.core.labels import LabelSet, render
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import Name
from app.errors import OptionError
from app.evaluation.metrics.subsets import ScoredClass

ClassSource = Literal["names", "labels"]
NO_CATEGORY = "No category"


def scored_classes(
    data: LabelledPhotos,
    label_set: LabelSet,
    names: Mapping[str, Name] | None,
    source: ClassSource,
) -> list[ScoredClass]:
    """The manifest's names, each by its own text, or the label set's labels by their prompts.

    Args:
        data: the photos.
        label_set: gives the categories.
        names: what the manifest's names mean; None where they are label ids.
        source: which of the two.

    Returns:
        The classes, in the order of the names or of the label set.
    """
    category = {label.id: label.category for label in label_set.labels}
    if names is None or source == "labels":
        column_of = {text.casefold(): column for column, text in enumerate(data.texts)}
        prompts = zip(label_set.ids, label_set.prompts, strict=True)
        columns = {id: column_of[prompt.casefold()] for id, prompt in prompts}
        categories = category
    else:
        columns = dict(data.classes)
        categories = {key: _category(name, category) for key, name in names.items()}
    positives = (data.targets == 1).sum(dim=0).tolist()
    return [
        ScoredClass(key, categories[key], column, positives[column])
        for key, column in columns.items()
    ]


def texts_of(
    classes: Sequence[ScoredClass],
    label_set: LabelSet,
    names: Mapping[str, Name] | None,
    source: ClassSource,
) -> list[str]:
    """The text by which a checkpoint scores each class: its own template, its own prompts.

    Args:
        classes: the classes.
        label_set: the checkpoint's.
        names: what the manifest's names mean; None where they are label ids.
        source: as for `scored_classes`.

    Returns:
        A rendered text for each class.

    Raises:
        OptionError: the label set lacks a label; that of a checkpoint to compare with can.
    """
    if names is not None and source == "names":
        return [render(label_set.template, names[each.key].text) for each in classes]
    prompts = dict(zip(label_set.ids, label_set.prompts, strict=True))
    if missing := [each.key for each in classes if each.key not in prompts]:
        raise OptionError(
            "compare-with",
            f"its label set lacks {', '.join(missing[:5])}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}; both checkpoints "
            "must know the labels to measure, or --names must say what the manifest's names mean",
        )
    return [prompts[each.key] for each in classes]


def _category(name: Name, of_label: Mapping[str, str]) -> str:
    labels = [*([name.label] if name.label else []), *name.implies]
    return of_label[labels[0]] if labels else NO_CATEGORY
