"""The plot of `mumic prompts`: the AP gap between description and name per label (figure 6)."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from app.errors import DiskError
from app.evaluation.prompts.choice import PromptChoice

BAR_HEIGHT_IN = 0.22
COLOURS = {"changed": "tab:blue", "kept": "tab:gray"}


def plot_prompt_gaps(choices: Sequence[PromptChoice], path: Path) -> None:
    """Draw the gap and interval of each measured label, the largest gap on top.

    Args:
        choices: the choices for the labels.
        path: the image file; its suffix gives the format.

    Raises:
        DiskError: the file cannot be written.
    """
    measured = sorted((c for c in choices if c.is_measured), key=lambda choice: choice.gap)
    figure = Figure(figsize=(8, 1.5 + BAR_HEIGHT_IN * len(measured)), layout="constrained")
    axes = figure.subplots()
    for row, choice in enumerate(measured):
        colour = COLOURS[choice.reason.partition(":")[0]]
        axes.barh(row, choice.gap, color=colour)
        axes.plot([choice.low, choice.high], [row, row], color="black", linewidth=1)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set_yticks(range(len(measured)), [f"{c.id} ({c.positives})" for c in measured])
    axes.set_xlabel("AP by description minus AP by name (interval; blue: changed)")
    axes.set_ylabel("label (known positives)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise DiskError(f"{path}: the plot cannot be written: {error}") from error
