"""Finds labels that may be spelling variants of another label of the same table."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from app.dataset.manifest import Annotation

MIN_LETTERS = 5  # `coat` and `boat` are different words
# A typing error is made now and then; a label as frequent as this is meant.
MAX_TYPO_SHARE = 0.05
MAX_NAMED = 10  # pairs in a warning


def variant_warnings(annotations: Sequence[Annotation]) -> list[str]:
    """Return a warning of labels that may be variants of another; empty if there are none.

    Two labels are variants if they are equal but for case, white space, `_`, `-`, Unicode
    compatibility forms and invisible characters, or if one letter is wrong, missing, surplus or
    misplaced in one that is much rarer. `room1` and `room2` are different labels.

    Args:
        annotations: the photos as the table lists them.
    """
    photos = Counter(label for each in annotations for label in each.positive | each.negative)
    key_of = {label: _spelling_key(label) for label in photos}
    pairs = [
        f"{rarer!r} ({photos[rarer]}) and {other!r} ({photos[other]})"
        for rarer, other in combinations(sorted(photos, key=lambda each: (photos[each], each)), 2)
        if key_of[rarer] == key_of[other]
        or (
            photos[rarer] <= max(1, MAX_TYPO_SHARE * photos[other])
            and photos[rarer] < photos[other]
            and _is_one_letter_off(key_of[rarer], key_of[other])
        )
    ]
    if not pairs:
        return []
    more = f" and {len(pairs) - MAX_NAMED} more" if len(pairs) > MAX_NAMED else ""
    return [
        f"labels that may be one label in two spellings (photos): {', '.join(pairs[:MAX_NAMED])}"
        f"{more}. Each spelling is a label of its own. Correct the table; --labels FILE refuses "
        "labels that the label set does not have"
    ]


def _spelling_key(label: str) -> str:
    """Return a text that is equal for labels that only look different."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    return "".join(
        character
        for character in folded
        if not character.isspace()
        and character not in "_-"
        and unicodedata.category(character) != "Cf"
    )


def _is_one_letter_off(one: str, other: str) -> bool:
    """Return whether a letter is wrong, missing, surplus or misplaced; digits are no letters."""
    return (
        max(len(one), len(other)) >= MIN_LETTERS
        and list(filter(str.isdigit, one)) == list(filter(str.isdigit, other))
        and not _with_one_less(one).isdisjoint(_with_one_less(other))
    )


def _with_one_less(text: str) -> set[str]:
    return {text, *(text[:i] + text[i + 1 :] for i in range(len(text)))}
