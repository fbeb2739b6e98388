"""Progress bars that simulate the kill of a run."""

from typing import Any

from rich.progress import Progress


class KilledError(Exception):
    """An error that no code under test catches."""


class KillingProgress(Progress):
    """Raises `KilledError` from an update after a number of completed steps."""

    def __init__(self, after: int) -> None:
        super().__init__(disable=True)
        self.left = after

    def update(self, *args: Any, **options: Any) -> None:
        """Count the completed steps."""
        super().update(*args, **options)
        self.left -= "completed" in options
        if self.left < 0:
            raise KilledError
