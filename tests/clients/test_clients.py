"""Generated clients send two photos with options and read the typed answer: `make clients`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.photos import write_small_photos
from tests.support.tiny import live_server

pytestmark = pytest.mark.clients
HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / "build" / "clients"  # by the Makefile
PYTHON = INSTALLED / "python" / "bin"
MODULES = INSTALLED / "node_modules"
TIMEOUT_S = 300
ANSWER = {"name": "tiny", "labels": [3, 3], "ready": "ok"}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed; return what it prints."""
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} is missing: `make clients` installs it; node must be on PATH")
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PATH": f"{PYTHON}:{os.environ['PATH']}"},  # the generator runs ruff
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def url(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[str]:
    with live_server(create_app(small_settings, tiny_classifier)) as address:
        yield address


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_small_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated TypeScript clients and their callers, compiled."""
    folder = tmp_path_factory.mktemp("typescript")
    for file in (*HERE.glob("*.ts"), *HERE.glob("*.mjs"), *HERE.glob("*.json")):
        shutil.copy(file, folder)
    shutil.copy(HERE.parents[1] / "openapi.yaml", folder)
    (folder / "node_modules").symlink_to(MODULES)
    run("node", "generate.mjs", cwd=folder)
    run("node", "node_modules/typescript/bin/tsc", cwd=folder)
    return folder


def call(url: str, photo_files: list[Path], *command: str | Path, cwd: Path) -> Any:
    """Run a client against the server; return the JSON that it prints."""
    return json.loads(run(*command, url, *photo_files, cwd=cwd))


def test_openapi_fetch_sends_photos_and_reads_answer(
    url: str, photo_files: list[Path], typescript: Path
) -> None:
    program = typescript / "compiled" / "fetch_client.js"
    assert call(url, photo_files, "node", program, cwd=typescript) == ANSWER


def test_hey_api_client_sends_photos_and_reads_answer(
    url: str, photo_files: list[Path], typescript: Path
) -> None:
    program = typescript / "compiled" / "hey_api_client.js"
    answer = call(url, photo_files, "node", program, cwd=typescript)
    assert answer == {**ANSWER, "labelsOfJson": [3, 3]}


def test_python_client_sends_photos_and_reads_answer(
    url: str, photo_files: list[Path], tmp_path: Path
) -> None:
    document, config = HERE.parents[1] / "openapi.yaml", HERE / "openapi-python-client.yaml"
    generate = ("generate", "--meta", "none", "--output-path", "mumic_client", "--fail-on-warning")
    paths = ("--path", document, "--config", config)
    run(PYTHON / "openapi-python-client", *generate, *paths, cwd=tmp_path)
    program = shutil.copy(HERE / "python_client.py", tmp_path)
    assert call(url, photo_files, PYTHON / "python", program, cwd=tmp_path) == ANSWER
