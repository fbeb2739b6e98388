"""The `mumic` command in this process, as its entry point runs it."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.cli.commands import main


@dataclass(frozen=True)
class Run:
    """What a command came to: exit code, standard output, standard error."""

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
