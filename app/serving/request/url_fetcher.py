"""Photos by URL: fetched from public hosts alone, within bounds of bytes, time and redirects.

A URL comes from a stranger and would have this server ask machines that the stranger cannot reach
(server-side request forgery). So each name is resolved here, once; every address that it has must
be public; and the connection goes to the address that was checked. Each redirect begins anew.
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
HEADERS = [  # and no more: a stranger's host learns nothing of the request or its trace
    (b"User-Agent", b"MuMIC"),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]
# What Python may take for global and is not: one cloud has its metadata in the first; within the
# others an IPv4 address travels, perhaps one of the network next door.
NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "::/96")
]
# A name whose servers are silent takes the system's resolver 20 to 30 s, long after its fetch was
# given up: without more places than fetches, as many such names would keep all others out.
LOOK_UPS_A_FETCH = 8
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, and no wrapping of another."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip in network for network in NOT_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        wraps = ip.ipv4_mapped or ip.sixtofour or ip.teredo
        if wraps or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class Fetcher:
    """Fetches photos that requests name by URL.

    Args:
        settings: the limits, and the hosts that are allowed or denied.
        resolve: a host and port -> its addresses; by default the system's.
        is_public: whether an address may be connected to.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Resolve | None = None,
        is_public: Callable[[str], bool] = is_public,
    ) -> None:
        self._settings = settings
        resolve = resolve or Resolver(settings.url_concurrency * LOOK_UPS_A_FETCH)
        self._backend = _Pinned(resolve, is_public)
        self._at_once = asyncio.Semaphore(settings.url_concurrency)

    async def fetch(self, url: str, hold: Callable[[int], None]) -> bytes:
        """Fetch one photo.

        Args:
            url: as the request has it.
            hold: told the size of each piece before it is kept; it may raise.

        Raises:
            ImageError: the URL is not allowed, or what it names cannot be had.
        """
        try:
            async with self._at_once, asyncio.timeout(self._settings.url_timeout_s):
                return await self._follow(url, hold)
        except TimeoutError as error:
            raise _failed(f"was not answered within {self._settings.url_timeout_s:g} s") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, UnicodeError) as error:
            raise _failed("could not be fetched") from error
        except httpcore2.TimeoutException as error:
            raise _failed("could not be fetched in time") from error

    async def _follow(self, url: str, hold: Callable[[int], None]) -> bytes:
        for _ in range(1 + self._settings.url_max_redirects):
            async with self._get(self._checked(url)) as response:
                if response.status not in REDIRECTS:
                    return await self._read(response, hold)
                target = _header(response, b"location")
            if not target:
                raise _failed("is redirected to nowhere")
            try:
                url = urljoin(url, target)
            except ValueError as error:
                raise _failed("is redirected to what is no URL") from error
        raise _failed(f"is redirected more than {self._settings.url_max_redirects} times")

    @asynccontextmanager
    async def _get(self, url: httpcore2.URL) -> AsyncIterator[httpcore2.Response]:
        # A pool for one request: a kept connection would outlive the check of its address.
        async with (
            httpcore2.AsyncConnectionPool(network_backend=self._backend) as pool,
            pool.stream(
                "GET",
                url,
                headers=HEADERS,
                extensions={"sni_hostname": _bare(url.host.decode())},
            ) as response,
        ):
            yield response

    async def _read(self, response: httpcore2.Response, hold: Callable[[int], None]) -> bytes:
        if response.status != 200:
            raise _failed(f"was answered with {response.status}")
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise _failed("was answered in a compressed form")
        most = self._settings.max_image_bytes
        data = bytearray()
        async for piece in response.aiter_stream():
            if len(data) + len(piece) > most:
                raise ImageError("too_many_bytes", f"an image may have at most {most:,} bytes")
            hold(len(piece))
            data += piece
        return bytes(data)

    def _checked(self, url: str) -> httpcore2.URL:
        """Hold a URL against what is allowed, and take it apart: nobody parses it again."""
        parts = _split(url)
        schemes = ("https", "http") if self._settings.url_allow_http else ("https",)
        if parts.scheme not in schemes:
            raise _refused(f"must begin with {' or '.join(f'{each}://' for each in schemes)}")
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise _refused("must name a host, and nobody's password")
        host = host_name(parts.hostname)
        if parts.port not in (None, *self._settings.url_ports):
            raise _refused("names a port that is not allowed")
        if _listed(host, self._settings.url_deny_hosts):
            raise _refused("names a host that is denied")
        if (allowed := self._settings.url_allow_hosts) and not _listed(host, allowed):
            raise _refused("names a host that is not on the list of those allowed")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return httpcore2.URL(
            scheme=parts.scheme.encode(),
            host=(f"[{host}]" if ":" in host else host).encode(),  # as the Host header has it
            port=parts.port or PORTS[parts.scheme],
            target=target.encode(),
        )


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to an address that was checked, never to a name, which could change in between."""

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
        """Connect to the first of a name's addresses, if all of them are public."""
        addresses = await self._resolve(_bare(host), port)
        if not addresses or not all(map(self._is_public, addresses)):
            raise _refused("names a host whose address is not public")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARS or not VALID.fullmatch(url):
        raise _refused(
            f"must have at most {MAX_URL_CHARS} characters of those that a URL may have; "
            "write others as %XX"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _refused("is not a URL") from error
    return parts


def _bare(host: str) -> str:
    """A host without the brackets around an IPv6 address."""
    return host.strip("[]")


def _listed(host: str, names: Sequence[str]) -> bool:
    """Whether a host is one of those named, or below one."""
    return any(host == name or host.endswith(f".{name}") for name in names)


def _header(response: httpcore2.Response, name: bytes) -> str:
    return next((v.decode("latin-1") for n, v in response.headers if n.lower() == name), "")


def _refused(why: str) -> ImageError:
    return ImageError("url_not_allowed", f"the URL {why}")


def _failed(why: str) -> ImageError:
    return ImageError("url_failed", f"the URL {why}")
