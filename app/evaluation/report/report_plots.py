"""Selects the plots of a report and writes their captions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics import Measures, ScoredClass
from app.evaluation.predictions import Predictions
from app.evaluation.report.embedding_map import category_of_photos, plot_embedding_map
from app.evaluation.report.evaluation_report import Plot
from app.evaluation.report.plots import (
    figure_to_png,
    plot_average_precision,
    plot_logit_scale,
    plot_one_photo,
    plot_reliability,
)
from app.evaluation.report.training_log import LogitScales


def draw_report_plots(
    measures: Mapping[str, Measures],
    predictions: Mapping[str, Predictions],
    targets: NDArray[np.floating],
    classes: Sequence[ScoredClass],
    *,
    paths: Sequence[Path],
    example: int,
    logit_scales: LogitScales | None,
) -> Iterator[Plot]:
    """Draw the plots of a report, in its order.

    Args:
        measures: title to metrics of one or two checkpoints; the first has a class with AP.
        predictions: title to predictions of the same checkpoints.
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        classes: the classes of the C columns.
        paths: N photos.
        example: position of the photo whose scores are shown.
        logit_scales: logit_scale over the training run, if known.

    Yields:
        The plots; the embedding map only if there are enough photos.
    """
    with mpl.rc_context({"text.parse_math": False}):  # a $ in a label's name is not TeX
        yield Plot(
            "average_precision",
            "Average precision per class",
            "A dot is the AP of a class, its line the interval; in brackets the positives in this "
            "split. The dotted line is macro mAP.",
            figure_to_png(plot_average_precision(measures)),
        )
        yield Plot(
            "reliability",
            "Calibration",
            "Left: the share of positives among known pairs with about the same predicted "
            "probability; the dashed line is perfect calibration. Right: the number of pairs "
            "per bin.",
            figure_to_png(plot_reliability(measures)),
        )
        scores = {title: each.label_logits[example] for title, each in predictions.items()}
        label_sets = [each.checkpoint.labels for each in predictions.values()]
        yield Plot(
            "one_photo",
            "Scores of one photo",
            f"{paths[example]}, scored by the checkpoint's own labels. Blue bars reach their "
            "`serve` threshold and would be in a response; a label without one is not served by "
            "default. A backfill keeps labels that reach `store`.",
            figure_to_png(plot_one_photo(paths[example], scores, label_sets)),
        )
        if logit_scales is not None:
            yield Plot(
                "logit_scale",
                "logit_scale in training",
                f"ln(1 / temperature) over the optimizer steps of {logit_scales.log}.",
                figure_to_png(plot_logit_scale(logit_scales.steps, logit_scales.values)),
            )
        embeddings = {title: each.image_embeddings for title, each in predictions.items()}
        figure = plot_embedding_map(embeddings, category_of_photos(targets, classes))
        if figure is not None:
            yield Plot(
                "embeddings",
                "Image embeddings",
                "t-SNE of the image embeddings. Each dot is a photo, coloured by the category of "
                "its least frequent positive class. Only neighbourhoods are meaningful, not the "
                "axes or the distances between groups.",
                figure_to_png(figure),
            )
