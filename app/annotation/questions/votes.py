"""Votes: of the people who were asked whether a photo has a label, how many said yes."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.dataset.manifest import TableRow, check_name_known, photo_file, read_table
from app.errors import DataError

VOTE_COLUMNS = ("file", "label", "votes", "annotators")


@dataclass(frozen=True, slots=True)
class VoteTally:
    """One photo and label.

    Attributes:
        file: the photo, relative to the photo folder.
        label: what was asked for.
        votes: how many said yes, at most `annotators`.
        annotators: how many were asked, at least 1.
    """

    file: str
    label: str
    votes: int
    annotators: int

    @property
    def agreement(self) -> float:
        """The share of yes, in [0, 1]."""
        return self.votes / self.annotators


def read_votes(path: Path, photos: Path, names: Collection[str]) -> list[VoteTally]:
    """Read votes from a table, CSV or Parquet.

    Args:
        path: with the columns `file`, `label`, `votes` and `annotators`, a row for each photo and
            label that was asked.
        photos: the folder that the column `file` is relative to.
        names: the labels that may be voted on.

    Returns:
        One tally for each photo and label, in the file's order.

    Raises:
        DataError: naming file, row and column: a photo is missing, a label unknown, a count no
            whole number, more votes than annotators, two rows of one photo and label disagree, or
            there is no row.
    """
    rows: dict[tuple[str, str], tuple[int, VoteTally]] = {}
    for row in read_table(path, VOTE_COLUMNS):
        file = photo_file(row, photos)
        check_name_known(row["label"], row.location("label"), names)
        tally = VoteTally(file, row["label"], _count(row, "votes"), _count(row, "annotators"))
        if tally.annotators == 0:
            raise DataError(f"{row.location('annotators')}: is 0; leave out what nobody was asked")
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
        raise DataError(f"{path}: holds no vote; a row is a photo, a label and its votes")
    return [tally for _, tally in rows.values()]


def _count(row: TableRow, column: str) -> int:
    text = row[column].strip()
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{row.location(column)}: {text!r} should be a whole number, 0 or more")
    return int(text)
