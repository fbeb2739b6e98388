"""Classes to measure, and subsets of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.core.files import nearest_names
from app.errors import OptionError


@dataclass(frozen=True, slots=True)
class ScoredClass:
    """A class to measure.

    Attributes:
        key: the name in the manifest, or the label id.
        category: the category of its label, or else of the first label that it implies.
        column: the column of its text in the targets.
        positives: number of photos in the whole manifest with a positive target.
    """

    key: str
    category: str
    column: int
    positives: int


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of classes.

    Attributes:
        title: the name of the subset.
        members: positions among the scored classes.
    """

    title: str
    members: tuple[int, ...]


def class_subsets(
    classes: Sequence[ScoredClass], *, top: int | None, chosen: Collection[str]
) -> list[Subset]:
    """Return the subsets to measure: all classes, the most frequent, chosen ones, each category.

    Args:
        classes: the classes.
        top: N, adds a subset of the N classes with the most positives in the manifest.
        chosen: keys, adds a subset of these classes.

    Returns:
        All classes first, then the optional subsets, then the categories if there are several.

    Raises:
        OptionError: a chosen key is unknown.
    """
    keys = [each.key for each in classes]
    found = [Subset(f"all {len(classes)} classes", tuple(range(len(classes))))]
    if top is not None:
        # Sorting is stable: of equally frequent classes the first ones are selected.
        ranked = sorted(range(len(classes)), key=lambda i: -classes[i].positives)[:top]
        found.append(Subset(f"{len(ranked)} most frequent", tuple(sorted(ranked))))
    for key in chosen:
        if key not in keys:
            hint = ", ".join(nearest_names(key, keys)) or "none"
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
