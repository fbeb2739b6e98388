"""`mumic index` that is killed at any moment loses at most the photos of one commit."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.classifier import Classifier
from app.index import IndexReader
from app.tagger import EmbeddedPhoto
from tests.support.imports import ROOT
from tests.support.index import embed_bytes, update_index

pytestmark = pytest.mark.slow
# Prints a line for each embedded file, then waits for the next line on stdin.
CHILD = """
import sys
from pathlib import Path
from app.core.checkpoint import read_checkpoint
from tests.support.index import embed_bytes, update_index

def embed(files):
    if files:
        print(len(files), flush=True)
        sys.stdin.readline()
    return embed_bytes(files)

index, checkpoint, photos = sys.argv[1:]
files = {f"{n:02}": str(n).encode() for n in range(int(photos))}
update_index(Path(index), read_checkpoint(Path(checkpoint)), files, embed)
"""
PHOTOS = 8


@pytest.mark.parametrize("embedded", [1, 4, 7])
def test_killed_index_resumes_with_its_commits(
    tmp_path: Path, tiny_checkpoint: Path, tiny_classifier: Classifier, embedded: int
) -> None:
    arguments = [str(tmp_path / "index"), str(tiny_checkpoint), str(PHOTOS)]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as child:
        assert child.stdin and child.stdout
        for _ in range(embedded):
            child.stdout.readline()
            child.stdin.write("go on\n")
            child.stdin.flush()
        child.stdout.readline()  # one more is being embedded
        child.kill()
    assert child.returncode == -signal.SIGKILL
    committed = 2 * (embedded // 2)  # two photos a commit
    again: list[bytes] = []
    files = {f"{n:02}": str(n).encode() for n in range(PHOTOS)}

    def embed(new: list[bytes]) -> list[EmbeddedPhoto]:
        again.extend(new)
        return embed_bytes(new)

    counts = update_index(tmp_path / "index", tiny_classifier.checkpoint, files, embed)
    assert (counts.unchanged, counts.added) == (committed, PHOTOS - committed)
    assert len(again) == PHOTOS - committed
    assert list(IndexReader(tmp_path / "index").read().ids) == sorted(files)
