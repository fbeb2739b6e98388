"""Reads the properties of an archive's photos from a table."""

from collections.abc import Sequence
from pathlib import Path

from app.dataset.manifest import TableRow, read_table, same_photo_key
from app.errors import DataError


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
