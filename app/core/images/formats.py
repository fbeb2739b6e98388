"""Image format detection by signature; file names and content types are ignored."""

import re

from PIL import features

from app.core.images.boxes import read_boxes
from app.core.images.heif import HEIF_IS_INSTALLED
from app.core.images.jxl import JXL_IS_INSTALLED
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
    b"\xff\x0a": "JXL",
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": "JXL",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}

# What people send too. The names are for the message.
_UNSUPPORTED_SIGNATURES = {
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000 images",
    b"\xff\x4f\xff\x51": "JPEG 2000 images",
    b"II\xbc": "JPEG XR images",
    b"8BPS": "Photoshop images",
    b"gimp xcf": "GIMP images",
    b"\x00\x00\x01\x00": "ICO images",
    b"icns": "ICNS images",
    b"qoif": "QOI images",
    b"FLIF": "FLIF images",
    b"BPG\xfb": "BPG images",
    b"DDS ": "DDS images",
    b"\x76\x2f\x31\x01": "OpenEXR images",
    b"#?RADIANCE": "Radiance HDR images",
    b"#?RGBE": "Radiance HDR images",
    b"SIMPLE  =": "FITS images",
    b"\x8aMNG\r\n\x1a\n": "MNG images",
    b"\x8bJNG\r\n\x1a\n": "JNG images",
    b"\xd7\xcd\xc6\x9a": "WMF images",
    b"%PDF-": "PDF documents",
    b"%!PS": "PostScript documents",
    b"\xc5\xd0\xd3\xc6": "PostScript documents",
    b"FUJIFILMCCD-RAW": "camera raw images (RAF)",
    b"FOVb": "camera raw images (X3F)",
    b"IIRO": "camera raw images (ORF)",
    b"IIRS": "camera raw images (ORF)",
    b"MMOR": "camera raw images (ORF)",
    b"IIU\x00": "camera raw images (RW2)",
    b"\x00MRM": "camera raw images (MRW)",
    b"II\x1a\x00\x00\x00HEAPCCDR": "camera raw images (CRW)",
    b"\x1a\x45\xdf\xa3": "Matroska and WebM videos",
    b"OggS": "Ogg videos",
    b"FLV\x01": "FLV videos",
    b"\x00\x00\x01\xba": "MPEG videos",
}
_UNSUPPORTED_BRANDS = {
    b"crx ": "camera raw images (CR3)",
    b"hevc": "HEIC sequences",
    b"hevx": "HEIC sequences",
    b"msf1": "HEIC sequences",
    b"qt  ": "QuickTime videos",
    b"isom": "MP4 videos",
    b"iso2": "MP4 videos",
    b"iso4": "MP4 videos",
    b"iso5": "MP4 videos",
    b"iso6": "MP4 videos",
    b"mp41": "MP4 videos",
    b"mp42": "MP4 videos",
    b"avc1": "MP4 videos",
    b"M4V ": "MP4 videos",
    b"3gp4": "3GP videos",
    b"3gp5": "3GP videos",
    b"3gp6": "3GP videos",
}
_NETPBM = re.compile(rb"P[1-6fF]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s|P7\n")

# Pillow's names of formats by the extra that decodes them.
_EXTRAS = {"HEIF": "heif", "JXL": "jxl"}
_INSTALLED = {"heif": HEIF_IS_INSTALLED, "jxl": JXL_IS_INSTALLED}
_DISPLAY_NAMES = {"HEIF": "HEIC", "JXL": "JPEG XL"}

SUPPORTED_FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"),
    *(("AVIF",) if features.check("avif") else ()),
    *(name for name, extra in _EXTRAS.items() if _INSTALLED[extra]),
)


def display_name(image_format: str) -> str:
    """Return the usual name of a format by Pillow's."""
    return _DISPLAY_NAMES.get(image_format, image_format)


_NAMES = [display_name(name) for name in SUPPORTED_FORMATS]
ADVICE = f"send {', '.join(_NAMES[:-1])} or {_NAMES[-1]}"


def identify(data: bytes) -> str:
    """Detect the format of an image file.

    Args:
        data: the file, or at least its first kilobyte.

    Returns:
        Pillow's name of the format, one of `SUPPORTED_FORMATS`.

    Raises:
        ImageError: the bytes are not an image, or the format is not supported.
    """
    name = _starts_with(data, _SIGNATURES) or _identify_container(data)
    if name is not None and name in SUPPORTED_FORMATS:
        return name
    if name in _EXTRAS:
        extra = _EXTRAS[name]
        raise ImageError(
            "unsupported_format",
            f"{display_name(name)} images are not supported without the extra {extra} "
            f"(pip install 'mumic[{extra}]'): {ADVICE}",
        )
    what = f"{name} images" if name else _identify_unsupported(data)
    if what:
        raise ImageError("unsupported_format", f"{what} are not supported: {ADVICE}")
    raise ImageError("not_an_image", f"the bytes are not an image: {ADVICE}")


def _starts_with(data: bytes, signatures: dict[bytes, str]) -> str | None:
    return next((name for magic, name in signatures.items() if data.startswith(magic)), None)


def _identify_container(data: bytes) -> str | None:
    """Detect the formats that can be supported and have no fixed prefix."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    # "BM" can also be the start of a text. The header length of a bitmap is below 256,
    # little-endian.
    if data[:2] == b"BM" and data[15:18] == b"\x00\x00\x00":
        return "BMP"
    brands = _brands(data)
    if _AVIF_BRANDS.intersection(brands):
        return "AVIF"
    return "HEIF" if _HEIF_BRANDS.intersection(brands) else None


def _identify_unsupported(data: bytes) -> str | None:
    """Return the name of a format that is never supported, or None."""
    if name := _starts_with(data, _UNSUPPORTED_SIGNATURES):
        return name
    if name := next(
        (_UNSUPPORTED_BRANDS[brand] for brand in _brands(data) if brand in _UNSUPPORTED_BRANDS),
        None,
    ):
        return name
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "AVI videos"
    if data[128:132] == b"DICM":
        return "DICOM images"
    if data[:4] == b"\x01\x00\x00\x00" and data[40:44] == b" EMF":
        return "EMF images"
    if _NETPBM.match(data[:1024]):
        return "Netpbm images"
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<svg" in data[:1024]:
        return "SVG images"
    return None


def _brands(data: bytes) -> list[bytes]:
    """Return the brands of an ISO base media file, the major one first."""
    box = next(read_boxes(data), None)
    if box is None or box.kind != b"ftyp":
        return []
    return [data[at : at + 4] for at in range(box.start, min(box.end, 256), 4)]
