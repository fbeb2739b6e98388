"""Sampling of photos to annotate: evenly over strata, and similar to rare labels."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotation.sampling import (
    read_strata,
    sample_similar_photos,
    sample_stratified_photos,
)
from app.core.classifier import Classifier
from app.core.model import l2_normalize
from app.dataset.embeddings import read_embeddings, write_embeddings
from app.dataset.manifest import read_table, write_table
from app.errors import DataError
from tests.support.command import Run, mumic


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=3), st.sampled_from("abc")), st.integers(0, 30))
def test_strata_are_sampled_evenly(strata: dict[str, str], count: int) -> None:
    chosen = sample_stratified_photos(strata, count, np.random.default_rng(0))
    assert len(set(chosen)) == len(chosen) == min(count, len(strata))
    sizes, taken = Counter(strata.values()), Counter(strata[file] for file in chosen)
    most = max(taken.values(), default=0)
    assert all(taken[each] >= min(sizes[each], most - 1) for each in sizes)
    reordered = dict(sorted(strata.items(), reverse=True))
    assert sample_stratified_photos(reordered, count, np.random.default_rng(0)) == chosen


def test_seed_changes_sample() -> None:
    strata = {str(i): "villa" for i in range(100)}
    one, other = (
        sample_stratified_photos(strata, 10, np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert set(one) != set(other)


def test_similar_photos_are_sampled_only_from_top() -> None:
    angles = torch.linspace(0, torch.pi / 2, 50)
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    files = [f"{i:02d}" for i in range(50)]
    query = torch.tensor([[1.0, 0.0]])
    draws = [
        sample_similar_photos(
            files, embeddings, query, top=10, count=4, draw=np.random.default_rng(seed)
        )
        for seed in range(30)
    ]
    assert {file for files_ in draws for file in files_} == set(files[:10])
    assert all(files_ == sorted(set(files_)) and len(files_) == 4 for files_ in draws)
    both = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    ends = sample_similar_photos(
        files, embeddings, both, top=6, count=9, draw=np.random.default_rng(0)
    )
    assert set(ends) == {"00", "01", "02", "47", "48", "49"}


@pytest.fixture
def archive(tmp_path: Path, tiny_classifier: Classifier) -> Path:
    """Embeddings of forty photos, close to the texts of pets or dogs or to neither."""
    torch.manual_seed(0)
    texts = tiny_classifier.embed_texts(["a photo with pets", "a photo with dog"])
    noise = 0.02 * torch.randn(40, tiny_classifier.dimension)
    rows = l2_normalize(torch.cat([texts[:1].expand(5, -1), texts[1:].expand(5, -1)]) + noise[:10])
    rest = l2_normalize(-texts.sum(0) + 5 * noise[10:])
    files = [f"{i:02d}.jpg" for i in range(40)]
    write_embeddings(tmp_path / "archive.safetensors", files, torch.cat([rows, rest]))
    kinds = [(file, ("villa", "hotel", "hotel", "hotel")[i % 4]) for i, file in enumerate(files)]
    write_table(tmp_path / "properties.parquet", ("file", "property_type"), kinds)
    return tmp_path


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], archive: Path
) -> "Candidates":
    return Candidates(monkeypatch, capsys, archive)


class Candidates:
    """`mumic data candidates` on the archive."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], archive: Path
    ) -> None:
        self._fixtures = (monkeypatch, capsys)
        self.archive = archive

    def __call__(self, *more: str | Path) -> Run:
        return mumic(
            *(*self._fixtures, "data", "candidates"),
            *("--embeddings", self.archive / "archive.safetensors"),
            *("--properties", self.archive / "properties.parquet", "--by", "property_type"),
            *("--out", self.archive / "candidates.csv", *more),
        )

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        columns = ("file", "property_type", "picked_for")
        table = read_table(self.archive / "candidates.csv", columns)
        return {each["file"]: (each["property_type"], each["picked_for"]) for each in table}


def test_candidates_command_picks_by_strata_and_text(
    run: Candidates, tiny_checkpoint: Path
) -> None:
    rare = ("--rare", "pets", "--rare", "pets=dog", "--per-label", "10", "--top", "10")
    ran = run("--count", "8", "--checkpoint", tiny_checkpoint, *rare)
    assert ran.code == 0, ran.err
    assert ran.out == ""
    pets = {file for file, (_, picked_for) in run.rows.items() if picked_for == "pets"}
    assert pets == {f"{i:02d}.jpg" for i in range(10)}
    first = run.rows
    run("--count", "8", "--checkpoint", tiny_checkpoint, *rare)
    assert run.rows == first
    run("--count", "8")
    assert Counter(kind for kind, _ in run.rows.values()) == {"villa": 4, "hotel": 4}
    assert run.rows.keys() <= first.keys()


def test_rare_label_search_requires_matching_checkpoint(
    run: Candidates, tiny_checkpoint: Path, archive: Path
) -> None:
    rare = ("--count", "1", "--rare", "pets")
    ran = run(*rare)
    assert ran.code == 2
    assert "checkpoint: give the one that made the embeddings" in ran.err
    ran = run("--count", "1", "--rare", "pest", "--checkpoint", tiny_checkpoint)
    assert ran.code == 2
    assert "unknown label 'pest'; nearest known: pets" in ran.err
    files, rows = read_embeddings(archive / "archive.safetensors")
    write_embeddings(archive / "archive.safetensors", files, rows[:, :7])
    ran = run(*rare, "--checkpoint", tiny_checkpoint)
    assert ran.code == 1
    assert "have 32 numbers, the archive's 7" in ran.err


@pytest.mark.parametrize(
    ("files", "rows", "message"),
    [
        (["a"], torch.ones(2, 3), r"embeddings are \(2, 3\), for 1 files"),
        (["a", "a"], torch.ones(2, 3), "a occurs twice"),
        (["a", "b"], torch.tensor([[1.0], [torch.nan]]), "the embedding of b has values"),
    ],
)
def test_invalid_embeddings_are_refused(
    tmp_path: Path, files: list[str], rows: torch.Tensor, message: str
) -> None:
    write_embeddings(tmp_path / "e", files, rows)
    with pytest.raises(DataError, match=message):
        read_embeddings(tmp_path / "e")


def test_file_without_embeddings_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"none"):
        (tmp_path / "e").write_bytes(content)
        with pytest.raises(DataError, match="not a file of embeddings"):
            read_embeddings(tmp_path / "e")


def test_missing_or_conflicting_properties_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("file,kind\na,villa\nb,hotel\na,villa\n")
    assert read_strata(path, "kind", ["b", "a"]) == {"b": "hotel", "a": "villa"}
    with pytest.raises(DataError, match=r"no row for c, .* \(1 such"):
        read_strata(path, "kind", ["a", "c"])
    path.write_text("file,kind\na,villa\na,hotel\n")
    with pytest.raises(DataError, match="rows 2 and 3 are both of a, column kind"):
        read_strata(path, "kind", ["a"])
