"""Decoding of HEIC with libheif, through the extra `heif`.

libheif applies the crop, the rotation and the mirroring of the file, and pillow-heif resets the
orientation in EXIF, which repeats them (MIAF). libheif refuses a picture that is larger than the
file declares, and files with thousands of items.
"""

import io
from collections.abc import Iterator
from importlib.util import find_spec

from PIL import Image

from app.core.images.boxes import read_boxes
from app.core.images.conversion import to_rgb
from app.core.images.frame import DecodedFrame
from app.core.images.limits import ImageLimits, check_size
from app.core.images.profiles import read_profile
from app.errors import ImageError

HEIF_IS_INSTALLED = find_spec("pillow_heif") is not None

# Words of libheif, and of Pillow where libheif knows none of the images.
_UNSUPPORTED = ("Unsupported feature", "Unsupported codec", "not identified by this driver")


def read_heif(data: bytes, limits: ImageLimits) -> DecodedFrame:
    """Decode the primary image of a HEIC file after its size is checked.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: too many pixels, or a coding that is not supported.
        OSError, RuntimeError, SyntaxError, ValueError: the decoder rejects the file.
    """
    with _open(data, limits) as image:
        return DecodedFrame(to_rgb(image, read_profile(image, data)), image.size)


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    """Return the upright image, in any mode of Pillow, with its profile in `info`."""
    import pillow_heif

    # The service decodes in threads of its own. Only the primary image is shown.
    pillow_heif.register_heif_opener(
        decode_threads=1, thumbnails=False, depth_images=False, aux_images=False
    )
    try:
        image = pillow_heif.HeifImageFile(io.BytesIO(data))
        check_size(*image.size, limits)
        image.load()
    except (RuntimeError, SyntaxError, ValueError) as error:
        if any(words in str(error) for words in _UNSUPPORTED):
            raise ImageError(
                "unsupported_format", "HEIF images that are not coded as HEVC are not supported"
            ) from error
        raise
    return image


def read_item_lengths(data: bytes) -> Iterator[int]:
    """Yield the length of each extent of the items of a HEIF file; 0 means the whole file.

    Items can share bytes, and pillow-heif copies the metadata of each image.

    Args:
        data: the whole file.

    Raises:
        IndexError: the table is truncated.
    """
    for meta in read_boxes(data):
        if meta.kind != b"meta":
            continue
        for table in read_boxes(data, meta.start + 4, meta.end):
            if table.kind == b"iloc":
                yield from _extent_lengths(_Reader(data, table.start))


def _extent_lengths(reader: "_Reader") -> Iterator[int]:
    version = reader.number(1)
    reader.skip(3)
    sizes = reader.number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    for _ in range(reader.number(2 if version < 2 else 4)):
        reader.skip((2 if version < 2 else 4) + (2 if version else 0) + 2 + base_size)
        extents = reader.number(2)
        if extents == 0:
            yield 1  # counts all the same: a table can have millions of empty items
        for _ in range(extents):
            reader.skip(index_size + offset_size)
            yield reader.number(length_size)


class _Reader:
    """Reads big-endian numbers one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def number(self, size: int) -> int:
        """Return the next number."""
        self.skip(size)
        return int.from_bytes(self._data[self._at - size : self._at])

    def skip(self, size: int) -> None:
        """Skip bytes."""
        self._at += size
        if self._at > len(self._data):
            raise IndexError("the table is truncated")
