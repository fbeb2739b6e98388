"""Writes the report of an evaluation as Markdown, as self-contained HTML, and as JSON."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from app.evaluation.metrics import (
    CONFIDENCE_LEVEL,
    MIN_INFORMATIVE_PHOTOS,
    Estimate,
    Measures,
)
from app.evaluation.report.tables import (
    FEW_PHOTOS_MARK,
    class_table,
    few_photos_lines,
    summary_tables,
    table_to_markdown,
    unmeasured_classes,
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
    "*lift*: (AP - p) / (1 - p), where p is the share of positives among known pairs; 0 is a "
    "random ranking, 1 a perfect one."
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the report.

    Attributes:
        name: file name without the suffix.
        title: heading.
        caption: explanation below the plot.
        png: content of the PNG file.
    """

    name: str
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The content of a report.

    Attributes:
        measures: title to metrics, for one or two checkpoints.
        manifest: the manifest with the targets.
        split: the split of the manifest that was measured.
        photos: number of photos.
        k: K of GAP@K.
        resamples: number of bootstrap draws.
        plots: plots in the order of the report.
    """

    measures: Mapping[str, Measures]
    manifest: str
    split: str
    photos: int
    k: int
    resamples: int
    plots: Sequence[Plot]


def write_evaluation_report(folder: Path, evaluation: Evaluation) -> None:
    """Write report.md with its plots, the self-contained report.html, and metrics.json.

    Args:
        folder: the output folder; existing files of these names are replaced.
        evaluation: the content.
    """
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for plot in evaluation.plots:
        (plots / f"{plot.name}.png").write_bytes(plot.png)
    files = {plot.name: f"plots/{plot.name}.png" for plot in evaluation.plots}
    (folder / "report.md").write_text(report_markdown(evaluation, files), encoding="utf-8")
    inlined = {
        plot.name: f"data:image/png;base64,{base64.b64encode(plot.png).decode()}"
        for plot in evaluation.plots
    }
    (folder / "report.html").write_text(
        report_html(report_markdown(evaluation, inlined), _title(evaluation)), encoding="utf-8"
    )
    numbers = json.dumps(report_json(evaluation), indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(numbers + "\n", encoding="utf-8")


def report_markdown(evaluation: Evaluation, images: Mapping[str, str]) -> str:
    """Return the report in Markdown.

    Args:
        evaluation: the content.
        images: plot name to the URL of its image.
    """
    measures = evaluation.measures
    everything = next(iter(measures.values())).subsets[0]
    parts = [
        f"# {_title(evaluation)}",
        f"{evaluation.photos} photos of the split {evaluation.split} of {evaluation.manifest}; "
        f"{everything.positives} positives among {everything.known} known pairs of photo and "
        "class. Unknown pairs are not counted. In brackets: "
        f"{CONFIDENCE_LEVEL:.0%} bootstrap intervals over photos, {evaluation.resamples} draws.",
        "## Summary",
    ]
    for title, table in summary_tables(measures, evaluation.k):
        parts += [f"### {title}", table_to_markdown(table)]
    parts.append(
        "*classes*: number of classes with a known positive and a known negative in this split; "
        "means are over these. *few photos*: number of these with fewer than "
        f"{MIN_INFORMATIVE_PHOTOS} positives or negatives; their figures are hardly informative. "
        f"*macro mAP*: mean AP; *weighted mAP*: weighted by positives; *GAP*: AP of all pairs in "
        f"one ranking; *GAP@{evaluation.k}*: of each photo's {evaluation.k} best known classes; "
        "*ECE*: expected calibration error, 0 is best. [-, -]: no interval, because the metric is "
        "the same on all draws. A perfect ranking is perfect on every draw of the same photos, "
        "which says nothing of other photos."
    )
    parts += ["## Classes", table_to_markdown(class_table(measures), text_columns=2)]
    if len(measures) == 1:
        parts.append(LIFT)
    measured = next(iter(measures.values()))
    for line in few_photos_lines(measured, evaluation.split):
        parts.append(f"{FEW_PHOTOS_MARK.strip()}: {line}.")
    for lacking, keys in unmeasured_classes(measured).items():
        parts.append(
            f"Classes without a known {lacking} in this split, not measured ({len(keys)}): "
            f"{', '.join(keys)}."
        )
    for plot in evaluation.plots:
        parts += [f"## {plot.title}", f"![{plot.title}]({images[plot.name]})", plot.caption]
    return "\n\n".join(parts) + "\n"


def report_html(markdown: str, title: str) -> str:
    """Render Markdown as a self-contained HTML page."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    return PAGE.format(title=escape(title), body=body)


def report_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return all numbers of the report; undefined ones are null."""
    return {
        "manifest": evaluation.manifest,
        "part": evaluation.split,
        "photos": evaluation.photos,
        "k": evaluation.k,
        "resamples": evaluation.resamples,
        "interval_level": CONFIDENCE_LEVEL,
        "checkpoints": {
            title: {
                "subsets": [_fields(each) for each in measured.subsets],
                "classes": [
                    {**_fields(each), "few_photos": each.has_few_photos}
                    for each in measured.classes
                ],
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
