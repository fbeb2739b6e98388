"""`mumic duplicates`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import escape_unencodable, write_document


def duplicates_command(
    index: Annotated[Path, typer.Argument(help="directory of an index made by mumic index")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """List the groups of near-duplicates in an index.

    Prints a line per photo: the number of its group, its similarity to the photo that stands for
    the group, its size and its id. The photo with the most pixels stands for its group.
    """
    from app.index import IndexReader
    from app.serving.observability import CONTROLS

    photos = IndexReader(index).read()
    groups = photos.duplicates()
    if as_json:
        document = {
            "photos": len(photos.ids),
            "duplicates": [
                {
                    "best": photos.ids[group.best],
                    "others": [
                        {"id": photos.ids[other], "similarity": round(similarity, 3)}
                        for other, similarity in zip(group.others, group.similarities, strict=True)
                    ],
                }
                for group in groups
            ],
        }
        write_document(document)
        return
    escape_unencodable()
    for number, group in enumerate(groups, 1):
        members = zip((group.best, *group.others), (1.0, *group.similarities), strict=True)
        for photo, similarity in members:
            size = f"{photos.widths[photo]}x{photos.heights[photo]}"
            id = photos.ids[photo].translate(CONTROLS)
            sys.stdout.write(f"{number}\t{similarity:.3f}\t{size}\t{id}\n")
