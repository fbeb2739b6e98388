"""Writes a contact sheet of suspects: a self-contained HTML page with small copies of photos."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from app.core.files import atomic_file
from app.core.images import thumbnail_url
from app.evaluation.suspects.suspects import Suspect

SIDE_PX = 224  # longer side of a copy
HEADINGS = {
    "label": "likely wrong label",
    "duplicate": "in two splits",
    "no_label": "no label fits",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Suspects</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; color: #222; margin: 1.5rem; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1rem; }}
figure {{ margin: 0; padding: .5rem; border: 1px solid #ccc; overflow-wrap: anywhere; }}
img {{ max-width: 100%; max-height: 224px; }}
figcaption b {{ display: block; }}
figcaption small {{ color: #666; }}
</style>
</head>
<body>
<h1>Suspects</h1>
<p>{count}</p>
<main>
{figures}
</main>
</body>
</html>
"""


def write_contact_sheet(
    path: Path, suspects: Iterable[Suspect], photos: Path, *, total: int
) -> None:
    """Write the contact sheet.

    Args:
        path: the HTML file; an existing one is replaced.
        suspects: the suspects to show, by rank from 1.
        photos: the folder of their files; each was decoded before.
        total: number of all suspects, for the heading.

    Raises:
        DiskError: the file cannot be written; an existing one is unchanged.
    """
    figures = [_figure(rank, suspect, photos) for rank, suspect in enumerate(suspects, 1)]
    count = f"The first {len(figures)} of {total}; suspects.csv has them all."
    with atomic_file(path) as file:
        file.write(PAGE.format(count=count, figures="\n".join(figures)).encode())


def caption_lines(suspect: Suspect) -> list[str]:
    """Return what a suspect's caption says below its heading."""
    match suspect.kind:
        case "label":
            lines = [f"{suspect.label}: given as {suspect.given}"]
            if suspect.suggested:
                lines.append(f"fits: {', '.join(suspect.suggested)}")
            return lines
        case "duplicate":
            return [f"in {suspect.split} and in {', '.join(suspect.suggested)}"]
        case "no_label":
            return [f"given: {suspect.label.replace('|', ', ') or 'nothing'}"]


def _figure(rank: int, suspect: Suspect, photos: Path) -> str:
    files = [suspect.file, *([suspect.other_file] if suspect.other_file else [])]
    images = "\n".join(
        f'<img src="{thumbnail_url((photos / file).read_bytes(), SIDE_PX)}" alt="">'
        for file in files
    )
    lines = "<br>".join(map(escape, caption_lines(suspect)))
    places = "<br>".join(map(escape, files))
    return (
        f"<figure>\n{images}\n<figcaption><b>{rank}. {HEADINGS[suspect.kind]}</b>{lines}<br>\n"
        f"<small>score {suspect.score:.3f}, {suspect.split}<br>{places}</small></figcaption>\n"
        "</figure>"
    )
