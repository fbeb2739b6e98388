"""Requests are answered while files change, disappear or cannot be written."""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.cli.exit_codes import exit_codes
from app.cli.serve import announce
from app.core.checkpoint import label_embeddings, load_model, read_checkpoint
from app.core.classifier import Classifier
from app.errors import MumicError
from tests.support.checkpoints import FILES, copied
from tests.support.disk import limited_file_size
from tests.support.photos import encoded
from tests.support.reloading import HEADERS, reloadable, scores
from tests.support.requests import metric, multipart

UNREADABLE = Path("/proc/self/mem")  # a regular file; reading its first byte fails with EIO
LARGE = encoded(Image.effect_noise((800, 600), 80).convert("RGB"), "BMP")


def overwrite(directory: Path) -> None:
    """Change every byte of every file in place."""
    for file in directory.iterdir():
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.write(b"\xff" * size)


def cut(directory: Path) -> None:
    for file in directory.iterdir():
        os.truncate(file, 0)


@pytest.mark.parametrize("harm", [overwrite, cut, shutil.rmtree])
def test_damaged_checkpoint_keeps_serving_until_replaced(
    tiny_checkpoint: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    place = copied(tiny_checkpoint, tmp_path)
    with reloadable(place) as client:
        before = scores(client)
        harm(place)
        for _ in range(2):
            assert scores(client) == before
            assert client.get("/labels").status_code == client.get("/model").status_code == 200
            refused = client.post("/admin/reload", headers=HEADERS)
            assert (refused.status_code, refused.json()["code"]) == (422, "checkpoint_refused")
        whole = Path(shutil.copytree(tiny_checkpoint, tmp_path / "whole"))
        if place.exists():
            place.rename(tmp_path / "harmed")
        whole.rename(place)
        assert client.post("/admin/reload", headers=HEADERS).status_code == 200
        assert scores(client) == before


@pytest.mark.parametrize("name", FILES)
def test_unreadable_file_is_named_in_error(
    tiny_checkpoint: Path, tmp_path: Path, name: str
) -> None:
    directory = copied(tiny_checkpoint, tmp_path)
    (directory / name).unlink()
    (directory / name).symlink_to(UNREADABLE)
    with pytest.raises(
        MumicError, match=r"Input/output error|not a complete safetensors"
    ) as caught:
        read_checkpoint(directory)
    assert str(directory / name) in str(caught.value)


def test_unreadable_label_embeddings_are_recomputed(
    tiny_checkpoint: Path, tiny_classifier: Classifier, tmp_path: Path
) -> None:
    directory = copied(tiny_checkpoint, tmp_path)
    (directory / "label_embeddings.safetensors").unlink()
    (directory / "label_embeddings.safetensors").symlink_to(UNREADABLE)
    checkpoint = read_checkpoint(directory)
    made = label_embeddings(checkpoint, load_model(checkpoint))
    assert made == pytest.approx(tiny_classifier.text_embeddings, abs=1e-6)


def test_requests_are_answered_without_writable_disk(client: httpx.Client, tmp_path: Path) -> None:
    assert len(LARGE) > 2**20  # larger uploads would be spooled to disk by starlette
    with limited_file_size(0), pytest.raises(OSError, match="File too large"):
        (tmp_path / "file").write_bytes(b"x")
    with limited_file_size(0):
        answer = client.post("/predict", **multipart(*[LARGE] * 3))
        assert answer.status_code == 200
        assert {result["status"] for result in answer.json()["results"]} == {"ok"}
        assert metric(client, "mumic_images_in_flight") == 0


def test_missing_temporary_directory_gives_one_line_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # clear the cached directory
    with limited_file_size(0), pytest.raises(SystemExit) as ended, exit_codes():
        tempfile.gettempdir()  # PyTorch calls it on import
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "TMPDIR" in said


def test_full_disk_under_stderr_does_not_stop_serving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        stderr = io.TextIOWrapper(full, write_through=True)
        with pytest.raises(OSError, match="No space left"):
            stderr.write("x")
        monkeypatch.setattr(sys, "stderr", stderr)
        announce("MuMIC listens")
