"""Decompression bombs are refused at little cost; unusual but harmless files are accepted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.images import ImageLimits
from app.core.images.decoding import decode
from app.core.images.formats import SUPPORTED_FORMATS
from app.core.images.structure import MAX_ELEMENTS
from app.errors import ImageError
from tests.support.bombs import (
    HARMLESS,
    METADATA_BOMBS,
    TOO_LARGE,
    TOO_MANY_ELEMENTS,
    image_file,
    png_of,
)

NAMES = [*TOO_LARGE, *TOO_MANY_ELEMENTS, *METADATA_BOMBS, *HARMLESS]
MAX_MIB = 64  # decoding the largest allowed photo takes ten times as much

MEASURE = """
import pathlib, sys
from app.core.images.decoding import decode
from app.core.images.limits import ImageLimits
from app.errors import ImageError
from benchmarks.support.processes import peak_mib
for path in sys.argv[1:]:
    data = pathlib.Path(path).read_bytes()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # reset the peak to the current size
    before = peak_mib()
    try:
        decode(data, ImageLimits(), min_side_px=448)
        code = "ok"
    except ImageError as error:
        code = error.code
    print(code, round(peak_mib() - before))
"""


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, ImageLimits(), min_side_px=448)
    return caught.value


def test_every_format_has_test_bombs() -> None:
    assert {name.partition(",")[0] for name in TOO_LARGE} == set(SUPPORTED_FORMATS)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_image_with_huge_declared_size_is_refused(name: str) -> None:
    error = refused(image_file(name))
    assert error.code == "too_many_pixels"
    assert ("exceed twice" if name == "TIFF, tiles" else "allowed") in error.message


@pytest.mark.parametrize("name", TOO_MANY_ELEMENTS)
def test_file_with_too_many_elements_is_refused(name: str) -> None:
    error = refused(image_file(name))
    assert error.code == "corrupt"
    assert "too many chunks, segments or tiles" in error.message


@pytest.mark.parametrize("name", METADATA_BOMBS)
def test_decompression_bomb_in_metadata_is_refused(name: str) -> None:
    assert refused(image_file(name)).code == "corrupt"


def test_element_limit_is_exact() -> None:
    few = 3  # IHDR, IDAT, IEND
    decode(png_of(*[(b"prVt", b"")] * (MAX_ELEMENTS - few)), ImageLimits(), min_side_px=1)
    refused(png_of(*[(b"prVt", b"")] * (MAX_ELEMENTS - few + 1)))


@pytest.mark.parametrize("name", HARMLESS)
def test_large_metadata_does_not_refuse_good_image(name: str) -> None:
    decode(image_file(name), ImageLimits(), min_side_px=1)


@pytest.mark.slow
def test_bombs_do_not_cost_memory(tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(NAMES):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(image_file(name))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)],
        capture_output=True,
        check=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)},  # do not keep freed memory
        text=True,
    )
    grown = {
        name: int(line.split()[1])
        for name, line in zip(NAMES, run.stdout.splitlines(), strict=True)
    }
    assert {name: mib for name, mib in grown.items() if mib > MAX_MIB} == {}
