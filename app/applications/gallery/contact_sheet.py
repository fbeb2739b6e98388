"""A contact sheet of a gallery: a self-contained HTML page, the listing before and after."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from app.applications.gallery.gallery import Choice, Gallery, LeftOut
from app.core.files import atomic_file

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gallery</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; color: #222; background: #fff; margin: 1.5rem; }}
h2 {{ margin: 1.5rem 0 .5rem; font-size: 1.1rem; }}
section {{ display: grid; gap: 1rem; align-items: start; }}
#after {{ grid-template-columns: repeat(auto-fill, minmax(224px, 1fr)); }}
#before {{ grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }}
figure {{ margin: 0; padding: .5rem; border: 1px solid #ccc; overflow-wrap: anywhere; }}
figure.chosen {{ border: 2px solid #17692f; }}
img {{ display: block; max-width: 100%; margin-bottom: .3rem; }}
figcaption b {{ display: block; }}
figcaption small {{ color: #595959; }}
</style>
</head>
<body>
<h1>Gallery</h1>
<p>{summary}</p>
<h2>After: the chosen photos, in order</h2>
<section id="after">
{after}
</section>
<h2>Before: all photos, in their order</h2>
<section id="before">
{before}
</section>
</body>
</html>
"""


def write_contact_sheet(
    path: Path, gallery: Gallery, ids: Sequence[str], thumbnails: Sequence[str]
) -> None:
    """Write the contact sheet. The same gallery gives the same bytes.

    Args:
        path: the HTML file; an existing one is replaced.
        gallery: of N photos.
        ids: of the N photos.
        thumbnails: of the N photos, as URLs.

    Raises:
        DiskError: the file cannot be written; an existing one is unchanged.
    """
    after = [
        _figure(
            thumbnails[choice.photo],
            f"{place}. {ids[choice.photo]}",
            [choice.reason, _gain(choice)],
            chosen=True,
        )
        for place, choice in enumerate(gallery.choices, 1)
    ]
    captions = {
        choice.photo: f"chosen as {place}" for place, choice in enumerate(gallery.choices, 1)
    } | {each.photo: _left_out(each, ids) for each in gallery.left_out}
    chosen = {choice.photo for choice in gallery.choices}
    before = [
        _figure(thumbnails[photo], id, [captions[photo]], chosen=photo in chosen)
        for photo, id in enumerate(ids)
    ]
    summary = f"{len(after)} of {len(before)} photos; gallery.json has all measures."
    page = PAGE.format(summary=summary, after="\n".join(after), before="\n".join(before))
    with atomic_file(path) as file:
        file.write(page.encode(errors="replace"))


def _figure(url: str, title: str, lines: Sequence[str], *, chosen: bool) -> str:
    kind = ' class="chosen"' if chosen else ""
    text = "<br>".join(f"<small>{escape(line)}</small>" for line in lines)
    return (
        f'<figure{kind}>\n<img src="{url}" alt="">\n'
        f"<figcaption><b>{escape(title)}</b>{text}</figcaption>\n</figure>"
    )


def _gain(choice: Choice) -> str:
    gain = choice.gain
    return (
        f"gain {gain.total:.3f}: coverage {gain.coverage:.3f}, variety {gain.variety:.3f}, "
        f"quality {gain.quality:.3f}"
    )


def _left_out(each: LeftOut, ids: Sequence[str]) -> str:
    return (
        f"{each.message} to {ids[each.duplicate_of]}"
        if each.duplicate_of is not None
        else (each.message)
    )
