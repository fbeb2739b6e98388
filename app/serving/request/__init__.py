"""Reads an HTTP request into uploads and options, within limits."""

from app.serving.request.body import (
    RequestDependencies,
    Upload,
    read_uploads,
)
from app.serving.request.byte_budget import (
    ByteBudget,
    Share,
)
from app.serving.request.deadline import (
    TIMEOUT_HEADER,
    allowed_s,
    remaining_s,
)
from app.serving.request.url_fetcher import (
    Fetcher,
)

__all__ = [
    "TIMEOUT_HEADER",
    "ByteBudget",
    "Fetcher",
    "RequestDependencies",
    "Share",
    "Upload",
    "allowed_s",
    "read_uploads",
    "remaining_s",
]
