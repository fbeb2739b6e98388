"""Authentication with API keys and bearer tokens, compared in constant time."""

import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.errors import OptionError, UnauthorizedError

MIN_KEY_CHARS = 16
VALID_KEY = re.compile(rf"[!-~]{{{MIN_KEY_CHARS},}}")  # printable ASCII, as in a header
RELOAD_CHECK_INTERVAL_S = 1.0
Check = Callable[..., Awaitable[None]]
Bearer = HTTPAuthorizationCredentials | None
# openapi.json lists these schemes by name.
KEY = APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False)
KEY_AS_BEARER = HTTPBearer(scheme_name="ApiKeyAsBearer", auto_error=False)
METRICS_TOKEN = HTTPBearer(scheme_name="MetricsToken", auto_error=False)
ADMIN_TOKEN = HTTPBearer(scheme_name="AdminToken", auto_error=False)
logger = logging.getLogger("mumic.serving")


class ApiKeys:
    """The API keys in a file, one `name:key` per line; reloaded when the file changes.

    Args:
        path: the file; empty lines and lines that start with # are skipped.

    Raises:
        OptionError: the file cannot be read, or a line is invalid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checked_at = time.monotonic()
        self._seen = _version(path)
        self._clients = _read(path)

    def client(self, key: str) -> str | None:
        """Return the name of the client with this key, or None."""
        self._reload_if_changed()
        found = None
        for name, known in self._clients:  # no early exit: the time must not depend on the key
            if hmac.compare_digest(known, key.encode()):
                found = name
        return found

    def _reload_if_changed(self) -> None:
        now = time.monotonic()
        if now < self._checked_at + RELOAD_CHECK_INTERVAL_S:
            return
        self._checked_at = now
        try:
            seen = _version(self._path)
            if seen == self._seen:
                return
            self._seen = seen
            self._clients = _read(self._path)
            logger.info("Reloaded %d API keys", len(self._clients))
        except OptionError as error:
            logger.warning("Cannot reload the API keys, keeping the old ones: %s", error)


def api_key(keys: ApiKeys) -> Check:
    """Build a dependency that requires an API key and stores the client's name in the state."""

    async def check(
        request: Request,
        key: Annotated[str | None, Security(KEY)],
        bearer: Annotated[Bearer, Security(KEY_AS_BEARER)],
    ) -> None:
        client = keys.client(key or _sent(bearer))
        if client is None:
            raise UnauthorizedError(
                "send a valid key: X-API-Key: KEY, or Authorization: Bearer KEY"
            )
        request.state.client = client

    return check


def token(expected: str, scheme: HTTPBearer) -> Check:
    """Build a dependency that requires `Authorization: Bearer TOKEN`.

    Args:
        expected: the token.
        scheme: its security scheme in openapi.json.
    """

    async def check(bearer: Annotated[Bearer, Security(scheme)]) -> None:
        if not hmac.compare_digest(_sent(bearer).encode(), expected.encode()):
            raise UnauthorizedError("send the token: Authorization: Bearer TOKEN")

    return check


def _sent(bearer: Bearer) -> str:
    return "" if bearer is None else bearer.credentials


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise OptionError("api_keys_file", f"cannot be read: {path}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> list[tuple[str, bytes]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError("api_keys_file", f"cannot be read: {path}: {error}") from error
    clients = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, key = line.strip().partition(":")
        if not name or not VALID_KEY.fullmatch(key):
            raise OptionError(
                "api_keys_file",
                f"{path}:{number}: must be name:key, the key at least {MIN_KEY_CHARS} printable "
                "ASCII characters without spaces",
            )
        clients.append((name, key.encode()))
    if not clients:
        raise OptionError("api_keys_file", f"{path} contains no key")
    return clients
