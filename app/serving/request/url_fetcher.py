"""Fetches images by URL from public hosts, with limits on bytes, time and redirects.

A URL from a client could point this server at internal machines (server-side request forgery).
Therefore each host is resolved exactly once, all of its addresses must be public, and the
connection goes to a checked address. Each redirect is checked in the same way. The decision record
docs/adr/0009-url-fetching.md has the reasons.
"""

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore2

from app.errors import ImageError
from app.serving.request.dns import Resolver
from app.settings import Settings, host_name

REDIRECTS = {301, 302, 303, 307, 308}
MAX_URL_CHARS = 2000
VALID = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
PORTS = {"https": 443, "http": 80}
HEADERS = [  # nothing of the client's request or its trace is passed on
    (b"User-Agent", b"MuMIC"),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]
# Not public, although some Python versions report them as global. One cloud serves its metadata
# from the first network; addresses of the others embed an IPv4 address, which may be private.
NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "::/96")
]
# The system's resolver takes 20 to 30 s for a host whose name servers do not answer, longer than
# the fetch. With one look-up per fetch, a few such hosts would block all other look-ups.
LOOK_UPS_PER_FETCH = 8
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


def is_public(address: str) -> bool:
    """Whether an IP address is public and does not embed another address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip in network for network in NOT_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or ip.teredo
        if embedded or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class Fetcher:
    """Fetches images by URL.

    Args:
        settings: the limits, and the allowed and denied hosts.
        resolve: returns the addresses of a host and port; by default the system's resolver.
        is_public: whether the fetcher may connect to an address.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Resolve | None = None,
        is_public: Callable[[str], bool] = is_public,
    ) -> None:
        self._settings = settings
        resolve = resolve or Resolver(settings.url_concurrency * LOOK_UPS_PER_FETCH)
        self._backend = _CheckedBackend(resolve, is_public)
        self._concurrency = asyncio.Semaphore(settings.url_concurrency)

    async def fetch(self, url: str, reserve: Callable[[int], None]) -> bytes:
        """Fetch one image.

        Args:
            url: the URL from the request.
            reserve: called with the size of each chunk before it is stored; it may raise.

        Raises:
            ImageError: the URL is not allowed, or the image cannot be fetched.
        """
        try:
            async with self._concurrency, asyncio.timeout(self._settings.url_timeout_s):
                return await self._follow(url, reserve)
        except TimeoutError as error:
            raise _failed(f"did not respond within {self._settings.url_timeout_s:g} s") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, UnicodeError) as error:
            raise _failed("could not be fetched") from error
        except httpcore2.TimeoutException as error:
            raise _failed("could not be fetched in time") from error

    async def _follow(self, url: str, reserve: Callable[[int], None]) -> bytes:
        for _ in range(1 + self._settings.url_max_redirects):
            async with self._get(self._check(url)) as response:
                if response.status not in REDIRECTS:
                    return await self._read(response, reserve)
                target = _header(response, b"location")
            if not target:
                raise _failed("redirects without a location")
            try:
                url = urljoin(url, target)
            except ValueError as error:
                raise _failed("redirects to an invalid URL") from error
        raise _failed(f"redirects more than {self._settings.url_max_redirects} times")

    @asynccontextmanager
    async def _get(self, url: httpcore2.URL) -> AsyncIterator[httpcore2.Response]:
        # One pool per request: a reused connection would skip the check of its address.
        async with (
            httpcore2.AsyncConnectionPool(network_backend=self._backend) as pool,
            pool.stream(
                "GET",
                url,
                headers=HEADERS,
                extensions={"sni_hostname": _without_brackets(url.host.decode())},
            ) as response,
        ):
            yield response

    async def _read(self, response: httpcore2.Response, reserve: Callable[[int], None]) -> bytes:
        if response.status != 200:
            raise _failed(f"returned status {response.status}")
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise _failed("returned a compressed response")
        most = self._settings.max_image_bytes
        data = bytearray()
        async for chunk in response.aiter_stream():
            if len(data) + len(chunk) > most:
                raise ImageError("too_many_bytes", f"an image may have at most {most:,} bytes")
            reserve(len(chunk))
            data += chunk
        return bytes(data)

    def _check(self, url: str) -> httpcore2.URL:
        """Check a URL and split it, so that httpcore2 does not parse it differently."""
        parts = _split(url)
        schemes = ("https", "http") if self._settings.url_allow_http else ("https",)
        if parts.scheme not in schemes:
            raise _refused(f"must begin with {' or '.join(f'{each}://' for each in schemes)}")
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise _refused("must have a host, and no user name or password")
        host = host_name(parts.hostname)
        if parts.port not in (None, *self._settings.url_ports):
            raise _refused("has a port that is not allowed")
        if _matches(host, self._settings.url_deny_hosts):
            raise _refused("has a host that is denied")
        if (allowed := self._settings.url_allow_hosts) and not _matches(host, allowed):
            raise _refused("has a host that is not in the list of allowed hosts")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return httpcore2.URL(
            scheme=parts.scheme.encode(),
            host=(f"[{host}]" if ":" in host else host).encode(),  # the format of the Host header
            port=parts.port or PORTS[parts.scheme],
            target=target.encode(),
        )


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to a checked address, never to a name, which could resolve differently later."""

    def __init__(self, resolve: Resolve, is_public: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._is_public = is_public
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a host, if all of its addresses are public."""
        addresses = await self._resolve(_without_brackets(host), port)
        if not addresses or not all(map(self._is_public, addresses)):
            raise _refused("has a host whose address is not public")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARS or not VALID.fullmatch(url):
        raise _refused(
            f"must have at most {MAX_URL_CHARS} characters, all valid in a URL; "
            "percent-encode others as %XX"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _refused("is not a URL") from error
    return parts


def _without_brackets(host: str) -> str:
    """Return a host without the brackets around an IPv6 address."""
    return host.strip("[]")


def _matches(host: str, names: Sequence[str]) -> bool:
    """Whether a host is one of these hosts, or a subdomain of one."""
    return any(host == name or host.endswith(f".{name}") for name in names)


def _header(response: httpcore2.Response, name: bytes) -> str:
    return next((v.decode("latin-1") for n, v in response.headers if n.lower() == name), "")


def _refused(reason: str) -> ImageError:
    return ImageError("url_not_allowed", f"the URL {reason}")


def _failed(reason: str) -> ImageError:
    return ImageError("url_failed", f"the URL {reason}")
