"""How long a request may take, and what it has left of that."""

import asyncio
import re

from fastapi import Request

from app.errors import OptionError

HEADER = "X-Request-Timeout-Ms"
VALID = re.compile(r"0{0,9}[1-9][0-9]{0,9}")


def allowed_s(request: Request, most_s: float) -> float:
    """Seconds that a request may take: what it asks for in `X-Request-Timeout-Ms`, or the most.

    Raises:
        OptionError: the header is no number of milliseconds.
    """
    asked = request.headers.get(HEADER)
    if asked is None:
        return most_s
    if not VALID.fullmatch(asked):
        raise OptionError(HEADER, f"must be a whole number of milliseconds, got {asked[:60]!r}")
    return min(most_s, int(asked) / 1000)


def left_s(request: Request, allowed_s: float) -> float:
    """Seconds until a request that may take so long is late; not above 0 once it is."""
    arrived: float = request.state.arrived
    return arrived + allowed_s - asyncio.get_running_loop().time()
