"""Finds likely label errors by confident learning (Northcutt et al. 2021), label by label.

A label is a binary problem: present or absent, on the photos where it is known. A photo is judged
by a classifier that was fitted without it and without its near-duplicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

LOGIT_VARIANCE = 2.56  # prior of a score; C is this divided by D, 0.01 for 256 features
MAX_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class LabelThresholds:
    """The mean self-confidence of each label's photos (t_j of the paper).

    Attributes:
        present: (L,) mean probability of the photos with the label; NaN for a label that cannot be
            judged.
        absent: (L,) mean probability of absence of the photos without the label.
    """

    present: NDArray[np.float64]
    absent: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelError:
    """A label whose given value is likely wrong on a photo.

    Attributes:
        photo: position of the photo.
        label: column of the label.
        present: the given value.
        score: how far the self-confidence is below its mean over photos with the same given value,
            in (0, 1]; the higher, the more likely wrong.
    """

    photo: int
    label: int
    present: bool
    score: float


def out_of_fold_probabilities(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    groups: Sequence[int],
    *,
    folds: int,
    min_positives: int,
    seed: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """Predict each label of each photo by a logistic regression fitted on other folds.

    Args:
        features: (N, D).
        targets: (N, L); 1 present, 0 absent, -1 unknown. A label is predicted for photos where it
            is unknown too.
        groups: N groups; the photos of a group are in one fold.
        folds: number of folds, at most the number of groups.
        min_positives: a label with fewer known positives or negatives is not predicted.
        seed: seed of the folds.
        progress: shows the time left.

    Returns:
        (N, L) in [0, 1]; NaN in the columns of labels that are not predicted.
    """
    scaled = StandardScaler().fit_transform(features)
    splits = list(GroupKFold(folds, shuffle=True, random_state=seed).split(scaled, groups=groups))
    counts = np.minimum((targets == 1).sum(axis=0), (targets == 0).sum(axis=0))
    probabilities = np.full(targets.shape, np.nan)
    enough = np.flatnonzero(counts >= min_positives)
    for label in progress.track(enough, description="out-of-fold scores"):
        known = targets[:, label] >= 0
        fitted_on = [train[known[train]] for train, _ in splits]
        if any(len(np.unique(targets[rows, label])) < 2 for rows in fitted_on):
            continue  # all photos of one value are near-duplicates of each other
        for rows, (_, held_out) in zip(fitted_on, splits, strict=True):
            model = LogisticRegression(C=LOGIT_VARIANCE / scaled.shape[1], max_iter=MAX_ITERATIONS)
            model.fit(scaled[rows], targets[rows, label])
            probabilities[held_out, label] = model.predict_proba(scaled[held_out])[:, 1]
    return probabilities


def label_thresholds(
    targets: NDArray[np.float32], probabilities: NDArray[np.float64]
) -> LabelThresholds:
    """Return the mean self-confidence of the photos with and without each label.

    A label whose scores do not separate its photos from others is not judged: a photo could exceed
    both thresholds.

    Args:
        targets: (N, L); 1 present, 0 absent, -1 unknown.
        probabilities: (N, L), out of fold; NaN for labels that cannot be judged.
    """
    present = _means(probabilities, targets == 1)
    absent = _means(1 - probabilities, targets == 0)
    separated = present + absent > 1
    return LabelThresholds(
        np.where(separated, present, np.nan), np.where(separated, absent, np.nan)
    )


def find_label_errors(
    targets: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    thresholds: LabelThresholds,
) -> list[LabelError]:
    """Return the off-diagonal entries of each label's confident joint, the most likely first.

    A photo counts as having the label if its probability reaches the mean of the photos that have
    it, and as lacking it likewise. Where that contradicts the given value, the value is likely
    wrong.

    Args:
        targets: (N, L); 1 present, 0 absent, -1 unknown.
        probabilities: (N, L), out of fold.
        thresholds: of the same photos.
    """
    missing = (targets == 0) & (probabilities >= thresholds.present)
    wrong = (targets == 1) & (1 - probabilities >= thresholds.absent)
    score = np.where(
        targets == 1,
        thresholds.present - probabilities,
        thresholds.absent - (1 - probabilities),
    )
    found = [
        LabelError(int(photo), int(label), bool(wrong[photo, label]), float(score[photo, label]))
        for photo, label in np.argwhere(missing | wrong)
    ]
    return sorted(found, key=lambda error: (-error.score, error.photo, error.label))


def _means(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (L,) the mean of the chosen values of each column; NaN without any."""
    sums = np.where(chosen, values, 0).sum(axis=0)
    counts = chosen.sum(axis=0)
    means = np.full(counts.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
