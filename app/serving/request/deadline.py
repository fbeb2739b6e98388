"""The deadline of a request."""

import asyncio
import re

from fastapi import Request

from app.errors import OptionError

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
VALID = re.compile(r"0{0,9}[1-9][0-9]{0,9}")


def allowed_s(request: Request, most_s: float) -> float:
    """Return the request's timeout in seconds: `X-Request-Timeout-Ms`, at most `most_s`.

    Raises:
        OptionError: the header is not a positive number of milliseconds.
    """
    header = request.headers.get(TIMEOUT_HEADER)
    if header is None:
        return most_s
    if not VALID.fullmatch(header):
        raise OptionError(
            TIMEOUT_HEADER, f"must be a whole number of milliseconds, got {header[:60]!r}"
        )
    return min(most_s, int(header) / 1000)


def remaining_s(request: Request, allowed_s: float) -> float:
    """Return the seconds until the deadline; zero or negative once it has passed."""
    arrived: float = request.state.arrived
    return arrived + allowed_s - asyncio.get_running_loop().time()
