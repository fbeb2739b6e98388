"""A real Prometheus watches a real server, of one process and of two: `make monitoring`."""

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
# What a healthy server without a GPU has nothing of, nor one whose checkpoint has no histograms,
# nor one without workers.
MAY_BE_EMPTY = ("mumic_device_memory", "mumic_label_score_drift", "mumic_worker_restarts")


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
    """A program while it is needed; what it says goes into a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | environment
        )
    try:
        yield
    finally:
        stop(process)


def said(log: Path, pattern: str) -> str:
    """Wait until a program says so; gives the pattern's group."""
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
class Watched:
    """A server and the Prometheus that watches it.

    Attributes:
        address: the server's, as in `instance`.
        prometheus: its HTTP API.
    """

    address: str
    prometheus: httpx.Client

    def get(self, path: str, **asked: str) -> Any:
        """What the API answers, which must be no error."""
        answer = self.prometheus.get(f"/api/v1/{path}", params=asked).json()
        assert answer["status"] == "success", (asked, answer)
        return answer["data"]

    def series(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an expression is now."""
        vector = self.get("query", query=expression)
        assert vector["resultType"] == "vector"
        found: list[dict[str, Any]] = vector["result"]
        return found

    def by(self, expression: str, *labels: str) -> dict[tuple[str, ...], float]:
        """That vector's values by some of its labels."""
        return {
            tuple(each["metric"][label] for label in labels): float(each["value"][1])
            for each in self.series(expression)
        }


def send_photos(address: str) -> None:
    """What `SENT` and `OUTCOMES` count, each on a connection of its own, for whichever process."""
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
        answer = httpx.post(f"http://{address}{path}", **request, timeout=SECONDS_TO_START)
        assert answer.status_code == status


SENT = {
    ("/predict", "200"): 5,
    ("/predict", "422"): 1,
    ("/embed", "200"): 1,
    ("/zero-shot", "200"): 1,
    ("unmatched", "404"): 1,
}
OUTCOMES = {("ok",): 8, ("corrupt",): 2}


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two processes"])
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """They run, as deploy/ has them, but every second; the photos have been sent and counted."""
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
        address = said(folder / "mumic.log", r"MuMIC listens on http://(\S+:\d+): ")
        config = yaml_of("prometheus.yml")
        config["global"] = dict.fromkeys(config["global"], "1s")
        config["scrape_configs"][0]["static_configs"] = [{"targets": [address]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        shutil.copy(DEPLOY / "alerts.yaml", folder)
        watch = [
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (
            running(watch, folder / "prometheus.log"),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            said(folder / "prometheus.log", r"(Server is ready to receive web requests)")
            both = Watched(address, client)
            wait_until(lambda: both.by("up == 1", "job", "instance") == {("mumic", address): 1})
            send_photos(address)
            answered = 'sum(mumic_requests_total{route!="/metrics"})'
            wait_until(lambda: both.by(answered) == {(): sum(SENT.values())})
            yield both


def test_the_counts_are_those_sent(watched: Watched) -> None:
    assert watched.by('mumic_requests_total{route!="/metrics"} > 0', "route", "status") == SENT
    assert watched.by("mumic_images_total", "outcome") == OUTCOMES
    asked = watched.by('mumic_request_seconds_count{route!="/metrics"}', "route")
    assert asked[("/predict",)] == 6
    for counted, wanted in {
        "sum(mumic_embedding_cache_lookups_total)": 10,
        "sum(mumic_text_cache_lookups_total)": 2,
        "mumic_images_in_flight": 0,
        "mumic_request_bytes_in_flight": 0,
        'mumic_model_info{name="mumic-demo"}': 1,
        "mumic_build_info": 1,
    }.items():
        assert watched.by(counted) == {(): wanted}, counted


@pytest.mark.parametrize("panel", panel_queries())
def test_a_panel_has_something_to_show(watched: Watched, panel: str) -> None:
    expression = panel_queries()[panel]
    watched.series(expression)
    if not any(name in expression for name in MAY_BE_EMPTY):
        wait_until(lambda: bool(watched.series(expression)))  # a rate needs two scrapes


@pytest.mark.parametrize("query", variable_queries())
def test_a_variable_has_values_to_choose_from(watched: Watched, query: str) -> None:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found
    selector, label = found.groups()
    assert watched.get(f"label/{label}/values", **{"match[]": selector})


def test_prometheus_evaluates_every_rule(watched: Watched) -> None:
    def health() -> dict[str, str]:
        (group,) = watched.get("rules")["groups"]
        return {rule["name"]: rule["health"] for rule in group["rules"]}

    for expression in alert_queries().values():
        watched.series(expression)
    wait_until(lambda: "unknown" not in health().values())
    assert health() == dict.fromkeys(alert_queries(), "ok")


def test_promtool_finds_nothing_wrong_with_the_metrics(watched: Watched) -> None:
    promtool("check", "metrics", given=httpx.get(f"http://{watched.address}/metrics").text)


@pytest.mark.parametrize(
    "check",
    ["check config prometheus.yml", "check rules alerts.yaml", "test rules alerts_test.yaml"],
)
def test_promtool_finds_nothing_wrong_in_deploy(check: str) -> None:
    promtool(*check.split())
