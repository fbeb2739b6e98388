"""The parts of the benchmark that need no time to pass and no other system."""

import io

import pytest
from PIL import Image

from benchmarks.support.load import Load, answered_between, percentile, requests_of
from benchmarks.support.photos import SIZES, photos
from benchmarks.throughput.ceiling import Ceiling
from benchmarks.throughput.side_by_side import cells
from benchmarks.throughput.table import Cell, Measured, table


@pytest.mark.parametrize("megapixels", [0.3, 3.0])
def test_photos_have_their_size_and_differ(megapixels: float) -> None:
    files = photos(megapixels)
    assert len(set(files)) == len(files) == 4
    for data in files:
        with Image.open(io.BytesIO(data)) as photo:
            assert (photo.format, photo.size) == ("JPEG", SIZES[megapixels])


def test_generated_photos_compress_like_real_ones() -> None:
    small, large = (len(photos(size)[0]) / size for size in (0.3, 3.0))
    assert large == pytest.approx(small, rel=0.3)  # bytes a megapixel


def test_percentile_is_measured_value() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, p) for p in (50, 95, 99)] == [50, 95, 99]
    assert percentile([7], 50) == percentile([7], 99) == 7


def test_request_across_window_edge_counts_by_its_share() -> None:
    requests = [(0, 2), (2, 4), (4, 5), (3.5, 7.5), (6, 8)]
    assert answered_between(requests, 1, 5.5) == pytest.approx(0.5 + 1 + 1 + 0.5)


def test_each_photo_is_first_in_one_request() -> None:
    files = [b"a-photo", b"b-photo", b"c-photo"]
    found = requests_of(files, 4)
    assert [body.count(b'name="images"') for body in found] == [4, 4, 4]
    assert [min(files, key=body.index) for body in found] == files


def test_cells_stay_within_server_queue_limit() -> None:
    found = cells([0.3], [1, 32], [1, 8, 64])
    assert [(cell.images, cell.concurrency) for cell in found] == [
        (1, 1), (1, 8), (1, 64), (32, 1), (32, 8),
    ]  # fmt: skip


def measured(system: str, repeat: int, load: Load) -> Measured:
    ceiling = Ceiling(40, 50, latency_ms=20, batch_size=4, decoder="the server's")
    return Measured("mine", system, repeat, Cell(0.3, 1, 8), ceiling, load)


def test_table_gives_median_and_spread() -> None:
    paces = enumerate([30.0, 10.0, 20.0])
    rows = [measured("mumic", n, Load(images_per_second=pace, p50_ms=4)) for n, pace in paces]
    text = table(rows)
    assert "| mumic | 0.3 | 1 | 8 | 20.0 (10.0-30.0) | 50% | 20.0 | 4 |" in text
    assert "Ceiling at 0.3 MP: 40.0 images/s (40.0-40.0); the model alone 50.0" in text


def test_table_voids_cell_with_error() -> None:
    good = measured("other", 0, Load(images_per_second=30))
    bad = measured("other", 1, Load(errors=1, first_error="503 busy"))
    line = next(line for line in table([good, bad]).splitlines() if line.startswith("| other"))
    assert "void: 503 busy" in line and "30" not in line
    head = next(line for line in table([good]).splitlines() if line.startswith("| system"))
    assert line.count("|") == head.count("|")
