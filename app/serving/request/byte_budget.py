"""How many bytes of requests' bodies the server holds at a time."""

from collections.abc import Callable

from app.errors import OverloadedError


class ByteBudget:
    """Bounds the bodies of all requests together, as they come in.

    Args:
        most: bytes.
        retry_after_s: when to try again, in seconds, asked when it is needed.
        on_change: told the bytes that are held.
    """

    def __init__(
        self, most: int, retry_after_s: Callable[[], int], on_change: Callable[[int], None]
    ) -> None:
        self._most = most
        self._retry_after_s = retry_after_s
        self._on_change = on_change
        self._held = 0

    def take(self, size_bytes: int) -> None:
        """Hold so many more; what is taken is given back by `give_back`.

        Raises:
            OverloadedError: they do not fit; they are not held.
        """
        if self._held + size_bytes > self._most:
            raise OverloadedError(
                f"the requests in flight hold {self._held} bytes and may hold {self._most}; "
                "try again later",
                self._retry_after_s(),
            )
        self._hold(self._held + size_bytes)

    def give_back(self, size_bytes: int) -> None:
        """Hold so many less."""
        self._hold(self._held - size_bytes)

    def _hold(self, size_bytes: int) -> None:
        self._held = size_bytes
        self._on_change(size_bytes)


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, size_bytes: int) -> None:
        """Hold so many more; the errors are the budget's."""
        self._budget.take(size_bytes)
        self._held += size_bytes

    def give_back(self) -> None:
        """Hold none any more."""
        self._budget.give_back(self._held)
        self._held = 0
