"""Classes, and which of them are measured together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.core.files import nearest
from app.errors import OptionError


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
