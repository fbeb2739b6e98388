"""Fits the `store` thresholds: a backfill drops most pairs at almost no loss of recall (section 7).

A quantile of a label's few positives gives no guarantee for unseen photos. So the labels share one
curve from logit to log odds, with an offset per label that is shrunk towards 0, and one cut at the
same log odds for all labels. At equal odds, dropping a pair costs the same recall in each label, so
no other cut drops more pairs at this recall.
"""

import numpy as np
from numpy.typing import NDArray

from app.evaluation.label_calibration import fit_log_odds
from app.evaluation.metrics import sigmoid
from app.evaluation.thresholds.recall_bounds import allowed_misses

Floats = NDArray[np.floating]
FOLDS = 5


def store_thresholds(
    targets: Floats,
    logits: Floats,
    fitted: NDArray[np.bool_],
    recall: float,
    confidence: float,
) -> NDArray[np.float64]:
    """Return thresholds at which all labels together keep a target recall on unseen photos.

    The cut is a quantile of the log odds of positives, predicted by curves that were fitted without
    their photos (cross-fitting). It misses as many positives as the one-sided Clopper-Pearson
    bound allows at the target recall and confidence, if pairs are independent.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        logits: (N, C), finite.
        fitted: (C,) which labels have an offset of their own; at least one, each with a positive.
            The other labels get the threshold for offset 0; their misses count as well.
        recall: target recall of all known positives pooled, in (0, 1).
        confidence: in (0, 1).

    Returns:
        (C,) in [0, 1].
    """
    fold = np.random.default_rng(0).permutation(len(targets)) % FOLDS
    unseen = np.empty(targets.shape)
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        unseen[test] = fit_log_odds(targets[train], logits[train], fitted).predict(logits[test])
    positives = np.sort(unseen[targets == 1])
    cut = positives[allowed_misses(len(positives), recall, confidence)]
    cut_logits = fit_log_odds(targets, logits, fitted).logits_at(cut)
    # In float32, as the probabilities that they are compared with.
    return sigmoid(cut_logits.astype(np.float32)).astype(np.float64)
