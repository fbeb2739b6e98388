"""The fast decode path gives the same embeddings and labels as a full decode with Pillow."""

import io

import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels
from app.core.labels import make_selection
from app.settings import SHIPPED_CHECKPOINT
from tests.support.photos import NAMES, encoded, sample

MIN_COSINE = 0.999
NEAR_THRESHOLD = 0.02  # distance in probability within which decoders may select other labels


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(SHIPPED_CHECKPOINT, device="cpu", precision="fp32")


def mosaic(first: int, width: int, height: int) -> Image.Image:
    """Sample photos next to each other at their original size, which keeps real detail."""
    canvas = Image.new("RGB", (width, height))
    number = first
    for top in range(0, height, 300):
        for left in range(0, width, 450):
            canvas.paste(sample(NAMES[number % len(NAMES)]), (left, top))
            number += 1
    return canvas


@pytest.mark.parametrize("photo", range(len(NAMES)))
@pytest.mark.parametrize(
    ("width", "height", "source"),
    [(640, 480, "JPEG"), (2048, 1536, "JPEG"), (4000, 3000, "JPEG/4")],
)
@torch.inference_mode()
def test_embedding_and_labels_match_pillow(
    classifier: Classifier, photo: int, width: int, height: int, source: str
) -> None:
    image = sample(NAMES[photo]) if source == "JPEG" else mosaic(photo, width, height)
    data = encoded(image, "JPEG", quality=88, subsampling="4:2:0")
    chosen = classifier.preprocess
    pixels = load_pixels(data, ImageLimits(), chosen)
    assert pixels.source == source
    fast = classifier.embed_images(pixels.values[None])

    whole = image_transform(
        chosen.size_px,
        is_train=False,
        mean=chosen.mean,
        std=chosen.std,
        resize_mode="squash",
        interpolation=chosen.interpolation,
    )(Image.open(io.BytesIO(data)))
    slow = classifier._model.encode_image(whole[None])

    assert (fast * slow).sum().item() >= MIN_COSINE
    thresholds = torch.tensor(make_selection(classifier.labels).thresholds)
    have, want = (
        classifier.score_embeddings(rows).sigmoid()[0] - thresholds for rows in (fast, slow)
    )
    clear = want.abs() > NEAR_THRESHOLD
    assert torch.equal((have >= 0)[clear], (want >= 0)[clear])
