"""Fits the class embedding of a new label to a few example photos.

A linear probe that starts at the text embedding, with a penalty that keeps it near: after CLAP
(Silva-Rodriguez et al. 2024, "A closer look at the few-shot adaptation of large vision-language
models"), for one label whose negatives are known photos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

MAX_ITERATIONS = 50  # of Newton's method; about 8 suffice
TOLERANCE = 1e-10  # of the squared Newton decrement
MIN_STEP = 1e-6
MIN_CURVATURE = 1e-9  # of the bias, if all scores are saturated
POSITIVE_SHARE = 0.5  # of the examples in the loss
COUNTER_SHARE = 0.25  # of the counter-examples, if there are any
PENALTY = 0.3  # docs/applications.md has the average precision of others
MIN_FOLD_EXAMPLES = 3  # to score each by a fit to others
FOLDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A linear score of image embeddings: weights * embedding + bias, the log odds of the label.

    Attributes:
        weights: (D,) float64.
        bias: a number.
    """

    weights: Tensor
    bias: float

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Score (N, D) embeddings; (N,) float64."""
        scores: Tensor = embeddings.double() @ self.weights + self.bias
        return scores

    @property
    def class_embedding(self) -> Tensor:
        """(D,) float32, the direction of the weights, unit length."""
        direction: Tensor = self.weights / self.weights.norm()
        return direction.float()


def text_probe(text_embedding: Tensor, scale: float, negatives: Tensor) -> LinearProbe:
    """Return the probe of a text alone; its score is 0 for the median negative.

    Args:
        text_embedding: (D,) float32, unit length.
        scale: of its cosine, above 0.
        negatives: (N, D) float32 unit rows, at least one.
    """
    weights = scale * text_embedding.double()
    return LinearProbe(weights, -(negatives.double() @ weights).median().item())


def fit_probe(
    start: LinearProbe,
    examples: Tensor,
    negatives: Tensor,
    *,
    penalty: float,
    counter_examples: Tensor | None = None,
) -> LinearProbe:
    """Fit a probe near a start.

    Minimises the logistic loss, half of the examples and half of the negatives, plus penalty / 2
    times the squared distance of the weights from the start, in units of the length of the start.
    Counter-examples take half of the share of the negatives. The problem is convex; it is solved by
    Newton's method in float64.

    Args:
        start: of the text; returned if there is neither an example nor a counter-example.
        examples: (n, D) float32 unit rows.
        negatives: (N, D) float32 unit rows, at least one.
        penalty: above 0. The higher, the nearer the start.
        counter_examples: (m, D) float32 unit rows that do not show the label.
    """
    counters = negatives[:0] if counter_examples is None else counter_examples
    if not len(examples) and not len(counters):
        return start
    counter_share = COUNTER_SHARE if len(counters) else 0.0
    groups = (
        (examples, -1.0, POSITIVE_SHARE),
        (counters, 1.0, counter_share),
        (negatives, 1.0, 1 - POSITIVE_SHARE - counter_share),
    )
    embeddings = torch.cat([rows for rows, _, _ in groups]).double()
    signs = _repeated([(sign, len(rows)) for rows, sign, _ in groups])
    shares = _repeated([(share / max(len(rows), 1), len(rows)) for rows, _, share in groups])
    features = torch.cat([embeddings, torch.ones(len(embeddings), 1).double()], dim=1)
    ridge = torch.full((features.shape[1],), penalty / start.weights.square().sum().item())
    ridge[-1] = 0  # the bias is free
    moved = _minimise(features, signs, shares, start(embeddings), ridge.double())
    return LinearProbe(start.weights + moved[:-1], start.bias + moved[-1].item())


def _minimise(
    features: Tensor, signs: Tensor, shares: Tensor, first: Tensor, ridge: Tensor
) -> Tensor:
    """Minimise the penalised logistic loss by Newton's method with halved steps.

    Args:
        features: (N, D + 1) float64.
        signs: (N,) -1 for an example, 1 otherwise.
        shares: (N,) weights of the rows.
        first: (N,) scores before any move.
        ridge: (D + 1,) penalties of the squared moves.

    Returns:
        (D + 1,) the move of weights and bias.
    """

    def loss(move: Tensor) -> float:
        logistic = (shares * softplus(signs * (first + features @ move))).sum()
        return (logistic + ridge @ move.square() / 2).item()

    move = torch.zeros(features.shape[1], dtype=torch.float64)
    before = loss(move)
    for _ in range(MAX_ITERATIONS):
        wrong = (signs * (first + features @ move)).sigmoid()
        gradient = features.T @ (shares * signs * wrong) + ridge * move
        curvature = shares * wrong * (1 - wrong)
        hessian = (features * curvature[:, None]).T @ features + torch.diag(ridge + MIN_CURVATURE)
        step = torch.linalg.solve(hessian, gradient)
        decrease = (gradient @ step).item()
        if decrease < TOLERANCE:
            break
        size = 1.0
        while loss(move - size * step) > before - size * decrease / 4 and size > MIN_STEP:
            size /= 2
        move = move - size * step
        before = loss(move)
    return move


def out_of_fold_scores(
    start: LinearProbe, examples: Tensor, negatives: Tensor, *, penalty: float
) -> Tensor:
    """Score each example by a probe that was fitted without it.

    The scores of a fold are measured in standard deviations from the mean of the negatives, since
    probes of different examples differ in scale and bias.

    Args:
        start: of the text.
        examples: (n, D) float32 unit rows, at least two.
        negatives: (N, D) float32 unit rows.
        penalty: as for `fit_probe`.

    Returns:
        (n,) float64.
    """
    # Folds by the rank of the start's score, so that the order of the examples does not matter.
    count = min(FOLDS, len(examples))
    folds = start(examples).argsort().argsort() % count
    scores = torch.empty(len(examples), dtype=torch.float64)
    for fold in range(count):
        out = folds == fold
        probe = fit_probe(start, examples[~out], negatives, penalty=penalty)
        scores[out] = standardized(probe, examples[out], negatives)
    return scores


def standardized(probe: LinearProbe, embeddings: Tensor, negatives: Tensor) -> Tensor:
    """Return scores in standard deviations from the mean of the negatives, (n,) float64."""
    background = probe(negatives)
    return (probe(embeddings) - background.mean()) / background.std().clamp(min=1e-12)


def _repeated(values: Sequence[tuple[float, int]]) -> Tensor:
    return torch.cat([torch.full((count,), value, dtype=torch.float64) for value, count in values])
