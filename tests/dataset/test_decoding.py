"""Undecodable photos are found before a run, and the pixels of the others can be cached."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress

from app.core.checkpoint import Checkpoint
from app.dataset.labelled import LabelledPhotos
from app.dataset.photos import (
    PhotoDataset,
    decode_photos,
    drop_undecodable_photos,
    undecodable_photo_lines,
)
from app.dataset.photos.decoding import DecodedPhotos
from app.errors import DataError, OptionError
from app.training.run import create_fabric, decodable_photos
from tests.support.training_set import data_of, write_photos


class RepeatedPath(Sequence[Path]):
    """A sequence of 1e9 equal paths."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: Any) -> Any:
        return self._path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of seven photos, of which one is truncated and one is not an image."""
    folder = write_photos(tmp_path / "photos")
    (folder / "coffee.png").write_bytes((folder / "coffee.png").read_bytes()[:3000])
    (folder / "flower.png").write_text("no image")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_decodable_photos_keep_pixels_in_order(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress, workers: int
) -> None:
    data = data_of(tmp_path, photos)
    paths = [photos / file for file in data.files]
    decoded = decode_photos(paths, init.preprocess, keep=True, progress=progress, workers=workers)
    assert set(decoded.errors) == {1, 4}
    kept, pixels = drop_undecodable_photos(data, decoded, tmp_path / "m.csv", max_bad=2)
    assert kept.files == ("cat.png", "china2.png", "china.png", "cat2.png", "flower2.png")
    assert kept.splits.count("train") == 3
    assert torch.equal(kept.targets, data.targets[[0, 2, 3, 5, 6]])
    assert pixels is not None and len(pixels) == 5
    for i, file in enumerate(kept.files):
        assert torch.equal(pixels[i], PhotoDataset([photos / file], init.preprocess)[0])


def test_undecodable_photo_is_reported_by_row_and_file(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    paths = [photos / file for file in data.files]
    decoded = decode_photos(paths, init.preprocess, keep=False, progress=progress)
    first, second = undecodable_photo_lines(data, decoded)
    assert first.startswith(f"row 3, column file: {photos / 'coffee.png'}: cannot be used: ")
    assert second.startswith(f"row 6, column file: {photos / 'flower.png'}: cannot be used: ")
    assert drop_undecodable_photos(data, decoded, tmp_path / "m.csv", max_bad=2)[1] is None


@pytest.mark.parametrize(("most", "allowed"), [(0, 0), (1, 1), (0.2, 1), (0.1, 0)])
def test_too_many_undecodable_photos_stop_run(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress, most: float, allowed: int
) -> None:
    data = data_of(tmp_path, photos)
    paths = [photos / file for file in data.files]
    decoded = decode_photos(paths, init.preprocess, keep=False, progress=progress)
    error = rf"m\.csv: 2 of 7 photos cannot be decoded, more than the {allowed} (.|\n)*coffee\.png"
    with pytest.raises(DataError, match=error):
        drop_undecodable_photos(data, decoded, tmp_path / "m.csv", most)


def test_no_decodable_training_photo_is_refused(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos)
    decoded = DecodedPhotos(dict.fromkeys(range(5), "bad"), None)
    with pytest.raises(DataError, match="no photo of the split train can be decoded"):
        drop_undecodable_photos(data, decoded, tmp_path / "m.csv", max_bad=10)


def test_remaining_photos_must_be_trainable(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    def usable(leave_out: Sequence[str]) -> LabelledPhotos:
        return decodable_photos(
            data_of(tmp_path, photos, leave_out=leave_out),
            init.preprocess,
            tmp_path / "manifest.csv",
            tmp_path / "run",
            max_bad=2,
            keep=False,
            workers=0,
            fabric=create_fabric(torch.device("cpu"), "fp32"),
            progress=progress,
        )[0]

    with pytest.raises(DataError, match="only negative photos for dog, flower; add"):
        usable(leave_out=[])
    listed = (tmp_path / "run" / "bad_photos.txt").read_text().splitlines()
    assert [line.split(",")[0] for line in listed] == ["row 3", "row 6"]
    assert len(usable(leave_out=["dog", "flower"]).files) == 5


def test_pixel_cache_larger_than_memory_is_refused(
    photos: Path, init: Checkpoint, progress: Progress
) -> None:
    with pytest.raises(OptionError, match=r"cache-photos: the photos need 12,288\.0 GB"):
        decode_photos(
            RepeatedPath(photos / "cat.png"), init.preprocess, keep=True, progress=progress
        )
