"""Calibrated scores of arbitrary texts: a text that fits nothing stays low on every photo.

The cosines of a text with photos have a mean and a deviation of their own, and so have those of a
photo with texts. Therefore one temperature does not serve all texts. Symmetric normalisation, from
speaker verification (Shum et al. 2010), measures a cosine in deviations from both means: of the
text with background photos, and of the photo with background texts. The mean and the covariance of
the background embeddings suffice for that. A global scale and offset make it log odds (Platt 1999).
"""

from dataclasses import dataclass

from torch import Tensor

MIN_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The mean and the covariance of background embeddings.

    Attributes:
        mean: (D,) float32.
        covariance: (D, D) float32.
    """

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ZeroShotCalibration:
    """The calibration of the scores of arbitrary texts, for one pair of towers.

    Attributes:
        photos: the moments of the unit embeddings of background photos.
        texts: the moments of the unit embeddings of background texts.
        scale: of the normalised cosine, above 0.
        offset: log odds where the normalised cosine is 0.
    """

    photos: Moments
    texts: Moments
    scale: float
    offset: float


def moments(embeddings: Tensor) -> Moments:
    """Compute the moments of (N, D) float32 embeddings, at least two."""
    return Moments(embeddings.mean(dim=0), embeddings.T.cov())


def normalized_cosines(
    image_embeddings: Tensor, text_embeddings: Tensor, photos: Moments, texts: Moments
) -> Tensor:
    """Measure cosines in deviations from the means of the text and of the photo, averaged.

    Args:
        image_embeddings: (B, D) float32 unit rows.
        text_embeddings: (N, D) float32 unit rows.
        photos: of background photos.
        texts: of background texts.

    Returns:
        (B, N) float32.
    """
    cosine = image_embeddings @ text_embeddings.T
    by_text = _standardized(cosine.T, text_embeddings, photos).T
    by_photo = _standardized(cosine, image_embeddings, texts)
    return (by_text + by_photo) / 2


def calibrated_zero_shot_logits(
    image_embeddings: Tensor, text_embeddings: Tensor, calibration: ZeroShotCalibration
) -> Tensor:
    """Compute the calibrated log odds that each text fits each photo.

    Args:
        image_embeddings: (B, D) float32 unit rows.
        text_embeddings: (N, D) float32 unit rows.
        calibration: of the towers that computed the embeddings.

    Returns:
        (B, N) float32. Their order may differ from that of the cosines, both over the texts of a
        photo and over the photos of a text.
    """
    normalized = normalized_cosines(
        image_embeddings, text_embeddings, calibration.photos, calibration.texts
    )
    return calibration.scale * normalized + calibration.offset


def _standardized(cosine: Tensor, rows: Tensor, background: Moments) -> Tensor:
    """Standardise the (R, C) cosines of R embeddings by their cosines with a background."""
    mean = rows @ background.mean
    variance = (rows @ background.covariance * rows).sum(dim=-1)
    deviation = variance.clamp(min=MIN_DEVIATION**2).sqrt()
    return (cosine - mean[:, None]) / deviation[:, None]
