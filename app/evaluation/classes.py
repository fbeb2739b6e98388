"""Which classes an evaluation measures, alone and together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.core.labels import LabelSet, nearest, render
from app.dataset.labelled import LabelledPhotos
from app.dataset.names import Name
from app.errors import OptionError

ClassSource = Literal["names", "labels"]
NO_CATEGORY = "No category"


@dataclass(frozen=True, slots=True)
class ScoredClass:
    """A class to measure.

    Attributes:
        key: its name in the manifest, or its label id.
        category: of its label, else of the first label that it implies.
        column: of its text among those of the data.
        positives: photos of the whole manifest that are known to have it.
    """

    key: str
    category: str
    column: int
    positives: int


@dataclass(frozen=True, slots=True)
class Subset:
    """Classes that are measured together.

    Attributes:
        title: what they are.
        members: their positions among the scored classes.
    """

    title: str
    members: tuple[int, ...]


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


def subsets_of(
    classes: Sequence[ScoredClass], *, top: int | None, chosen: Collection[str]
) -> list[Subset]:
    """Which classes are measured together: all, the most frequent, chosen ones, each category.

    Args:
        classes: the classes.
        top: N, to have the N with the most positives in the manifest.
        chosen: keys, to have them together.

    Returns:
        All of them first; then what was asked for, then the categories where there are several.

    Raises:
        OptionError: a chosen key is none of theirs.
    """
    keys = [each.key for each in classes]
    found = [Subset(f"all {len(classes)} classes", tuple(range(len(classes))))]
    if top is not None:
        # Sorting is stable: of equally frequent classes the first ones are taken.
        ranked = sorted(range(len(classes)), key=lambda i: -classes[i].positives)[:top]
        found.append(Subset(f"{len(ranked)} most frequent", tuple(sorted(ranked))))
    for key in chosen:
        if key not in keys:
            hint = ", ".join(nearest(key, keys)) or "none"
            raise OptionError("chosen", f"unknown class {key!r}; nearest known: {hint}")
    if chosen:
        members = tuple(i for i, key in enumerate(keys) if key in chosen)
        found.append(Subset(f"{len(members)} chosen", members))
    categories = dict.fromkeys(each.category for each in classes)
    if len(categories) > 1:
        for category in categories:
            members = tuple(i for i, each in enumerate(classes) if each.category == category)
            found.append(Subset(category, members))
    return found


def _category(name: Name, of_label: Mapping[str, str]) -> str:
    labels = [*([name.label] if name.label else []), *name.implies]
    return of_label[labels[0]] if labels else NO_CATEGORY
