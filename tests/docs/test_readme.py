"""The commands of the README and of the tutorials work; commands and links of all pages exist."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.imports import ROOT
from tests.support.photos import encoded, sample
from tests.support.tiny import live_server

ADDRESS = "http://127.0.0.1:8000"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(ROOT.joinpath("docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
GROUPS = {"data", "calibrate", "baseline", "labels"}  # commands that have commands


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page in some languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def lines(page: Path) -> list[str]:
    """Return the shell commands of a page, one per line, without comments."""
    text = "".join(blocks(page, "sh", "bash", "console")).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in text.splitlines() if line.strip()]


CURL_LINES = [
    line
    for page in (README, ROOT / "docs" / "tutorials" / "first-request.md")
    for line in lines(page)
    if line.startswith("curl ")
]


@pytest.fixture(scope="module")
def shipped_url(shipped_classifier: Classifier) -> Iterator[str]:
    with live_server(create_app(Settings(), shipped_classifier)) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photo.jpg."""
    (tmp_path / "photo.jpg").write_bytes(encoded(sample("china"), "JPEG"))
    return tmp_path


@pytest.mark.parametrize("line", CURL_LINES)
def test_curl_line_returns_results(line: str, shipped_url: str, folder: Path) -> None:
    assert ADDRESS in line
    command = line.replace(ADDRESS, shipped_url).replace("curl ", "curl --silent --fail ", 1)
    run = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, check=True, timeout=60
    )
    answer = json.loads(run.stdout)
    assert answer["model"]["name"] == "mumic-demo"
    assert answer["results"]
    for result in answer["results"]:
        assert result["status"] == "ok"
        assert result.get("labels") or result.get("scores") or result.get("embedding")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/python.md"])
def test_python_blocks_run(page: str, folder: Path) -> None:
    code = "\n".join(blocks(ROOT / page, "python"))
    assert "import mumic" in code
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "photo.jpg" in run.stdout


@cache
def options() -> dict[str, set[str]]:
    """Map each `mumic` command to its options, from the generated reference."""
    text = ROOT.joinpath("docs", "reference", "cli.md").read_text(encoding="utf-8")
    sections = re.split(r"^#+ `(mumic [a-z -]+)`$", text, flags=re.MULTILINE)[1:]
    return {
        name: set(re.findall(r"^\* `(?:-\w, )?(--[a-z-]+)", section, re.MULTILINE))
        | set(re.findall(r"/(--[a-z-]+)", section))
        for name, section in zip(sections[::2], sections[1::2], strict=True)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_mumic_commands_and_options_exist(page: Path) -> None:
    for line in lines(page):
        words = shlex.split(line)
        if words[:1] != ["mumic"]:
            continue
        name = " ".join(words[: 3 if words[1] in GROUPS else 2])
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options()[name], line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^ *make ([a-z -]+)", "\n".join(lines(page)), re.MULTILINE):
        for name in target.split():
            assert re.search(rf"^{name}:", makefile, re.MULTILINE), f"make {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


def test_readme_is_short_and_links_runbook() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    assert "docs/operations/runbook.md" in text
