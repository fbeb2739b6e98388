"""Decoding of JPEG XL with libjxl, through the extra `jxl`.

The decoder takes a whole file without limits, so that the header is read here before. It gets the
codestream alone: the boxes around it are metadata, which can be compressed, or the data for
restoring a JPEG. The orientation of a JPEG XL is in the codestream, and the decoder applies it.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from PIL import Image

from app.core.images.boxes import read_boxes
from app.core.images.conversion import to_rgb
from app.core.images.frame import DecodedFrame
from app.core.images.limits import ImageLimits, check_size
from app.core.images.profiles import read_profile
from app.errors import ImageError

JXL_IS_INSTALLED = find_spec("pillow_jxl") is not None

_CODESTREAM = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
# Alpha, and the spot colours and depths of level 5 of the standard. Each has all pixels.
MAX_EXTRA_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """The start of a codestream.

    Args:
        width: in pixels, before the orientation is applied.
        height: in pixels, before the orientation is applied.
        extra_channels: number of channels besides the colours, such as alpha.
        animated: whether there are several frames.
    """

    width: int
    height: int
    extra_channels: int = 0
    animated: bool = False


def read_jxl(data: bytes, limits: ImageLimits) -> DecodedFrame:
    """Decode a JPEG XL after its limits are checked.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: too many pixels or channels, or an animation, whose last frame would be decoded.
        RuntimeError: the decoder rejects the file.
        EOFError: the header is incomplete.
    """
    with _open(data, limits) as image:
        return DecodedFrame(to_rgb(image, read_profile(image, data)), image.size)


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    """Return the upright image, in any mode of Pillow, with its profile in `info`."""
    import pillow_jxl

    codestream = _codestream(data)
    header = read_jxl_header(codestream)
    check_size(header.width, header.height, limits)
    if header.extra_channels > MAX_EXTRA_CHANNELS:
        raise ImageError(
            "unsupported_format",
            f"JPEG XL images with {header.extra_channels} extra channels are not supported: "
            f"at most {MAX_EXTRA_CHANNELS} are",
        )
    if header.animated:
        raise ImageError(
            "unsupported_format", "JPEG XL animations are not supported: send one frame"
        )
    _, found, samples, profile, _ = pillow_jxl.Decoder(num_threads=0)(codestream)
    image = Image.frombytes(found.mode, (found.width, found.height), samples)
    if profile:
        image.info["icc_profile"] = profile
    return image


def _codestream(data: bytes) -> bytes:
    if data.startswith(_CODESTREAM):
        return data
    skipped = {b"jxlc": 0, b"jxlp": 4}  # a partial codestream starts with its number
    return b"".join(
        data[box.start + skipped[box.kind] : box.end]
        for box in read_boxes(data)
        if box.kind in skipped
    )


def read_jxl_header(codestream: bytes) -> JxlHeader:
    """Read the size, the extra channels and the animation of a JPEG XL.

    Args:
        codestream: at least its first 64 bytes.

    Raises:
        EOFError: the header is incomplete.
    """
    bits = _Bits(codestream[len(_CODESTREAM) : 64])
    width, height = _read_size(bits)
    if bits.read(1):  # the default metadata
        return JxlHeader(width, height)
    animated = False
    if bits.read(1):  # extra fields
        bits.read(3)  # orientation
        if bits.read(1):  # an intrinsic size
            _read_size(bits)
        if bits.read(1):  # a preview
            _read_preview_size(bits)
        animated = bool(bits.read(1))
        if animated:
            return JxlHeader(width, height, animated=True)
    floating = bits.read(1)
    bits.choose((0, 0), (0, 0), (0, 0), (1, 6))  # bits per sample
    if floating:
        bits.read(4)
    bits.read(1)  # 16-bit buffers
    extra_channels = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
    return JxlHeader(width, height, extra_channels)


class _Bits:
    """Reads bits, the least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next bits as a number."""
        if count > self._left:
            raise EOFError("the header is incomplete")
        value = self._bits & (1 << count) - 1
        self._bits >>= count
        self._left -= count
        return value

    def choose(self, *options: tuple[int, int]) -> int:
        """Read one of four numbers, each a constant plus a number of bits."""
        constant, count = options[self.read(2)]
        return constant + self.read(count)


def _read_size(bits: _Bits) -> tuple[int, int]:
    small = bits.read(1)

    def side() -> int:
        return 8 * (bits.read(5) + 1) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = _RATIOS.get(bits.read(3))
    return (height * ratio[0] // ratio[1] if ratio else side()), height


def _read_preview_size(bits: _Bits) -> None:
    in_blocks = bits.read(1)

    def side() -> None:
        if in_blocks:
            bits.choose((16, 0), (32, 0), (1, 5), (33, 9))
        else:
            bits.choose((1, 6), (65, 8), (321, 10), (1345, 12))

    side()
    if not bits.read(3):
        side()
