"""The plot of `mumic tune`: macro mAP by initial logit_scale (as table 3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from app.training.tuning.search import TrialResult

MIN_TRIALS_FOR_CURVE = 4


def plot_trials(results: Sequence[TrialResult], path: Path) -> None:
    """Plot the trials, numbered in their order, and a Gaussian process fitted to them.

    Args:
        results: finished trials, at least one.
        path: the image file; its suffix selects the format.
    """
    scales = np.array([result.initial_logit_scale for result in results])
    macro_maps = np.array([result.macro_map for result in results])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    if len(results) >= MIN_TRIALS_FOR_CURVE and macro_maps.std() > 0:
        at = np.linspace(scales.min(), scales.max(), 200)
        mean, deviation = _curve(scales, macro_maps, at)
        axes.plot(at, mean, color="tab:gray", label="Gaussian process")
        axes.fill_between(at, mean - deviation, mean + deviation, color="tab:gray", alpha=0.2)
    axes.scatter(scales, macro_maps, color="tab:blue", label="trial")
    for result in results:
        axes.annotate(
            str(result.number),
            (result.initial_logit_scale, result.macro_map),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize="small",
        )
    best = int(np.argmax(macro_maps))
    axes.scatter(scales[best], macro_maps[best], color="tab:red", zorder=3, label="best")
    axes.set_xlabel("initial logit_scale")
    axes.set_ylabel("macro mAP on validation")
    axes.legend()
    figure.savefig(path, dpi=150)


def _curve(
    scales: np.ndarray, macro_maps: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a Gaussian process with the kernel of the search."""
    kernel = ConstantKernel() * Matern(nu=2.5, length_scale_bounds=(0.1, 10)) + WhiteKernel(1e-2)
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    process.fit(scales[:, None], macro_maps)
    mean, deviation = process.predict(at[:, None], return_std=True)
    return mean, deviation
