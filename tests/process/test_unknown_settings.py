"""`MUMIC_*` variables that are not settings are logged when the server starts."""

import socket

import pytest

from app.serving.process import find_unknown_settings
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
    ("variable", "closest"),
    [
        ("MUMIC_CHEKPOINT", "MUMIC_CHECKPOINT"),
        ("mumic_worker", "MUMIC_WORKERS"),
        ("MUMIC_MAX_QUEUED_IMAGE", "MUMIC_MAX_QUEUED_IMAGES"),
        ("MUMIC_BATCH_SIZE", "MUMIC_MAX_BATCH_SIZE"),
    ],
)
def test_similar_variable_is_reported_with_closest_setting(variable: str, closest: str) -> None:
    (line,) = find_unknown_settings({variable: "1"})
    assert line == f"Unknown setting {variable}; the closest valid name is {closest}"


@pytest.mark.parametrize("variable", ["MUMIC_FOO", "MUMIC_", "MUMIC_DEPLOYED_BY"])
def test_dissimilar_variable_is_reported_without_hint(variable: str) -> None:
    assert list(find_unknown_settings({variable: "1"})) == [f"Unknown setting {variable}"]


def test_settings_and_foreign_variables_are_ignored() -> None:
    settings = {f"MUMIC_{name.upper()}": "1" for name in Settings.model_fields}
    lower = {f"mumic_{name}": "1" for name in Settings.model_fields}
    foreign = {"HOME": "x", "NOT_MUMIC_X": "x", "": ""}
    assert list(find_unknown_settings(settings | lower | foreign)) == []


def test_kubernetes_service_links_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICE_LINKS.items():
        monkeypatch.setenv(variable, value)
    assert list(find_unknown_settings(SERVICE_LINKS)) == []
    assert Settings().port == 8000
    assert Settings(port=9000).port == 9000


def test_serve_logs_unknown_setting_once(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MUMIC_CHEKPOINT", "weights/mine")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # serving fails here
        ran = mumic(monkeypatch, capsys, "serve", "--port", str(taken.getsockname()[1]))
    assert "cannot listen" in ran.err
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "Unknown setting MUMIC_CHEKPOINT; the closest valid name is MUMIC_CHECKPOINT"
    ]


def test_unknown_setting_is_logged_although_another_is_invalid(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MUMIC_CHEKPOINT", "weights/mine")
    monkeypatch.setenv("MUMIC_PORT", "many")
    ran = mumic(monkeypatch, capsys, "serve")
    assert (ran.code, ran.out) == (2, "")
    assert "must be an integer from 0 to 65535" in ran.err
    assert "Unknown setting MUMIC_CHEKPOINT" in caplog.text
