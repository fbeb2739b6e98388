"""Small files that ask for much are refused for little; odd ones that do not are read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.images import ImageLimits
from app.core.images.decoding import decode
from app.core.images.formats import SUPPORTED_FORMATS
from app.core.images.structure import MAX_PIECES
from app.errors import ImageError
from tests.support.bombs import GOOD, TOO_LARGE, TOO_MANY_PIECES, TOO_MUCH_BESIDE, made, png_of

NAMES = [*TOO_LARGE, *TOO_MANY_PIECES, *TOO_MUCH_BESIDE, *GOOD]
MOST_MIB = 64  # a photo of the largest size allowed takes ten times as much

MEASURE = """
import pathlib, sys
from app.core.images.decoding import ImageLimits, decode
from app.errors import ImageError
from benchmarks.support.processes import peak_mib
for path in sys.argv[1:]:
    data = pathlib.Path(path).read_bytes()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
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


def test_every_format_has_bombs() -> None:
    assert {name.partition(",")[0] for name in TOO_LARGE} == set(SUPPORTED_FORMATS)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_picture_that_says_it_is_huge_is_refused(name: str) -> None:
    error = refused(made(name))
    assert error.code == "too_many_pixels"
    assert ("twice as many" if name == "TIFF, tiles" else "allowed") in error.message


@pytest.mark.parametrize("name", TOO_MANY_PIECES)
def test_a_file_in_countless_pieces_is_refused(name: str) -> None:
    error = refused(made(name))
    assert error.code == "corrupt"
    assert "too many pieces" in error.message


@pytest.mark.parametrize("name", TOO_MUCH_BESIDE)
def test_what_unpacks_to_much_beside_the_picture_is_refused(name: str) -> None:
    assert refused(made(name)).code == "corrupt"


def test_the_limit_of_pieces_is_exact() -> None:
    few = 3  # IHDR, IDAT, IEND
    decode(png_of(*[(b"prVt", b"")] * (MAX_PIECES - few)), ImageLimits(), min_side_px=1)
    refused(png_of(*[(b"prVt", b"")] * (MAX_PIECES - few + 1)))


@pytest.mark.parametrize("name", GOOD)
def test_much_beside_a_good_picture_does_not_cost_it(name: str) -> None:
    decode(made(name), ImageLimits(), min_side_px=1)


def test_none_of_them_costs_memory(tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(NAMES):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(made(name))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)],
        capture_output=True,
        check=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)},  # what is freed is not kept
        text=True,
    )
    grown = {
        name: int(line.split()[1])
        for name, line in zip(NAMES, run.stdout.splitlines(), strict=True)
    }
    assert {name: mib for name, mib in grown.items() if mib > MOST_MIB} == {}
