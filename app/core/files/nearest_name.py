"""The known names most like one that is not known."""

import difflib
import reprlib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Find the known words most like a misspelt one, whatever their case.

    Args:
        word: what was written.
        known: what could have been meant.
        n: the most to give back.

    Returns:
        At most `n` of `known`, best first; empty when none is like it.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, n)]


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Say that a word is not known, with the nearest known ones."""
    close = nearest(word, known)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"unknown {kind} {reprlib.repr(word)}{hint}"
