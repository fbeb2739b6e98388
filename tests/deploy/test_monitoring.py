"""A Prometheus scrapes a server with one process and with two: `make monitoring`."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.support.processes import stop
from tests.support.deploy_files import (
    DEPLOY,
    alert_queries,
    panel_queries,
    variable_queries,
    yaml_of,
)
from tests.support.fakes import wait_until
from tests.support.requests import json_body, multipart, photo, raw, truncated

pytestmark = pytest.mark.monitoring
SECONDS_TO_START = 120  # torch alone takes several on a busy machine
# Absent without a GPU, without histograms in the checkpoint card, or without several workers.
OPTIONAL_METRICS = ("mumic_device_memory", "mumic_label_score_drift", "mumic_worker_restarts")


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not on PATH: CONTRIBUTING.md says how to get it")
    return path


def promtool(*arguments: str, given: str = "") -> None:
    command = [tool("promtool"), *arguments]
    run = subprocess.run(
        command, input=given, cwd=DEPLOY, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[None]:
    """Run a program until the block ends; its output goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | environment
        )
    try:
        yield
    finally:
        stop(process)


def wait_for_output(log: Path, pattern: str) -> str:
    """Wait until a program has printed a pattern; return the pattern's group."""
    found: list[str] = []

    def look() -> bool:
        found[:] = re.findall(pattern, log.read_text(encoding="utf-8"))
        return bool(found)

    wait_until(look, SECONDS_TO_START)
    return found[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@dataclass(frozen=True)
class Monitored:
    """A server and the Prometheus that scrapes it.

    Attributes:
        address: address of the server, as in the label `instance`.
        prometheus: client of the HTTP API of Prometheus.
    """

    address: str
    prometheus: httpx.Client

    def get(self, path: str, **parameters: str) -> Any:
        """Call the API and return its data."""
        response = self.prometheus.get(f"/api/v1/{path}", params=parameters).json()
        assert response["status"] == "success", (parameters, response)
        return response["data"]

    def series(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression that gives a vector."""
        vector = self.get("query", query=expression)
        assert vector["resultType"] == "vector"
        found: list[dict[str, Any]] = vector["result"]
        return found

    def values(self, expression: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Evaluate an expression and return its values by some of their labels."""
        return {
            tuple(each["metric"][label] for label in labels): float(each["value"][1])
            for each in self.series(expression)
        }


def send_photos(address: str) -> None:
    """Send the requests of `SENT`, each on a new connection, so that any worker may get it."""
    cat, coffee, cut = photo("chelsea"), photo("coffee"), truncated()
    requests = [
        *[("/predict", raw(cat), 200)] * 4,
        ("/predict", multipart(coffee, cut), 200),
        ("/predict", raw(cut), 422),
        ("/embed", multipart(cat, coffee), 200),
        ("/zero-shot", json_body(cat, labels=["cat", "temple"]), 200),
        ("/nowhere", raw(cat), 404),
    ]
    for path, request, status in requests:
        response = httpx.post(f"http://{address}{path}", **request, timeout=SECONDS_TO_START)
        assert response.status_code == status


SENT = {
    ("/predict", "200"): 5,
    ("/predict", "422"): 1,
    ("/embed", "200"): 1,
    ("/zero-shot", "200"): 1,
    ("unmatched", "404"): 1,
}
OUTCOMES = {("ok",): 8, ("corrupt",): 2}


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two processes"])
def monitored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    """A server and Prometheus with the files of deploy/, scraping every second, after `SENT`."""
    prometheus, port = tool("prometheus"), free_port()
    folder = tmp_path_factory.mktemp("monitoring")
    serve = [
        sys.executable,
        "-m",
        "app.cli",
        "serve",
        "--port",
        "0",
        "--workers",
        request.param,
    ]
    with running(serve, folder / "mumic.log", MUMIC_EMBEDDING_CACHE_BYTES="1000000"):
        address = wait_for_output(folder / "mumic.log", r"MuMIC listens on http://(\S+:\d+): ")
        config = yaml_of("prometheus.yml")
        config["global"] = dict.fromkeys(config["global"], "1s")
        config["scrape_configs"][0]["static_configs"] = [{"targets": [address]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        shutil.copy(DEPLOY / "alerts.yaml", folder)
        scrape = [
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (
            running(scrape, folder / "prometheus.log"),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            wait_for_output(folder / "prometheus.log", r"(Server is ready to receive web requests)")
            pair = Monitored(address, client)
            wait_until(lambda: pair.values("up == 1", "job", "instance") == {("mumic", address): 1})
            send_photos(address)
            total = 'sum(mumic_requests_total{route!="/metrics"})'
            wait_until(lambda: pair.values(total) == {(): sum(SENT.values())})
            yield pair


def test_counts_match_sent_requests(monitored: Monitored) -> None:
    assert (
        monitored.values('mumic_requests_total{route!="/metrics"} > 0', "route", "status") == SENT
    )
    assert monitored.values("mumic_images_total", "outcome") == OUTCOMES
    durations = monitored.values('mumic_request_seconds_count{route!="/metrics"}', "route")
    assert durations[("/predict",)] == 6
    for expression, expected in {
        "sum(mumic_embedding_cache_lookups_total)": 10,
        "sum(mumic_text_cache_lookups_total)": 2,
        "mumic_images_in_flight": 0,
        "mumic_request_bytes_in_flight": 0,
        'mumic_model_info{name="mumic-demo"}': 1,
        "mumic_build_info": 1,
    }.items():
        assert monitored.values(expression) == {(): expected}, expression


@pytest.mark.parametrize("panel", panel_queries())
def test_panel_has_data(monitored: Monitored, panel: str) -> None:
    expression = panel_queries()[panel]
    monitored.series(expression)
    if not any(name in expression for name in OPTIONAL_METRICS):
        wait_until(lambda: bool(monitored.series(expression)))  # a rate needs two scrapes


@pytest.mark.parametrize("query", variable_queries())
def test_variable_has_values(monitored: Monitored, query: str) -> None:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found
    selector, label = found.groups()
    assert monitored.get(f"label/{label}/values", **{"match[]": selector})


def test_prometheus_evaluates_every_rule(monitored: Monitored) -> None:
    def health() -> dict[str, str]:
        (group,) = monitored.get("rules")["groups"]
        return {rule["name"]: rule["health"] for rule in group["rules"]}

    for expression in alert_queries().values():
        monitored.series(expression)
    wait_until(lambda: "unknown" not in health().values())
    assert health() == dict.fromkeys(alert_queries(), "ok")


def test_promtool_accepts_metrics(monitored: Monitored) -> None:
    promtool("check", "metrics", given=httpx.get(f"http://{monitored.address}/metrics").text)


@pytest.mark.parametrize(
    "check",
    ["check config prometheus.yml", "check rules alerts.yaml", "test rules alerts_test.yaml"],
)
def test_promtool_accepts_deploy_files(check: str) -> None:
    promtool(*check.split())
