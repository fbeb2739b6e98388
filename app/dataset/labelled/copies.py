"""Photos that are there twice: in two parts they make the judged photos no news to the model."""

from collections.abc import Iterable, Mapping

from app.core.checkpoint import file_hash
from app.dataset.labelled.labelled_photos import LabelledPhotos

MOST_NAMED = 3


def copies_across_parts(data: LabelledPhotos) -> list[str]:
    """A warning where the same bytes stand in two parts; only files of one size are read.

    Args:
        data: the photos of a manifest, all of them there.

    Returns:
        One line that names some of them, or none.
    """
    part_of = dict(zip(data.files, data.parts, strict=True))
    sizes = {file: (data.photos / file).stat().st_size for file in data.files}
    copies = [
        same
        for alike in _in_several_parts(sizes, part_of)
        for same in _in_several_parts(
            {file: file_hash(data.photos / file) for file in alike}, part_of
        )
    ]
    if not copies:
        return []
    named = "; ".join(
        " and ".join(f"{file} ({part_of[file]})" for file in same) for same in copies[:MOST_NAMED]
    )
    return [
        f"column part: {len(copies)} photos are there in several parts, which flatters what is "
        f"measured: {named}; mumic data split keeps copies together"
    ]


def _in_several_parts(
    keys: Mapping[str, object], part_of: Mapping[str, str]
) -> Iterable[list[str]]:
    """Groups of files with one key that are not all in one part."""
    groups: dict[object, list[str]] = {}
    for file, key in keys.items():
        groups.setdefault(key, []).append(file)
    return [files for files in groups.values() if len({part_of[file] for file in files}) > 1]
