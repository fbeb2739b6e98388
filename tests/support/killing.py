"""A run that is killed."""

from typing import Any

from rich.progress import Progress


class KilledError(Exception):
    """Nothing that a run would catch."""


class KillingProgress(Progress):
    """Stops the run after some steps, as a kill would between two of them."""

    def __init__(self, after: int) -> None:
        super().__init__(disable=True)
        self.left = after

    def update(self, *args: Any, **options: Any) -> None:
        """Count the steps."""
        super().update(*args, **options)
        self.left -= "completed" in options
        if self.left < 0:
            raise KilledError
