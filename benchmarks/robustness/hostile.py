"""Requests that no product would send, each with the answers that it may get."""

import struct
import zlib
from dataclasses import dataclass

from benchmarks.support.load import BOUNDARY, multipart


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request.

    Args:
        name: what is wrong with it.
        content: what goes over the wire.
        statuses: of which one must come back.
    """

    name: str
    content: bytes
    statuses: tuple[int, ...]


def _request(content_type: str, body: bytes, extra: str = "") -> bytes:
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _png(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20), 9)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def hostile_requests(photo: bytes) -> list[Hostile]:
    """One of each kind.

    Args:
        photo: a good JPEG file, from which some are made.
    """
    form = f"multipart/form-data; boundary={BOUNDARY}"
    jpeg, png, json = "image/jpeg", "image/png", "application/json"
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'.encode()
    parts = {
        "a truncated photo": (jpeg, photo[: len(photo) // 2], 422),
        "text for a photo": (jpeg, b"not a photo" * 1000, 422),
        "a photo of 30,000 x 30,000 pixels": (png, _png(30_000, 30_000), 422),
        "a photo of 5,000 x 5,000 pixels that holds none": (png, _png(5_000, 5_000), 422),
        "an empty body": (jpeg, b"", 400),
        "a form that ends too early": (form, multipart([photo])[:-30], 400),
        "a form of 3,000 fields": (form, field * 3000 + f"--{BOUNDARY}--\r\n".encode(), 400),
        "a form without boundary": ("multipart/form-data", multipart([photo]), 400),
        "JSON 100,000 deep": (json, b"[" * 100_000 + b"]" * 100_000, 400),
        "JSON that is none": (json, b'{"images": ', 400),
        "a misspelt option": (json, b'{"images": [], "max_label": 3}', 422),
        "a content type of no kind": ("text/css", photo, 415),
    }
    found = [
        Hostile(name, _request(content_type, body), (status,))
        for name, (content_type, body, status) in parts.items()
    ]
    found.append(
        Hostile(
            "500 headers of 100 bytes",
            _request(jpeg, photo, "".join(f"X-{n}: {'y' * 90}\r\n" for n in range(500))),
            (200, 400, 431),
        )
    )
    found.append(Hostile("bytes that are no HTTP", b"\x16\x03\x01\x02\x00\r\n\r\n", (400,)))
    return found
