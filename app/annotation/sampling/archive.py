"""Reads an archive of photos: image embeddings (safetensors) and properties (a table)."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from app.core.model import l2_normalize
from app.dataset.manifest import TableRow, read_table, same_photo_key
from app.errors import DataError


def write_archive_embeddings(path: Path, files: Sequence[str], embeddings: Tensor) -> None:
    """Write embeddings.

    Args:
        path: the safetensors file.
        files: N photos, relative to the photo folder.
        embeddings: (N, D) unit rows, stored as float16.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {"embeddings": embeddings.half().contiguous()},
        path,
        metadata={"files": json.dumps(list(files))},
    )


def read_archive_embeddings(path: Path) -> tuple[list[str], Tensor]:
    """Read embeddings.

    Returns:
        N files and their (N, D) float32 unit rows.

    Raises:
        DataError: the file cannot be read, files and embeddings differ in number, a file occurs
            twice, or a value is not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            files = json.loads((file.metadata() or {})["files"])
            embeddings = l2_normalize(file.get_tensor("embeddings"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: not a file of embeddings (safetensors with the tensor embeddings and a JSON "
            f"list files in the metadata): {error}"
        ) from error
    if embeddings.ndim != 2 or len(embeddings) != len(files):
        raise DataError(
            f"{path}: embeddings are {tuple(embeddings.shape)}, for {len(files)} files; must be "
            "one row per file"
        )
    if len(set(files)) != len(files):
        twice = next(file for i, file in enumerate(files) if file in files[:i])
        raise DataError(f"{path}: {twice} occurs twice")
    broken = (~torch.isfinite(embeddings).all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise DataError(
            f"{path}: the embedding of {files[broken[0]]} has values that are not finite"
        )
    return files, embeddings


def read_strata(
    path: Path, column: str, files: Sequence[str], *, file_column: str = "file"
) -> dict[str, str]:
    """Read the stratum of each photo of an archive.

    Args:
        path: a table with the two columns; photos that are not in the archive are ignored.
        column: the column with the stratum, such as the property's type.
        files: the archive's photos; names that differ in Unicode normal form, slashes or `./`
            only are equal.
        file_column: the column with the photo.

    Returns:
        File to stratum, in the order of `files`.

    Raises:
        DataError: two rows of one photo disagree, or a photo has no row.
    """
    first: dict[str, TableRow] = {}
    for row in read_table(path, (file_column, column), options={file_column: "--file-column"}):
        file = row[file_column]
        known = first.setdefault(same_photo_key(file), row)
        if known[column] != row[column]:
            raise DataError(
                f"{path}: rows {known.number} and {row.number} are both of {file}, column "
                f"{column}: {known[column]!r} and {row[column]!r} disagree"
            )
    keys = {file: same_photo_key(file) for file in files}
    if missing := [file for file, key in keys.items() if key not in first]:
        raise DataError(
            f"{path}: column {file_column}: no row for {missing[0]}, which has an embedding "
            f"({len(missing)} such photos)"
        )
    return {file: first[key][column] for file, key in keys.items()}
