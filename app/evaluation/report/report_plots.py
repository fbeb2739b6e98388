"""Which plots a report shows, and what is said of each."""

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
    as_png,
    plot_average_precision,
    plot_logit_scale,
    plot_one_photo,
    plot_reliability,
)
from app.evaluation.report.training_log import LogitScales


def draw_plots(
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
        measures: one or two checkpoints' numbers by their titles; the first has a class with AP.
        predictions: what they rest on, by the same titles.
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        classes: what the C columns are.
        paths: N photos.
        example: position of the photo whose scores are shown.
        logit_scales: of the training run, if they are known.

    Yields:
        The plots. A map of embeddings is left out where there are too few photos for one.
    """
    with mpl.rc_context({"text.parse_math": False}):  # a $ in a label's name is a dollar
        yield Plot(
            "average_precision",
            "Average precision per class",
            "A dot is a class's AP, its line the interval; in brackets the positives in this "
            "part. The dotted line is macro mAP.",
            as_png(plot_average_precision(measures)),
        )
        yield Plot(
            "reliability",
            "Calibration",
            "Left: of all known pairs that were given about the same probability, the share "
            "that is positive. On the dashed line probabilities mean what they say. Right: on "
            "how many pairs each dot rests.",
            as_png(plot_reliability(measures)),
        )
        scores = {title: each.label_probabilities[example] for title, each in predictions.items()}
        label_sets = [each.checkpoint.labels for each in predictions.values()]
        yield Plot(
            "one_photo",
            "Scores of one photo",
            f"{paths[example]}, by the checkpoint's own labels. Blue bars reach their `serve` "
            "threshold and would be answered; a backfill keeps what reaches `store`.",
            as_png(plot_one_photo(paths[example], scores, label_sets)),
        )
        if logit_scales is not None:
            yield Plot(
                "logit_scale",
                "logit_scale in training",
                f"ln(1 / temperature) over the optimizer steps of {logit_scales.log}.",
                as_png(plot_logit_scale(logit_scales.steps, logit_scales.values)),
            )
        embeddings = {title: each.image_embeddings for title, each in predictions.items()}
        figure = plot_embedding_map(embeddings, category_of_photos(targets, classes))
        if figure is not None:
            yield Plot(
                "embeddings",
                "Image embeddings",
                "t-SNE of the image embeddings, a dot a photo, coloured by the category of its "
                "least frequent positive class. Only neighbourhoods have a meaning: not the axes, "
                "and not how far apart groups lie.",
                as_png(figure),
            )
