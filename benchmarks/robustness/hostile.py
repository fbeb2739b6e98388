"""Malformed and abusive requests, each with the statuses that its response may have."""

import struct
import zlib
from dataclasses import dataclass

from benchmarks.support.http import BOUNDARY, multipart, predict_request


@dataclass(frozen=True, slots=True)
class HostileRequest:
    """A request with a defect.

    Args:
        name: the defect.
        content: the whole request, head and body.
        statuses: the response must have one of them.
    """

    name: str
    content: bytes
    statuses: tuple[int, ...]


def _png(width: int, height: int) -> bytes:
    """Return a PNG whose header claims this size, with 1 MiB of pixel data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20), 9)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def hostile_requests(photo: bytes) -> list[HostileRequest]:
    """Return a request of each kind.

    Args:
        photo: a valid JPEG file, from which some are made.
    """
    form = f"multipart/form-data; boundary={BOUNDARY}"
    jpeg, png, json = "image/jpeg", "image/png", "application/json"
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'.encode()
    bodies = {
        "truncated photo": (jpeg, photo[: len(photo) // 2], 422),
        "text instead of a photo": (jpeg, b"not a photo" * 1000, 422),
        "photo of 30,000 x 30,000 pixels": (png, _png(30_000, 30_000), 422),
        "photo of 5,000 x 5,000 pixels, most of them missing": (png, _png(5_000, 5_000), 422),
        "empty body": (jpeg, b"", 400),
        "truncated form": (form, multipart([photo])[:-30], 400),
        "form of 3,000 fields": (form, field * 3000 + f"--{BOUNDARY}--\r\n".encode(), 400),
        "form without boundary": ("multipart/form-data", multipart([photo]), 400),
        "JSON nested 100,000 deep": (json, b"[" * 100_000 + b"]" * 100_000, 400),
        "truncated JSON": (json, b'{"images": ', 400),
        "unknown option": (json, b'{"images": [], "max_label": 3}', 422),
        "unsupported content type": ("text/css", photo, 415),
    }
    many_headers = "".join(f"X-{n}: {'y' * 90}\r\n" for n in range(500))
    return [
        *(
            HostileRequest(name, predict_request(content_type, body), (status,))
            for name, (content_type, body, status) in bodies.items()
        ),
        HostileRequest(
            "500 headers of 100 bytes",
            predict_request(jpeg, photo, headers=many_headers),
            (200, 400, 431),
        ),
        HostileRequest("not HTTP", b"\x16\x03\x01\x02\x00\r\n\r\n", (400,)),
    ]
