"""Requests with photos as arguments of `httpx.Client.post`, and a reader of metrics."""

import base64
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from tests.support.photos import encoded, sample

BodyBuilder = Callable[..., dict[str, Any]]


@cache
def photo(name: str = "chelsea", side_px: int = 320) -> bytes:
    """Return one of `photos.NAMES` as a JPEG of at most `side_px` pixels per side."""
    image = sample(name)
    image.thumbnail((side_px, side_px))
    return encoded(image, "JPEG", quality=90)


def truncated(name: str = "chelsea") -> bytes:
    """Return the first half of a JPEG."""
    whole = photo(name)
    return whole[: len(whole) // 2]


def base64_text(data: bytes) -> str:
    """Encode bytes as base64 text."""
    return base64.b64encode(data).decode()


def multipart(*photos: bytes, **options: Any) -> dict[str, Any]:
    """Build a form: parts named `images`, files 0.jpg, 1.jpg, ..., options as fields."""
    parts = [("images", (f"{i}.jpg", data, "image/jpeg")) for i, data in enumerate(photos)]
    return {"files": parts, "data": options}


def json_body(*photos: bytes, **options: Any) -> dict[str, Any]:
    """Build a JSON body with images without ids."""
    return {"json": {"images": [{"data": base64_text(data)} for data in photos], **options}}


def raw(data: bytes, **options: Any) -> dict[str, Any]:
    """Build a body of one photo's bytes, with options as query parameters."""
    return {"content": data, "headers": {"content-type": "image/jpeg"}, "params": options}


BODY_BUILDERS: list[BodyBuilder] = [multipart, json_body, raw]


def metric(client: httpx.Client, sample: str) -> float:
    """Read a sample of /metrics, `name` or `name{label="value"}`; 0 if it is missing."""
    text = client.get("/metrics").text
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
