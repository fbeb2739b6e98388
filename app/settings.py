"""Settings from `MUMIC_*` environment variables, read once at start."""

import ipaddress
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.cpus import usable_cpus
from app.core.device_names import find_device_problem

Precision = Literal["fp32", "bf16", "fp16"]
MIN_TOKEN_CHARS = 16
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")  # or an IPv6 address
ORIGIN = re.compile(r"\*|([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
ROOT_PATH = re.compile(r"(/(?!\.+(/|$))[A-Za-z0-9._~-]+)*")
SHIPPED_CHECKPOINT = Path(__file__).parent.parent / "weights" / "mumic-demo"


def cores_per_worker(workers: int) -> int:
    """Return each server process's share of the usable CPUs; at least one."""
    return max(1, usable_cpus() // workers)


def _decode_threads(given: dict[str, Any]) -> int:
    return max(2, cores_per_worker(given["workers"]))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host_name(host) == "localhost"


def host_name(text: str) -> str:
    """Normalise a host for comparison: lower case, without a trailing dot."""
    return text.lower().rstrip(".")


class Settings(BaseSettings):
    """All settings of the server. Instances are immutable."""

    model_config = SettingsConfigDict(env_prefix="MUMIC_", frozen=True, extra="forbid")

    checkpoint: Path = Field(SHIPPED_CHECKPOINT, description="checkpoint directory")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", Precision] = Field("auto", description="auto, fp32, bf16 or fp16")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 selects a free port")
    max_batch_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="maximum images per model call; default: 64 on a GPU, 8 on a CPU, "
        "16 on a CPU with a vision transformer",
    )
    workers: int = Field(1, ge=1, le=256, description="number of server processes")
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
        description="seconds from the request's headers to its response; then 408 or 504",
    )
    max_images_per_request: int = Field(64, ge=1, description="maximum images per request")
    max_queued_images: int = Field(
        1024, ge=1, description="maximum images accepted and not yet answered; then 429"
    )
    max_image_bytes: int = Field(20 * 2**20, ge=1, description="maximum bytes per image")
    max_image_pixels: int = Field(
        50_000_000,
        ge=1,
        description="maximum pixels per image; four times as many in a baseline JPEG that is "
        "decoded at 1/4 or 1/8",
    )
    max_request_bytes: int = Field(64 * 2**20, ge=1, description="maximum bytes per request body")
    max_queued_bytes: int = Field(
        512 * 2**20, ge=1, description="maximum bytes of all request bodies in memory; then 429"
    )
    max_zero_shot_labels: int = Field(1000, ge=1, description="maximum label texts per request")
    text_cache_size: int = Field(
        10_000, ge=1, description="text embeddings cached for /zero-shot (LRU)"
    )
    allow_image_urls: bool = Field(False, description="whether requests may give images by URL")
    url_allow_http: bool = Field(False, description="whether http:// URLs are allowed")
    url_allow_hosts: tuple[str, ...] = Field(
        (), description="the only hosts to fetch from, including subdomains; JSON list"
    )
    url_deny_hosts: tuple[str, ...] = Field(
        (), description="hosts never to fetch from, including subdomains; JSON list"
    )
    url_ports: tuple[int, ...] = Field((80, 443), description="ports allowed in a URL")
    url_timeout_s: float = Field(
        5.0, gt=0, allow_inf_nan=False, description="seconds to fetch one image"
    )
    url_max_redirects: int = Field(3, ge=0, description="maximum redirects to follow")
    url_concurrency: int = Field(16, ge=1, description="maximum concurrent fetches")
    index: Path | None = Field(
        None,
        description="directory of an index of photos that /similar searches, made by mumic index",
    )
    root_path: str = Field(
        "", description="path prefix of a proxy that does not remove it, such as /mumic"
    )
    cors_allow_origins: tuple[str, ...] = Field(
        (), description='origins whose web pages may use the API, or "*" for all; JSON list'
    )
    ui: bool | None = Field(
        None,
        description="whether to serve the page at /; default: only if MUMIC_HOST is a loopback "
        "address",
    )
    log_format: Literal["text", "json"] = Field("text", description="format of the log on stderr")
    traces: bool = Field(
        False, description="whether to trace requests; OTEL_* variables configure the exporter"
    )
    api_keys_file: Path | None = Field(
        None, description="API keys, one name:key per line; by default no key is needed"
    )
    metrics_token: SecretStr | None = Field(
        None, description="bearer token for /metrics; by default none is needed"
    )
    admin_token: SecretStr | None = Field(
        None, description="bearer token for /admin; by default /admin does not exist"
    )
    labels_dir: Path | None = Field(
        None,
        description="folder where labels added at run time are stored; default: the folder that "
        "the checkpoint directory is in",
    )
    embedding_cache_bytes: int = Field(
        0, ge=0, description="memory for cached image embeddings (LRU); 0 disables the cache"
    )

    @property
    def serves_page(self) -> bool:
        """Whether the page at / is served."""
        return is_loopback(self.host) if self.ui is None else self.ui

    @field_validator("checkpoint", "index", "api_keys_file", "labels_dir", mode="before")
    @classmethod
    def _not_empty(cls, path: object) -> object:
        """Refuse an empty path, which would be the working directory."""
        if isinstance(path, str) and not path.strip():
            raise ValueError("must be a path; leave it out for the default")
        return path

    @field_validator("device")
    @classmethod
    def _known_device(cls, name: str) -> str:
        if problem := find_device_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("metrics_token", "admin_token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token) < MIN_TOKEN_CHARS:
            raise ValueError(f"must have at least {MIN_TOKEN_CHARS} characters")
        return token

    @field_validator("url_allow_hosts", "url_deny_hosts")
    @classmethod
    def _host_names(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse names that no URL can contain: such a rule would never match."""
        names = tuple(host_name(text) for text in given)
        for name in names:
            if not HOST.fullmatch(name):
                raise ValueError(
                    f"{name[:60]!r} is not a host name; write it like photos.example, "
                    "which includes its subdomains"
                )
        return names

    @field_validator("root_path")
    @classmethod
    def _path_prefix(cls, given: str) -> str:
        """Normalise to `/a/b` without a slash at the end; empty for no prefix."""
        path = f"/{trimmed}" if (trimmed := given.strip("/")) else ""
        if not ROOT_PATH.fullmatch(path):
            raise ValueError(
                "must be a path of letters, digits and ._~- such as /mumic, without a host"
            )
        return path

    @field_validator("cors_allow_origins")
    @classmethod
    def _origins(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Write origins as browsers send them; refuse what no browser sends."""
        origins = []
        for text in given:
            found = ORIGIN.fullmatch(text.lower().rstrip("/"))
            if not found:
                raise ValueError(
                    f"{text[:60]!r} is not an origin; write it like https://app.example "
                    'or http://localhost:3000, without a path, or "*" for all'
                )
            origins.append(found[0].removesuffix(DEFAULT_PORTS.get(found[1], "/")))
        return tuple(origins)

    @field_validator("port", mode="before")
    @classmethod
    def _default_for_a_service_link(cls, value: object) -> object:
        """Ignore MUMIC_PORT=tcp://..., which Kubernetes sets for a service named mumic."""
        link = isinstance(value, str) and value.startswith("tcp://")
        return cls.model_fields["port"].default if link else value

    @field_validator("max_queued_images", "max_queued_bytes")
    @classmethod
    def _fits_largest_request(cls, most: int, info: ValidationInfo) -> int:
        """Refuse a queue smaller than the largest request, which would always get 429."""
        bytes_ = info.field_name == "max_queued_bytes"
        name = "max_request_bytes" if bytes_ else "max_images_per_request"
        if most < (least := info.data.get(name, 0)):
            raise ValueError(f"must be at least MUMIC_{name.upper()}, which is {least}")
        return most
