"""Splitting: equal shares for every label, copies in one split, reproducible by seed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotation.targets import assign_splits
from app.annotation.targets.label_variants import variant_warnings
from app.dataset.manifest import SPLITS, Annotation, Split, read_manifest, write_annotations
from app.errors import DataError
from tests.support.annotation import annotation, write_crops, write_labels
from tests.support.command import Run, mumic

PHOTOS = st.lists(
    st.tuples(st.sets(st.sampled_from("abcd")), st.integers(0, 60)), min_size=30, max_size=120
)


def build_photos(drawn: Sequence[tuple[set[str], int]]) -> tuple[list[Annotation], dict[str, str]]:
    """Build annotations, and content hashes of which some are equal."""
    photos = [annotation(f"{i}.jpg", sorted(labels)) for i, (labels, _) in enumerate(drawn)]
    return photos, {f"{i}.jpg": f"content {content}" for i, (_, content) in enumerate(drawn)}


@settings(max_examples=25)
@given(drawn=PHOTOS, seed=st.integers(0, 3))
def test_copies_share_split_in_any_row_order(drawn: list[tuple[set[str], int]], seed: int) -> None:
    photos, hashes = build_photos([(set(), i) for i in range(100, 130)] + drawn)
    splits = assign_splits(photos, hashes, seed=seed)
    assert splits.keys() == hashes.keys()
    for content in set(hashes.values()):
        assert len({splits[file] for file, own in hashes.items() if own == content}) == 1
    assert assign_splits(photos[::-1], hashes, seed=seed) == splits


@settings(max_examples=25)
@given(drawn=PHOTOS, seed=st.integers(0, 3))
def test_each_stratum_has_requested_shares(drawn: list[tuple[set[str], int]], seed: int) -> None:
    photos, _ = build_photos(drawn)
    splits = assign_splits(photos, {photo.file: photo.file for photo in photos}, seed=seed)
    frequency = Counter(label for photo in photos for label in photo.positive)
    strata: dict[str, list[Split]] = {}
    for photo in photos:
        rarest = min(photo.positive, key=lambda label: (frequency[label], label), default="")
        strata.setdefault(rarest, []).append(splits[photo.file])
    strata["all"] = list(splits.values())
    for given_splits in strata.values():
        for name, share in zip(SPLITS[:3], (0.8, 0.1, 0.1), strict=True):
            assert abs(given_splits.count(name) - share * len(given_splits)) < 2


def test_ten_photos_of_rare_label_reach_every_split() -> None:
    photos, hashes = build_photos(
        [({"a"}, i) for i in range(10)] + [({"b"}, i) for i in range(10, 300)]
    )
    splits = assign_splits(photos, hashes)
    rare = Counter(splits[photo.file] for photo in photos if "a" in photo.positive)
    assert rare == {"train": 8, "validation": 1, "test": 1}


def test_seed_changes_split_and_shares_are_respected() -> None:
    photos, hashes = build_photos([(set("ab"[: i % 3]), i) for i in range(200)])
    assert assign_splits(photos, hashes, seed=0) != assign_splits(photos, hashes, seed=1)
    halves = assign_splits(photos, hashes, {"train": 1, "validation": 1, "test": 0})
    assert Counter(halves.values()) == {"train": 100, "validation": 100}


def test_empty_split_is_refused() -> None:
    photos, hashes = build_photos([({"a"}, i) for i in range(5)])
    with pytest.raises(DataError, match=r"no photo is left for the split .*: 5 different photos"):
        assign_splits(photos, hashes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of twenty photos, of which the last is a copy of the first, and their targets."""
    files = write_crops(tmp_path / "photos", 20)
    (tmp_path / "photos" / files[-1]).write_bytes((tmp_path / "photos" / files[0]).read_bytes())
    targets = [
        annotation(file, ["pool"] if i % 2 else [], ["garden"]) for i, file in enumerate(files)
    ]
    write_annotations(tmp_path / "targets.csv", targets)
    return tmp_path


def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    *more: str | Path,
) -> Run:
    return mumic(
        *(monkeypatch, capsys, "data", "split", "--targets", folder / "targets.csv"),
        *("--photos", folder / "photos", "--out", folder / "manifest.parquet", *more),
    )


def test_split_command_writes_manifest_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ran = run(monkeypatch, capsys, folder)
    assert ran.code == 0, ran.err
    rows = read_manifest(folder / "manifest.parquet", folder / "photos", ["pool", "garden"])
    splits = {row.file: row.split for row in rows}
    assert splits["00.png"] == splits["19.png"]
    assert {row.negative for row in rows} == {frozenset({"garden"})}
    lines = [line.split() for line in ran.out.splitlines()]
    counts = [str(list(splits.values()).count(name)) for name in SPLITS[:3]]
    assert lines[0] == [
        "photos",
        *(cell for pair in zip(SPLITS, counts, strict=False) for cell in pair),
    ]
    assert [line[0] for line in lines[1:]] == ["garden", "pool"]
    assert [cell for cell in lines[1] if cell.endswith("-")] == ["16-", "2-", "2-"]
    assert sum(int(cell[:-1]) for cell in lines[2] if cell.endswith("+")) == 10


