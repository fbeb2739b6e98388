"""Fixtures of the tests of commands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Run, mumic

Mumic = Callable[..., Run]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path
) -> Mumic:
    """`mumic ARGUMENTS...` with the tiny checkpoint as `MUMIC_CHECKPOINT`."""
    monkeypatch.setenv("MUMIC_CHECKPOINT", str(tiny_checkpoint))
    monkeypatch.setenv("MUMIC_DEVICE", "cpu")
    return lambda *arguments: mumic(monkeypatch, capsys, *arguments)
