"""Runs the `mumic` command in this process."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.cli import main


@dataclass(frozen=True)
class Run:
    """The result of a command: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def mumic(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> Run:
    """Run `mumic ARGUMENTS...`."""
    monkeypatch.setattr(sys, "argv", ["mumic", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return Run(ended.value.code, *capsys.readouterr())