def test_fourth_share_makes_calibration_split(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ran = run(monkeypatch, capsys, folder, "--shares", "40/20/20/20")
    assert ran.code == 0, ran.err
    rows = read_manifest(folder / "manifest.parquet", folder / "photos", ["pool", "garden"])
    counts = Counter(row.split for row in rows)
    assert counts == {"train": 8, "validation": 4, "test": 4, "calibration": 4}
    assert ran.out.splitlines()[0].split()[-2:] == ["calibration", "4"]


@pytest.mark.parametrize(
    "shares", ["80/20", "a/b/c", "0/50/50", "80/-10/30", "inf/1/1", "60/10/10/10/10"]
)
def test_invalid_shares_exit_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, shares: str
) -> None:
    ran = run(monkeypatch, capsys, folder, "--shares", shares)
    assert ran.code == 2
    assert "must be three numbers such as 80/10/10" in ran.err


def test_missing_photo_is_reported_with_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "photos" / "03.png").unlink()
    ran = run(monkeypatch, capsys, folder)
    assert ran.code == 1
    assert "targets.csv: row 5, column file: no photo" in ran.err
    assert not (folder / "manifest.parquet").exists()


def split_table(folder: Path, rows: Sequence[str], *options: str) -> list[str]:
    """Write photos and a table of their labels, and return a command that splits it."""
    files = write_crops(folder / "photos", len(rows))
    lines = [f"{file},{labels}" for file, labels in zip(files, rows, strict=True)]
    (folder / "own.csv").write_text("\n".join(["file,positive", *lines]) + "\n")
    paths = {"targets": "own.csv", "photos": "photos", "out": "manifest.csv"}
    given_paths = [str(each) for key, name in paths.items() for each in (f"--{key}", folder / name)]
    return ["data", "split", *given_paths, "--unlisted", "negative", *options]


def test_unknown_labels_are_refused_together_with_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = ["pool", "Pool", "pool|gardn", "garden", "Pool", *(f"other{i}" for i in range(10))]
    command = split_table(tmp_path, rows, "--labels", str(write_labels(tmp_path)))
    ran = mumic(monkeypatch, capsys, *command)
    assert ran.code == 1
    assert "own.csv: 12 unknown names: row 3, column positive: unknown name 'Pool'" in ran.err
    assert "; row 4, column positive: unknown name 'gardn'; nearest known: garden; " in ran.err
    assert "; and 2 more; names are ids of the label set" in ran.err
    assert ran.err.count("names are ids of the label set") == 1
    assert not (tmp_path / "manifest.csv").exists()


def test_known_labels_pass_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = split_table(tmp_path, ["pool", "garden"] * 10)
    ran = mumic(monkeypatch, capsys, *command, "--labels", str(write_labels(tmp_path)))
    assert ran.code == 0, ran.err
    names = tmp_path / "names.yaml"
    names.write_text("names: {pool: {text: pool, label: pool}}\n")
    ran = mumic(
        monkeypatch,
        capsys,
        *command,
        *("--labels", str(tmp_path / "labels.yaml"), "--names", str(names)),
    )
    assert "own.csv: row 3, column positive: unknown name 'garden'" in ran.err


def test_unknown_one_hot_column_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = split_table(tmp_path, ["pool", "garden"], "--one-hot")
    (tmp_path / "own.csv").write_text("file,pool,Garden\n00.png,1,0\n01.png,0,1\n")
    ran = mumic(monkeypatch, capsys, *command, "--labels", str(write_labels(tmp_path)))
    assert "own.csv: column Garden: unknown name 'Garden'; nearest known: garden" in ran.err


def test_label_variants_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [*["beach|hot tub"] * 10, *["Beach|hot_tub"] * 8, "baech|hot tub", "bech|hot tub"]
    ran = mumic(monkeypatch, capsys, *split_table(tmp_path, rows))
    assert ran.code == 0, ran.err
    assert "warning: labels that may be one label in two spellings (photos): " in ran.err
    for pair in (
        "'Beach' (8) and 'beach' (10)",
        "'baech' (1) and 'beach' (10)",
        "'bech' (1) and 'beach' (10)",
        "'hot_tub' (8) and 'hot tub' (12)",
    ):
        assert pair in ran.err


@pytest.mark.parametrize(
    "names",
    [("room1", "room2"), ("cat", "bat"), ("horse", "house"), ("C", "C++"), ("indoor", "outdoor")],
)
def test_different_labels_are_no_variants(names: tuple[str, str]) -> None:
    rare = 6 if names == ("horse", "house") else 1
    photos = [annotation(f"{i}.jpg", [names[i < rare]]) for i in range(60)]
    assert variant_warnings(photos) == []
