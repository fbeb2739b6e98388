"""The report of an evaluation: one Markdown text, shown twice, and all numbers as JSON."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from app.evaluation.metrics import LEVEL, Estimate, Measures
from app.evaluation.report.tables import (
    as_markdown,
    class_table,
    summary_tables,
    without_positives,
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto;
  padding: 0 1.5rem; }}
h1, h2, h3 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; border-bottom: 1px solid #ccc; padding-bottom: .3rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }}
th {{ background: #f4f4f4; text-align: left; }}
tbody tr:hover {{ background: #f0f6fb; }}
img {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


LIFT = (
    "*lift*: (AP - p) / (1 - p), p being the share of positives among the known; 0 is a random "
    "order, 1 a perfect one."
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the report.

    Attributes:
        name: of its file, without the suffix.
        title: its heading.
        caption: what it shows.
        png: its bytes.
    """

    name: str
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that a report tells.

    Attributes:
        measures: one or two checkpoints by their titles.
        manifest: where the targets come from.
        part: which of its photos.
        photos: how many.
        k: K of GAP@K.
        resamples: draws of the intervals.
        plots: in the order of the report.
    """

    measures: Mapping[str, Measures]
    manifest: str
    part: str
    photos: int
    k: int
    resamples: int
    plots: Sequence[Plot]


def write_report(folder: Path, evaluation: Evaluation) -> None:
    """Write report.md with its plots, the self-contained report.html, and metrics.json.

    Args:
        folder: where they go; files of these names are replaced.
        evaluation: what they tell.
    """
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for plot in evaluation.plots:
        (plots / f"{plot.name}.png").write_bytes(plot.png)
    files = {plot.name: f"plots/{plot.name}.png" for plot in evaluation.plots}
    (folder / "report.md").write_text(as_report(evaluation, files), encoding="utf-8")
    inlined = {
        plot.name: f"data:image/png;base64,{base64.b64encode(plot.png).decode()}"
        for plot in evaluation.plots
    }
    (folder / "report.html").write_text(
        as_page(as_report(evaluation, inlined), _title(evaluation)), encoding="utf-8"
    )
    numbers = json.dumps(as_json(evaluation), indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(numbers + "\n", encoding="utf-8")


def as_report(evaluation: Evaluation, images: Mapping[str, str]) -> str:
    """The report in Markdown.

    Args:
        evaluation: what it tells.
        images: by a plot's name, where its image is.

    Returns:
        The text.
    """
    measures = evaluation.measures
    everything = next(iter(measures.values())).subsets[0]
    parts = [
        f"# {_title(evaluation)}",
        f"{evaluation.photos} photos of the part {evaluation.part} of {evaluation.manifest}; "
        f"{everything.positives} positives among {everything.known} known pairs of photo and "
        "class. Unknown pairs count in no number. In brackets: "
        f"{LEVEL:.0%} bootstrap intervals over photos, {evaluation.resamples} draws.",
        "## Summary",
    ]
    for title, table in summary_tables(measures, evaluation.k):
        parts += [f"### {title}", as_markdown(table)]
    parts.append(
        "*classes*: those with a known positive in this part; the means are over them. "
        f"*macro mAP*: mean AP; *weighted mAP*: weighted by positives; *GAP*: AP of all pairs in "
        f"one ranking; *GAP@{evaluation.k}*: of each photo's {evaluation.k} best known classes; "
        "*ECE*: expected calibration error, 0 is best."
    )
    parts += ["## Classes", as_markdown(class_table(measures), text_columns=2)]
    if len(measures) == 1:
        parts.append(LIFT)
    if missing := without_positives(next(iter(measures.values()))):
        parts.append(
            f"No known positive in this part, so not measured ({len(missing)}): "
            f"{', '.join(missing)}."
        )
    for plot in evaluation.plots:
        parts += [f"## {plot.title}", f"![{plot.title}]({images[plot.name]})", plot.caption]
    return "\n\n".join(parts) + "\n"


def as_page(markdown: str, title: str) -> str:
    """A Markdown text as a page of HTML that needs no other file."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    return PAGE.format(title=escape(title), body=body)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Every number of the report; undefined ones are null."""
    return {
        "manifest": evaluation.manifest,
        "part": evaluation.part,
        "photos": evaluation.photos,
        "k": evaluation.k,
        "resamples": evaluation.resamples,
        "interval_level": LEVEL,
        "checkpoints": {
            title: {
                "subsets": [_fields(each) for each in measured.subsets],
                "classes": [_fields(each) for each in measured.classes],
                "reliability": {
                    name: [_defined(value) for value in values.tolist()]
                    for name, values in asdict(measured.reliability).items()
                },
            }
            for title, measured in evaluation.measures.items()
        },
    }


def _fields(measure: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in measure.__slots__:
        value = getattr(measure, name)
        if isinstance(value, Estimate):
            low, high = value.interval
            found[name] = {
                "value": _defined(value.value),
                "low": _defined(low),
                "high": _defined(high),
            }
        else:
            found[name] = _defined(value) if isinstance(value, float) else value
    return found


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _title(evaluation: Evaluation) -> str:
    return f"Evaluation of {' and '.join(evaluation.measures)}"
