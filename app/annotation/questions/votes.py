"""Votes: how many annotators confirmed that a photo has a label."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.dataset.manifest import PhotoFolder, TableRow, check_name_known, normal_name, read_table
from app.errors import DataError

VOTE_COLUMNS = ("file", "label", "votes", "annotators")


@dataclass(frozen=True, slots=True)
class VoteTally:
    """The votes on one label of one photo.

    Attributes:
        file: the photo, relative to the photo folder.
        label: the label.
        votes: number of annotators who voted yes, at most `annotators`.
        annotators: number of annotators who voted, at least 1.
    """

    file: str
    label: str
    votes: int
    annotators: int

    @property
    def agreement(self) -> float:
        """The share of yes votes, in [0, 1]."""
        return self.votes / self.annotators


def read_votes(path: Path, photos: Path, names: Collection[str]) -> list[VoteTally]:
    """Read votes from a table, CSV or Parquet.

    Args:
        path: a table with the columns `file`, `label`, `votes` and `annotators`, and one row per
            photo and label.
        photos: the folder that the column `file` is relative to.
        names: the labels that may be voted on.

    Returns:
        One tally per photo and label, in the file's order.

    Raises:
        DataError: a photo is missing, a label is unknown, a count is not a whole number, there are
            more votes than annotators, two rows of one photo and label disagree, or the table is
            empty. The message names file, row and column.
    """
    rows: dict[tuple[str, str], tuple[int, VoteTally]] = {}
    folder = PhotoFolder(photos)
    for row in read_table(path, VOTE_COLUMNS):
        file = folder.find(row["file"], row.location("file"))
        label = normal_name(row["label"])
        check_name_known(label, row.location("label"), names)
        tally = VoteTally(file, label, _count(row, "votes"), _count(row, "annotators"))
        if tally.annotators == 0:
            raise DataError(f"{row.location('annotators')}: is 0; delete rows without votes")
        if tally.votes > tally.annotators:
            raise DataError(
                f"{row.location('votes')}: {tally.votes} votes of {tally.annotators} annotators"
            )
        first_row, first = rows.setdefault((file, tally.label), (row.number, tally))
        if first != tally:
            raise DataError(
                f"{path}: rows {first_row} and {row.number} are both of {file} and {tally.label}, "
                "columns votes and annotators: disagree; add them up"
            )
    if not rows:
        raise DataError(f"{path}: is empty; a row is a photo, a label and its votes")
    return [tally for _, tally in rows.values()]


def _count(row: TableRow, column: str) -> int:
    text = row[column].strip().removesuffix(".0")  # pandas writes counts as 4.0 if one is missing
    if not (text.isascii() and text.isdigit()):
        raise DataError(
            f"{row.location(column)}: {row[column]!r} should be a whole number, 0 or more"
        )
    return int(text)
