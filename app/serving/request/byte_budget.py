"""Bounds the memory of all request bodies."""

from collections.abc import Callable

from app.errors import OverloadedError


class ByteBudget:
    """Bounds the bytes of all request bodies in memory, counted while they arrive.

    Args:
        max_bytes: the limit.
        retry_after_s: returns the seconds after which a refused client should retry.
        on_change: called with the number of bytes in use.
    """

    def __init__(
        self, max_bytes: int, retry_after_s: Callable[[], int], on_change: Callable[[int], None]
    ) -> None:
        self._max_bytes = max_bytes
        self._retry_after_s = retry_after_s
        self._on_change = on_change
        self._held = 0

    def take(self, size_bytes: int) -> None:
        """Reserve bytes; `give_back` releases them.

        Raises:
            OverloadedError: the limit would be exceeded; no bytes are reserved.
        """
        if self._held + size_bytes > self._max_bytes:
            raise OverloadedError(
                f"the requests in flight use {self._held} of {self._max_bytes} bytes; retry later",
                self._retry_after_s(),
            )
        self._hold(self._held + size_bytes)

    def give_back(self, size_bytes: int) -> None:
        """Release reserved bytes."""
        self._hold(self._held - size_bytes)

    def _hold(self, size_bytes: int) -> None:
        self._held = size_bytes
        self._on_change(size_bytes)


class Share:
    """The bytes that one request has reserved in a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, size_bytes: int) -> None:
        """Reserve more bytes; raises OverloadedError like the budget."""
        self._budget.take(size_bytes)
        self._held += size_bytes

    def give_back(self) -> None:
        """Release all bytes of the request."""
        self._budget.give_back(self._held)
        self._held = 0
