"""Suggestions of similar names for an unknown name."""

import difflib
import reprlib
from collections.abc import Iterable


def nearest_names(word: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Find the known names most similar to an unknown one, ignoring case.

    Args:
        word: the unknown name.
        known: the known names.
        n: maximum number of results.

    Returns:
        At most `n` of `known`, most similar first; empty if none is similar.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, n)]


def unknown_name_message(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the message `unknown KIND 'WORD'`, with the most similar known names."""
    close = nearest_names(word, known)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"unknown {kind} {reprlib.repr(word)}{hint}"
