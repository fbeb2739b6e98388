"""The README's lines do what it says."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.photos import encoded, sample
from tests.support.tiny import live_server

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8000"
CURL_LINES = re.findall(r"^curl .*$", README.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def shipped_url(shipped_classifier: Classifier) -> Iterator[str]:
    with live_server(create_app(Settings(), shipped_classifier)) as url:
        yield url


def test_there_are_lines_to_try() -> None:
    assert len(CURL_LINES) >= 6
    assert all(ADDRESS in line for line in CURL_LINES)


@pytest.mark.parametrize("line", CURL_LINES)
def test_a_curl_line_is_answered(line: str, shipped_url: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(sample("china"), "JPEG"))
    command = line.replace(ADDRESS, shipped_url).replace("curl ", "curl --silent --fail ", 1)
    run = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True, timeout=60
    )
    answer = json.loads(run.stdout)
    assert answer["model"]["name"] == "mumic-demo"
    assert answer["results"]
    for result in answer["results"]:
        assert result["status"] == "ok"
        content = result.get("labels") or result.get("scores") or result.get("embedding")
        assert content


def test_every_setting_is_told() -> None:
    pages = (README, *README.parent.glob("docs/operations/*.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    told = set(re.findall(r"`MUMIC_([A-Z_]+)`", text))
    assert told == {name.upper() for name in Settings.model_fields}


def test_every_link_leads_to_a_file() -> None:
    for page in (README, *README.parent.joinpath("docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
