"""A variable that begins with MUMIC_ and is no setting is told when the server starts."""

import socket

import pytest

from app.serving.process import misspelt
from app.settings import Settings
from tests.support.command import mumic

# What Kubernetes sets for services named mumic and mumic-metrics, by its documentation.
SERVICE_LINKS = {
    "MUMIC_SERVICE_HOST": "10.0.0.11",
    "MUMIC_SERVICE_PORT": "8000",
    "MUMIC_SERVICE_PORT_HTTP": "8000",
    "MUMIC_PORT": "tcp://10.0.0.11:8000",
    "MUMIC_PORT_8000_TCP": "tcp://10.0.0.11:8000",
    "MUMIC_PORT_8000_TCP_PROTO": "tcp",
    "MUMIC_PORT_8000_TCP_PORT": "8000",
    "MUMIC_PORT_8000_TCP_ADDR": "10.0.0.11",
    "MUMIC_METRICS_SERVICE_HOST": "10.0.0.12",
    "MUMIC_METRICS_PORT": "udp://10.0.0.12:9000",
    "MUMIC_METRICS_PORT_9000_UDP_ADDR": "10.0.0.12",
}


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("MUMIC_CHEKPOINT", "MUMIC_CHECKPOINT"),
        ("mumic_worker", "MUMIC_WORKERS"),
        ("MUMIC_MAX_QUEUED_IMAGE", "MUMIC_MAX_QUEUED_IMAGES"),
        ("MUMIC_BATCH_SIZE", "MUMIC_MAX_BATCH_SIZE"),
    ],
)
def test_the_nearest_setting_is_named(variable: str, meant: str) -> None:
    (line,) = misspelt({variable: "1"})
    assert line == f"{variable} is no setting and changes nothing; did you mean {meant}?"


@pytest.mark.parametrize("variable", ["MUMIC_FOO", "MUMIC_", "MUMIC_DEPLOYED_BY"])
def test_what_is_like_none_is_told_alone(variable: str) -> None:
    assert list(misspelt({variable: "1"})) == [f"{variable} is no setting and changes nothing"]


def test_settings_and_what_is_none_of_ours_are_passed_over() -> None:
    settings = {f"MUMIC_{name.upper()}": "1" for name in Settings.model_fields}
    lower = {f"mumic_{name}": "1" for name in Settings.model_fields}
    assert list(misspelt(settings | lower | {"HOME": "x", "NOT_MUMIC_X": "x", "": ""})) == []


def test_a_service_of_kubernetes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICE_LINKS.items():
        monkeypatch.setenv(variable, value)
    assert list(misspelt(SERVICE_LINKS)) == []
    assert Settings().port == 8000
    assert Settings(port=9000).port == 9000


def test_serve_tells_it_once_and_starts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MUMIC_CHEKPOINT", "weights/mine")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # as far as it gets
        ran = mumic(monkeypatch, capsys, "serve", "--port", str(taken.getsockname()[1]))
    assert "cannot listen" in ran.err
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "MUMIC_CHEKPOINT is no setting and changes nothing; did you mean MUMIC_CHECKPOINT?"
    ]
