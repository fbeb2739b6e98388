"""Image format detection by signature; file names and content types are ignored."""

from PIL import features

from app.errors import ImageError

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"%PDF-": "PDF",
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "ICO",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

SUPPORTED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF") + (
    ("AVIF",) if features.check("avif") else ()
)
ADVICE = f"send {', '.join(SUPPORTED_FORMATS[:-1])} or {SUPPORTED_FORMATS[-1]}"


def identify(data: bytes) -> str:
    """Detect the format of an image file.

    Args:
        data: the file, or at least its first kilobyte.

    Returns:
        Pillow's name of the format, one of `SUPPORTED_FORMATS`.

    Raises:
        ImageError: the bytes are not an image, or the format is not supported.
    """
    name = next((name for magic, name in _SIGNATURES.items() if data.startswith(magic)), None)
    if name is None:
        name = _identify_container(data)
    if name is None:
        raise ImageError("not_an_image", f"the bytes are not an image: {ADVICE}")
    if name not in SUPPORTED_FORMATS:
        raise ImageError("unsupported_format", f"{name} images are not supported: {ADVICE}")
    return name


def _identify_container(data: bytes) -> str | None:
    """Detect the formats that have no fixed prefix."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    # "BM" can also be the start of a text. The header length of a bitmap is below 256,
    # little-endian.
    if data[:2] == b"BM" and data[15:18] == b"\x00\x00\x00":
        return "BMP"
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4]), 256)]
        brands = {box[i : i + 4] for i in range(0, len(box), 4)}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIC"
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<svg" in data[:1024]:
        return "SVG"
    return None
