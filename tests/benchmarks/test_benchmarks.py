"""The parts of the benchmarks that need neither a server nor another system."""

import importlib.util
import io
import re

import pytest
from PIL import Image

from benchmarks.support.http import multipart_requests
from benchmarks.support.load import LoadResult, completed_between, percentile
from benchmarks.support.photos import SIZES, photos
from benchmarks.throughput.ceiling import Ceiling
from benchmarks.throughput.side_by_side import workloads
from benchmarks.throughput.table import Measurement, Workload, table
from tests.support.imports import ROOT


@pytest.mark.parametrize("megapixels", [0.3, 3.0])
def test_photos_have_requested_size_and_differ(megapixels: float) -> None:
    files = photos(megapixels)
    assert len(set(files)) == len(files) == 4
    for data in files:
        with Image.open(io.BytesIO(data)) as photo:
            assert (photo.format, photo.size) == ("JPEG", SIZES[megapixels])


def test_large_photos_have_as_many_bytes_per_megapixel() -> None:
    small, large = (len(photos(size)[0]) / size for size in (0.3, 3.0))
    assert large == pytest.approx(small, rel=0.3)


def test_percentile_returns_measured_value() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, p) for p in (50, 95, 99)] == [50, 95, 99]
    assert percentile([7], 50) == percentile([7], 99) == 7


def test_request_at_edge_of_window_counts_in_proportion() -> None:
    requests = [(0, 2), (2, 4), (4, 5), (3.5, 7.5), (6, 8)]
    assert completed_between(requests, 1, 5.5) == pytest.approx(0.5 + 1 + 1 + 0.5)


def test_each_photo_is_first_in_one_request() -> None:
    files = [b"a-photo", b"b-photo", b"c-photo"]
    found = multipart_requests(files, 4)
    assert [body.count(b'name="images"') for body in found] == [4, 4, 4]
    assert [min(files, key=body.index) for body in found] == files


def test_workloads_stay_below_limit_of_images_in_flight() -> None:
    found = workloads([0.3], [1, 32], [1, 8, 64])
    assert [(workload.images, workload.concurrency) for workload in found] == [
        (1, 1), (1, 8), (1, 64), (32, 1), (32, 8),
    ]  # fmt: skip


def measurement(system: str, repeat: int, result: LoadResult) -> Measurement:
    ceiling = Ceiling(40, 50, latency_ms=20, batch_size=4, decoder="the server's")
    return Measurement("mine", system, repeat, Workload(0.3, 1, 8), ceiling, result)


def test_table_shows_median_and_range() -> None:
    measurements = [
        measurement("mumic", repeat, LoadResult(images_per_second=throughput, p50_ms=4))
        for repeat, throughput in enumerate([30.0, 10.0, 20.0])
    ]
    text = table(measurements)
    assert "| mumic | 0.3 | 1 | 8 | 20.0 (10.0-30.0) | 50% | 20.0 | 4 |" in text
    assert "Ceiling at 0.3 MP: 40.0 images/s (40.0-40.0); the model alone 50.0" in text


def test_table_voids_row_with_error() -> None:
    good = measurement("other", 0, LoadResult(images_per_second=30))
    bad = measurement("other", 1, LoadResult(errors=1, first_error="503 busy"))
    row = next(line for line in table([good, bad]).splitlines() if line.startswith("| other"))
    assert "void: 503 busy" in row and "30" not in row
    header = next(line for line in table([good]).splitlines() if line.startswith("| system"))
    assert row.count("|") == header.count("|")


def test_readme_lists_every_benchmark() -> None:
    readme = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(benchmarks\.[\w.]+)", readme, re.MULTILINE))
    assert all(importlib.util.find_spec(module) for module in listed)
    scripts = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in (ROOT / "benchmarks").rglob("*.py")
        if "__main__" in path.read_text(encoding="utf-8") and path.parent.name != "systems"
    }
    assert listed == scripts
