"""Lists of names in messages."""

from collections.abc import Sequence

MAX_LISTED = 10


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas: the first `MAX_LISTED`, and how many more there are."""
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
