"""The container's health check, run as Docker runs it, against a server."""

import json
import os
import re
import subprocess
import sys

import httpx
import pytest

from tests.support.imports import ROOT

NO_SERVER = "http://127.0.0.1:9"  # the discard port; nothing listens there


def health_check(port: int, **environment: str) -> int:
    """Run the command of the Dockerfile's HEALTHCHECK; return its exit code."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\s*\n", dockerfile, re.DOTALL)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    command = [sys.executable, *arguments]
    environment |= {"MUMIC_PORT": str(port)}
    ran = subprocess.run(command, env=clean | environment, capture_output=True, check=False)
    return ran.returncode


@pytest.mark.parametrize(
    "proxies",
    [{}, {"HTTP_PROXY": NO_SERVER, "http_proxy": NO_SERVER, "NO_PROXY": "localhost"}],
    ids=["direct", "proxy"],
)
def test_ready_server_is_healthy_whatever_proxy(
    client: httpx.Client, proxies: dict[str, str]
) -> None:
    assert health_check(client.base_url.port or 0, **proxies) == 0


def test_missing_server_is_unhealthy() -> None:
    assert health_check(9) != 0
