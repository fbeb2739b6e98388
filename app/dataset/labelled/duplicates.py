"""Detects duplicate photos in different splits, which leak training photos into evaluation."""

from collections.abc import Iterable, Mapping

from app.core.checkpoint import file_hash
from app.dataset.labelled.labelled_photos import LabelledPhotos

MAX_NAMED = 3  # duplicates in a warning


def duplicates_across_splits(data: LabelledPhotos) -> list[str]:
    """Return a warning if files with the same bytes are in different splits.

    Only files of equal size are read.

    Args:
        data: the photos of a manifest; all files must exist.

    Returns:
        One line that names up to `MAX_NAMED` duplicates, or nothing.
    """
    split_of = dict(zip(data.files, data.splits, strict=True))
    sizes = {file: (data.photos / file).stat().st_size for file in data.files}
    duplicates = [
        same_bytes
        for same_size in _groups_across_splits(sizes, split_of)
        for same_bytes in _groups_across_splits(
            {file: file_hash(data.photos / file) for file in same_size}, split_of
        )
    ]
    if not duplicates:
        return []
    named = "; ".join(
        " and ".join(f"{file} ({split_of[file]})" for file in files)
        for files in duplicates[:MAX_NAMED]
    )
    return [
        f"column part: {len(duplicates)} photos are in several splits, so metrics are too "
        f"optimistic: {named}; mumic data split keeps duplicates together"
    ]


def _groups_across_splits(
    keys: Mapping[str, object], split_of: Mapping[str, str]
) -> Iterable[list[str]]:
    """Return the groups of files with equal keys that are not all in one split."""
    groups: dict[object, list[str]] = {}
    for file, key in keys.items():
        groups.setdefault(key, []).append(file)
    return [files for files in groups.values() if len({split_of[file] for file in files}) > 1]
