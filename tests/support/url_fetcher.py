"""A fetcher whose resolver maps test hosts to the addresses of the test site."""

from typing import Any

from app.serving.request import Fetcher
from app.settings import Settings
from tests.support.site import PUBLIC, Site

NAMES = {
    "photos.example": [PUBLIC],
    "other.example": [PUBLIC],
    "inside.example": ["127.0.0.1"],
    "both.example": [PUBLIC, "127.0.0.1"],
    "nowhere.example": [],
    "2606:2800:220:1::1": [PUBLIC],
}


def fetcher(site: type[Site], **changed: Any) -> Fetcher:
    """Build a fetcher that treats only `PUBLIC` as a public address."""
    settings = Settings(
        url_allow_http=True,
        url_ports=(site.port,),
        url_timeout_s=20,
        max_image_bytes=2**20,
    ).model_copy(update=changed)

    async def resolve(host: str, _: int) -> list[str]:
        return NAMES.get(host, [host])

    return Fetcher(settings, resolve, lambda address: address == PUBLIC)
