"""The plots of an evaluation: each function draws one figure, without pyplot's global state.

The colours are the colour-blind safe palette of Okabe and Ito; marker shapes repeat their meaning.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from app.core.images import ImageLimits, decode
from app.core.labels import LabelSet
from app.evaluation.metrics import ClassMeasure, Measures, sigmoid

BLUE, VERMILLION, GREY, BLACK = "#0072B2", "#D55E00", "#999999", "#000000"
CHECKPOINT_STYLES = ((BLUE, "o"), (VERMILLION, "D"))
CLASSES_PER_COLUMN = 40
ROW_INCHES = 0.21
WIDTH_INCHES = 12.0
TOP_LABELS = 15
PHOTO_PX = 600
DPI = 150


def figure_to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def plot_average_precision(measures: Mapping[str, Measures]) -> Figure:
    """Plot the AP of each class with its interval, best first (figure 4 of the paper).

    Args:
        measures: title to metrics of one or two checkpoints on the same classes, at least one of
            which is measured. The first checkpoint's AP gives the order.

    Returns:
        A figure with one row per class, in columns of at most `CLASSES_PER_COLUMN`.
    """
    first = next(iter(measures.values()))
    order = [i for i, each in enumerate(first.classes) if each.is_measured]
    order.sort(key=lambda i: -first.classes[i].average_precision.value)
    columns = math.ceil(len(order) / CLASSES_PER_COLUMN)
    rows = math.ceil(len(order) / columns)
    figure = Figure(
        figsize=(max(WIDTH_INCHES, 4.4 * columns), 1.3 + ROW_INCHES * rows), layout="constrained"
    )
    for c, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        shown = order[c * rows : (c + 1) * rows]
        for k, (title, measured) in enumerate(measures.items()):
            offset = (k - (len(measures) - 1) / 2) * 0.36
            classes = [measured.classes[i] for i in shown]
            macro = measured.subsets[0].macro_map.value
            _dots_with_intervals(axes, classes, offset, k, f"{title}, macro mAP {macro:.3f}")
            axes.axvline(macro, color=CHECKPOINT_STYLES[k][0], linewidth=0.8, linestyle=":")
        names = [f"{first.classes[i].key}  ({first.classes[i].positives})" for i in shown]
        axes.set_yticks(range(len(shown)), names, fontsize=8)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_xlim(0, 1.02)
        axes.set_xlabel("average precision")
        axes.grid(axis="x", color=GREY, alpha=0.3)
        _plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    return figure


def plot_reliability(measures: Mapping[str, Measures]) -> Figure:
    """Plot the reliability diagram, and the number of pairs per bin.

    Args:
        measures: title to metrics of one or two checkpoints.

    Returns:
        A figure with the diagram on the left and the number of pairs, logarithmic, on the right.
    """
    figure = Figure(figsize=(WIDTH_INCHES, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot((0, 1), (0, 1), color=GREY, linestyle="--", linewidth=1, label="calibrated")
    for k, (title, measured) in enumerate(measures.items()):
        (colour, marker), found = CHECKPOINT_STYLES[k], measured.reliability
        filled = found.pairs > 0
        error = found.calibration_error
        left.plot(
            found.probability[filled],
            found.frequency[filled],
            color=colour,
            marker=marker,
            label=f"{title}, calibration error {error:.3f}",
        )
        width = np.diff(found.edges) / len(measures)
        starts = found.edges[:-1] + k * width
        right.bar(starts, found.pairs, width * 0.9, align="edge", color=colour)
    left.set_ylabel("share that is positive")
    left.set_ylim(-0.02, 1.02)
    left.legend(loc="upper left", frameon=False)
    right.set_yscale("log")
    right.set_ylim(bottom=0.7)  # makes the bar of a single pair visible
    right.yaxis.set_major_formatter("{x:,.0f}")
    right.set_ylabel("known pairs")
    for axes in (left, right):
        axes.set_xlabel("predicted probability")
        axes.set_xlim(-0.02, 1.02)
        axes.grid(color=GREY, alpha=0.3)
        _plain(axes)
    return figure


def plot_one_photo(
    photo: Path, logits: Mapping[str, NDArray[np.floating]], label_sets: Sequence[LabelSet]
) -> Figure:
    """Plot the scores of one photo: its best labels, and all labels sorted (figure 3).

    Args:
        photo: the file.
        logits: title to (L,) logits of the checkpoint's own labels, one or two.
        label_sets: the checkpoints' label sets.

    Returns:
        A figure with the photo, the first checkpoint's best labels with their `serve` and `store`
        thresholds, and the sorted probabilities of all labels.
    """
    figure = Figure(figsize=(WIDTH_INCHES, 4.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    upright = Image.fromarray(
        decode(photo.read_bytes(), ImageLimits(), min_side_px=PHOTO_PX).pixels
    )
    upright.thumbnail((PHOTO_PX, PHOTO_PX))
    left.imshow(np.asarray(upright))
    left.set_axis_off()
    left.set_title(photo.name, fontsize=9)
    _best_labels(middle, next(iter(logits.values())), label_sets[0])
    middle.set_title(next(iter(logits)), fontsize=9)
    for k, (title, scores) in enumerate(logits.items()):
        colour, marker = CHECKPOINT_STYLES[k]
        order, values = np.argsort(-scores, kind="stable"), sigmoid(scores)
        passed = (values >= label_sets[k].serve_thresholds)[order]
        ranks = np.arange(1, len(order) + 1)
        right.plot(ranks, values[order], color=colour, linewidth=1, label=title)
        right.plot(ranks[passed], values[order][passed], marker, color=colour, markersize=4)
    right.set_xlabel("rank of the label")
    right.set_ylabel("probability")
    right.set_ylim(-0.02, 1.02)
    right.grid(color=GREY, alpha=0.3)
    right.legend(loc="upper right", frameon=False)
    right.set_title("all labels; a marker: reaches its serve threshold", fontsize=9)
    _plain(right)
    return figure


def plot_logit_scale(steps: Sequence[float], logit_scales: Sequence[float]) -> Figure:
    """Plot logit_scale over a training run (figure 5).

    Args:
        steps: optimizer steps, ascending.
        logit_scales: ln(1 / temperature) after each step.

    Returns:
        A figure with the curve, and the temperature on a second axis.
    """
    figure = Figure(figsize=(WIDTH_INCHES, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, logit_scales, color=BLUE, marker="o" if len(steps) < 30 else "")
    axes.set_xlabel("step")
    axes.set_ylabel("logit_scale")
    axes.ticklabel_format(useOffset=False)
    axes.grid(color=GREY, alpha=0.3)
    low, high = axes.get_ylim()
    temperature = axes.twinx()
    temperature.set_ylim(low, high)
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    temperature.set_yticks(ticks, [f"{math.exp(-tick):.4f}" for tick in ticks])
    temperature.set_ylabel("temperature")
    for each in (axes, temperature):
        each.spines["top"].set_visible(False)
    return figure


def _dots_with_intervals(
    axes: Axes, classes: Sequence[ClassMeasure], offset: float, style: int, label: str
) -> None:
    values = [each.average_precision.value for each in classes]
    intervals = np.array([each.average_precision.interval for each in classes])
    starts, ends = np.where(np.isnan(intervals.T), values, intervals.T)
    rows = [i + offset for i in range(len(classes))]
    colour, marker = CHECKPOINT_STYLES[style]
    axes.hlines(rows, starts, ends, color=colour, linewidth=1.2, alpha=0.6)
    axes.plot(values, rows, marker, color=colour, markersize=4, linestyle="", label=label)


def _best_labels(axes: Axes, logits: NDArray[np.floating], label_set: LabelSet) -> None:
    order, probabilities = np.argsort(-logits, kind="stable")[:TOP_LABELS], sigmoid(logits)
    labels = [label_set.labels[i] for i in order]
    rows = range(len(order))
    serve = label_set.serve_thresholds[order]  # matplotlib draws no marker at infinity
    colours = np.where(probabilities[order] >= serve, BLUE, GREY).tolist()
    axes.barh(rows, probabilities[order], 0.7, color=colours, alpha=0.8)
    store = [label.thresholds.store for label in labels]
    axes.plot(
        serve, rows, "|", color=BLACK, markersize=12, markeredgewidth=2, label="serve threshold"
    )
    axes.plot(
        store,
        rows,
        "|",
        color=VERMILLION,
        markersize=12,
        markeredgewidth=2,
        label="store threshold",
    )
    axes.set_yticks(rows, [label.name for label in labels], fontsize=8)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    _plain(axes)


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
