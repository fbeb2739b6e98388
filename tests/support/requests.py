"""The three forms in which a request carries photos, as arguments of `httpx.Client.post`.

And what the server counts of them.
"""

import base64
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from tests.support.photos import encoded, sample

Form = Callable[..., dict[str, Any]]


@cache
def photo(name: str = "chelsea", side_px: int = 320) -> bytes:
    """One of `photos.NAMES` as a JPEG no larger than a square of `side_px`."""
    image = sample(name)
    image.thumbnail((side_px, side_px))
    return encoded(image, "JPEG", quality=90)


def truncated(name: str = "chelsea") -> bytes:
    """A JPEG whose second half was lost on the way."""
    whole = photo(name)
    return whole[: len(whole) // 2]


def base64_text(data: bytes) -> str:
    """Bytes as they go into JSON."""
    return base64.b64encode(data).decode()


def multipart(*photos: bytes, **options: Any) -> dict[str, Any]:
    """Parts named `images`, with file names 0.jpg, 1.jpg, ...; options as form fields."""
    parts = [("images", (f"{i}.jpg", data, "image/jpeg")) for i, data in enumerate(photos)]
    return {"files": parts, "data": options}


def json_body(*photos: bytes, **options: Any) -> dict[str, Any]:
    """A JSON object, images without ids."""
    return {"json": {"images": [{"data": base64_text(data)} for data in photos], **options}}


def raw(data: bytes, **options: Any) -> dict[str, Any]:
    """One photo's bytes; options as query parameters."""
    return {"content": data, "headers": {"content-type": "image/jpeg"}, "params": options}


FORMS: list[Form] = [multipart, json_body, raw]


def metric(client: httpx.Client, sample: str) -> float:
    """A number of /metrics, as in `name` or `name{label="value"}`; 0 where it is not told."""
    text = client.get("/metrics").text
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
