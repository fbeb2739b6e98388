"""What an operator can set: `MUMIC_*` variables, read once by the server or the command line."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Precision = Literal["fp32", "bf16", "fp16"]
MIN_TOKEN_CHARS = 16
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")  # or an IPv6 address
SHIPPED_CHECKPOINT = Path(__file__).parent.parent / "weights" / "mumic-demo"


def cores_per_worker(workers: int) -> int:
    """CPU cores that each of so many server processes may fill; at least one."""
    return max(1, (os.cpu_count() or 1) // workers)


def _decode_threads(given: dict[str, Any]) -> int:
    return max(2, cores_per_worker(given["workers"]))


def host_name(text: str) -> str:
    """A host as it is compared: in small letters, without the dot that may end it."""
    return text.lower().rstrip(".")


class Settings(BaseSettings):
    """All settings of the server, with the defaults that the contract names."""

    model_config = SettingsConfigDict(env_prefix="MUMIC_", frozen=True, extra="forbid")

    checkpoint: Path = Field(SHIPPED_CHECKPOINT, description="checkpoint directory")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    precision: Literal["auto", Precision] = Field("auto", description="auto, fp32, bf16 or fp16")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    max_batch_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="most images in one model call; by default 64 on a GPU, on a CPU 8, or 16 of a "
        "transformer",
    )
    workers: int = Field(1, ge=1, le=256, description="server processes on the port")
    decode_threads: int = Field(
        default_factory=_decode_threads,
        ge=1,
        le=256,
        description="threads that decode images",
    )
    request_timeout_s: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="a request's time from its head to its answer, before 408 or 504",
    )
    max_images_per_request: int = Field(64, ge=1, description="images in one request")
    max_queued_images: int = Field(
        1024, ge=1, description="most images accepted and not yet answered, before 429"
    )
    max_image_bytes: int = Field(20 * 2**20, ge=1, description="bytes of one image")
    max_image_pixels: int = Field(50_000_000, ge=1, description="pixels of one image")
    max_request_bytes: int = Field(64 * 2**20, ge=1, description="bytes of one request body")
    max_queued_bytes: int = Field(
        512 * 2**20, ge=1, description="bytes of all requests' bodies held at a time, before 429"
    )
    max_zero_shot_labels: int = Field(1000, ge=1, description="label texts in one request")
    text_cache_size: int = Field(
        10_000, ge=1, description="text embeddings kept for /zero-shot (LRU)"
    )
    allow_image_urls: bool = Field(False, description="whether images may be given by URL")
    url_allow_http: bool = Field(False, description="whether http:// is fetched as well")
    url_allow_hosts: tuple[str, ...] = Field(
        (), description="hosts, and those below them, that alone may be fetched from; JSON list"
    )
    url_deny_hosts: tuple[str, ...] = Field(
        (), description="hosts, and those below them, that are never fetched from; JSON list"
    )
    url_ports: tuple[int, ...] = Field((80, 443), description="ports that a URL may name")
    url_timeout_s: float = Field(
        5.0, gt=0, allow_inf_nan=False, description="time to fetch one image"
    )
    url_max_redirects: int = Field(3, ge=0, description="redirects that are followed")
    url_concurrency: int = Field(16, ge=1, description="images fetched at a time")
    log_format: Literal["text", "json"] = Field("text", description="of the log on stderr")
    traces: bool = Field(
        False, description="whether requests are traced, as the OTEL_* variables say"
    )
    api_keys_file: Path | None = Field(
        None, description="clients that may ask, one name:key a line; without it everybody may"
    )
    metrics_token: SecretStr | None = Field(
        None, description="opens /metrics; without it everybody may read them"
    )
    admin_token: SecretStr | None = Field(
        None, description="opens /admin; without it there is none"
    )
    embedding_cache_bytes: int = Field(
        0, ge=0, description="memory for embeddings of photos sent before (LRU); 0 keeps none"
    )

    @field_validator("metrics_token", "admin_token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token) < MIN_TOKEN_CHARS:
            raise ValueError(f"must have {MIN_TOKEN_CHARS} characters or more")
        return token

    @field_validator("url_allow_hosts", "url_deny_hosts")
    @classmethod
    def _host_names(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """A host that no URL can have would deny none, or allow none."""
        names = tuple(host_name(text) for text in given)
        for name in names:
            if not HOST.fullmatch(name):
                raise ValueError(
                    f"{name[:60]!r} is no host; write it as in photos.example, "
                    "which counts with all below it"
                )
        return names

    @field_validator("port", mode="before")
    @classmethod
    def _default_for_a_service_link(cls, value: object) -> object:
        """What Kubernetes sets for a service named mumic, tcp://..., is no wish of an operator."""
        link = isinstance(value, str) and value.startswith("tcp://")
        return cls.model_fields["port"].default if link else value

    @field_validator("max_queued_images", "max_queued_bytes")
    @classmethod
    def _room_for_a_request(cls, most: int, info: ValidationInfo) -> int:
        """A request that is allowed must fit where nothing waits, or 429 would be told for ever."""
        bytes_ = info.field_name == "max_queued_bytes"
        name = "max_request_bytes" if bytes_ else "max_images_per_request"
        if most < (least := info.data.get(name, 0)):
            raise ValueError(f"must be at least MUMIC_{name.upper()}, which is {least}")
        return most
