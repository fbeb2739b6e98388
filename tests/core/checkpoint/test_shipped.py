"""The shipped checkpoint: size, labels and scores of sample photos."""

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels
from app.core.labels import make_selection
from app.settings import SHIPPED_CHECKPOINT
from tests.support.photos import encoded, sample

MAX_BYTES = 45 * 10**6


def logits_of(classifier: Classifier, name: str) -> Tensor:
    pixels = load_pixels(encoded(sample(name), "PNG"), ImageLimits(), classifier.preprocess)
    return classifier.score_embeddings(classifier.embed_images(pixels.values[None]))[0]


def test_shipped_checkpoint_is_small() -> None:
    weights = SHIPPED_CHECKPOINT / "open_clip_model.safetensors"
    assert weights.stat().st_size <= MAX_BYTES


def test_open_clip_loads_shipped_checkpoint() -> None:
    model = open_clip.create_model(f"local-dir:{SHIPPED_CHECKPOINT}", require_pretrained=True)
    assert model.encode_image(torch.zeros(1, 3, 288, 288)).shape == (1, 256)


def test_shipped_checkpoint_has_120_labels(shipped_classifier: Classifier) -> None:
    assert len(shipped_classifier.labels.labels) == 120
    assert len(shipped_classifier.labels.categories) == 8


@pytest.mark.parametrize(
    ("photo", "served"),
    [
        ("astronaut", {"people"}),
        ("chelsea", {"pets"}),
        ("china", {"building", "sightseeing"}),
        ("coffee", set()),
        ("rocket", set()),
    ],
)
def test_served_labels_of_sample_photos(
    shipped_classifier: Classifier, photo: str, served: set[str]
) -> None:
    select = make_selection(shipped_classifier.labels)
    selected = select(logits_of(shipped_classifier, photo))
    assert {tag.label.id for tag in selected} == served


@pytest.mark.parametrize(
    ("photo", "best"), [("flower", "flowers"), ("coffee", "food"), ("horse", "animal_not_pets")]
)
def test_best_label_of_sample_photos(shipped_classifier: Classifier, photo: str, best: str) -> None:
    logits = logits_of(shipped_classifier, photo)
    assert shipped_classifier.labels.ids[int(logits.argmax())] == best


def test_zero_shot_ranks_unseen_words(shipped_classifier: Classifier) -> None:
    pixels = load_pixels(
        encoded(sample("chelsea"), "PNG"), ImageLimits(), shipped_classifier.preprocess
    )
    image = shipped_classifier.embed_images(pixels.values[None])
    texts = ["a photo with kitten", "a photo with submarine", "a photo with bank account"]
    scores = shipped_classifier.zero_shot(image, shipped_classifier.embed_texts(texts), "softmax")
    assert scores[0].argmax() == 0


def test_batch_gives_same_scores(shipped_classifier: Classifier) -> None:
    data = [encoded(sample(name), "PNG") for name in ("chelsea", "coffee", "china", "flower")] * 2
    limits, preprocess = ImageLimits(), shipped_classifier.preprocess
    batch = torch.stack([load_pixels(item, limits, preprocess).values for item in data])
    together = shipped_classifier.score_embeddings(shipped_classifier.embed_images(batch))
    alone = torch.cat(
        [
            shipped_classifier.score_embeddings(shipped_classifier.embed_images(row[None]))
            for row in batch[:4]
        ]
    )
    np.testing.assert_allclose(together[:4].numpy(), alone.numpy(), atol=1e-3)
