"""A map of image embeddings, coloured by category (figures 7 and 8)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from app.evaluation.metrics import ScoredClass

# The colour-blind safe palette of Okabe and Ito; each category also has a marker shape.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#B8A900",
)  # fmt: skip
MARKERS = "o^sDvPX*"
MIN_PHOTOS = 5
MAX_PHOTOS = 3000
WIDTH_INCHES = 12.0
PERPLEXITY = 30.0


def category_of_photos(
    targets: NDArray[np.floating], classes: Sequence[ScoredClass]
) -> list[str | None]:
    """The category of each photo's least frequent positive class (section 5.4).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        classes: the classes of the C columns.

    Returns:
        N categories; None for a photo without a known positive.
    """
    found: list[str | None] = []
    for row in targets:
        positive = [each for each, value in zip(classes, row, strict=True) if value == 1]
        rarest = min(positive, key=lambda each: each.positives, default=None)
        found.append(rarest.category if rarest else None)
    return found


def plot_embedding_map(
    embeddings: Mapping[str, NDArray[np.float32]], categories: Sequence[str | None]
) -> Figure | None:
    """Plot t-SNE of one or two checkpoints' embeddings of the same photos, side by side.

    Args:
        embeddings: checkpoint title to (N, D) unit rows.
        categories: N categories; photos without one are left out.

    Returns:
        The maps with one legend, of a sample of at most `MAX_PHOTOS`; None for fewer than
        `MIN_PHOTOS`.
    """
    shown = np.array([i for i, category in enumerate(categories) if category is not None])
    if len(shown) < MIN_PHOTOS:
        return None
    if len(shown) > MAX_PHOTOS:
        shown = np.random.default_rng(0).choice(shown, MAX_PHOTOS, replace=False)
    category = np.array([categories[i] for i in shown])
    names = sorted(set(category), key=lambda name: -np.count_nonzero(category == name))
    figure = Figure(figsize=(WIDTH_INCHES, 6.8), layout="constrained")
    for axes, (title, rows) in zip(
        figure.subplots(1, len(embeddings), squeeze=False)[0], embeddings.items(), strict=True
    ):
        places = _tsne(rows[shown])
        for i, name in enumerate(names):
            at = places[category == name]
            axes.scatter(
                *at.T,
                s=16,
                color=PALETTE[i % len(PALETTE)],
                marker=MARKERS[(i + i // len(PALETTE)) % len(MARKERS)],
                linewidths=0,
                alpha=0.75,
                label=f"{name} ({len(at)})",
            )
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        markerscale=1.8,
    )
    return figure


def _tsne(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, 2) positions; the seed is fixed."""
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    places: NDArray[np.float64] = TSNE(perplexity=perplexity, random_state=0).fit_transform(
        embeddings
    )
    return places
