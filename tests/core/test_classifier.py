"""A loaded checkpoint: embeddings, probabilities, zero-shot scores."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels
from app.core.model import FusionError
from app.errors import OptionError, TextError
from tests.support.photos import NAMES, encoded, sample

TEXTS = ["sea", "mountain", "a bowl of fruit"]


@pytest.fixture(scope="module")
def pixels(tiny_classifier: Classifier) -> Tensor:
    """Eight crops of each of four photos: (32, 3, 64, 64) uint8."""
    crops = [
        sample(name).crop((20 * i, 10 * i, 20 * i + 300, 10 * i + 200))
        for name in NAMES
        for i in range(8)
    ]
    return torch.stack(
        [
            load_pixels(encoded(crop, "JPEG"), ImageLimits(), tiny_classifier.preprocess).values
            for crop in crops
        ]
    )


@pytest.fixture(scope="module")
def image_embeddings(tiny_classifier: Classifier, pixels: Tensor) -> Tensor:
    return tiny_classifier.embed_images(pixels)


def assert_unit_rows(rows: Tensor, count: int) -> None:
    assert (rows.shape, rows.dtype) == ((count, 32), torch.float32)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(count))


def test_image_embeddings_are_unit_rows(image_embeddings: Tensor) -> None:
    assert_unit_rows(image_embeddings, 32)
    assert len(set(map(tuple, image_embeddings.tolist()))) == 32


def test_embedding_does_not_depend_on_batch(
    tiny_classifier: Classifier, pixels: Tensor, image_embeddings: Tensor
) -> None:
    alone = torch.cat([tiny_classifier.embed_images(photo[None]) for photo in pixels])
    torch.testing.assert_close(alone, image_embeddings, atol=1e-5, rtol=0)


def test_low_precision_keeps_probabilities(
    tiny_checkpoint: Path, tiny_classifier: Classifier, pixels: Tensor, image_embeddings: Tensor
) -> None:
    fast = Classifier.load(tiny_checkpoint, device="cpu", precision="bf16")
    assert fast.placement.precision == "bf16"
    rows = fast.embed_images(pixels)
    assert_unit_rows(rows, 32)
    assert (rows * image_embeddings).sum(dim=1).min() > 0.99
    torch.testing.assert_close(fast.text_embeddings, tiny_classifier.text_embeddings)
    alone = torch.cat([fast.embed_images(photo[None]) for photo in pixels])
    torch.testing.assert_close(
        fast.score_embeddings(alone).sigmoid(),
        fast.score_embeddings(rows).sigmoid(),
        atol=0.02,
        rtol=0,
    )


def test_text_embeddings_are_in_label_set_order(
    tiny_classifier: Classifier,
) -> None:
    labels = tiny_classifier.labels
    assert_unit_rows(tiny_classifier.text_embeddings, 120)
    for column in (0, 57, 119):
        row = tiny_classifier.embed_texts([labels.prompts[column]])[0]
        torch.testing.assert_close(tiny_classifier.text_embeddings[column], row)


def test_text_embeddings_are_in_given_order(tiny_classifier: Classifier) -> None:
    rows = tiny_classifier.embed_texts(TEXTS)
    assert_unit_rows(rows, 3)
    torch.testing.assert_close(tiny_classifier.embed_texts(TEXTS[::-1]), rows.flip(0))


def test_more_texts_than_one_batch_are_embedded(tiny_classifier: Classifier) -> None:
    texts = [f"room {i}" for i in range(300)]
    rows = tiny_classifier.embed_texts(texts)
    assert_unit_rows(rows, 300)
    torch.testing.assert_close(tiny_classifier.embed_texts([texts[299]])[0], rows[299])


def test_probabilities_are_tempered_sigmoid_of_label_texts(
    tiny_classifier: Classifier, image_embeddings: Tensor
) -> None:
    found = tiny_classifier.score_embeddings(image_embeddings).sigmoid()
    cosine = image_embeddings.double() @ tiny_classifier.text_embeddings.double().T
    temperature = torch.tensor(-tiny_classifier.logit_scale).double().exp()
    assert found.shape == (32, 120)
    wanted = 1 / (1 + (-cosine / temperature).exp())
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=0)


def test_zero_shot_with_label_prompts_equals_label_scores(
    tiny_classifier: Classifier, image_embeddings: Tensor
) -> None:
    texts = tiny_classifier.embed_texts(tiny_classifier.labels.prompts)
    torch.testing.assert_close(
        tiny_classifier.zero_shot(image_embeddings, texts, "sigmoid"),
        tiny_classifier.score_embeddings(image_embeddings),
        atol=1e-5,
        rtol=1e-5,
    )


def test_zero_shot_softmax_sums_to_one(
    tiny_classifier: Classifier, image_embeddings: Tensor
) -> None:
    texts = tiny_classifier.embed_texts(TEXTS)
    found = tiny_classifier.zero_shot(image_embeddings, texts, "softmax").sigmoid()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(32))
    only = tiny_classifier.zero_shot(image_embeddings, texts[:1], "softmax").sigmoid()
    torch.testing.assert_close(only, torch.ones(32, 1))


def test_zero_shot_pair_compares_each_text_with_background(
    tiny_classifier: Classifier, image_embeddings: Tensor
) -> None:
    texts = tiny_classifier.embed_texts([*TEXTS, "a photo"])
    found = tiny_classifier.zero_shot(image_embeddings, texts, "pair")
    for column in range(3):
        two = tiny_classifier.zero_shot(image_embeddings, texts[[column, 3]], "softmax")
        torch.testing.assert_close(found[:, column], two[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[:, 3], torch.zeros(32), atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00", "&nbsp;"])
def test_text_without_word_raises(tiny_classifier: Classifier, text: str) -> None:
    with pytest.raises(TextError, match="a text is empty; write a word"):
        tiny_classifier.embed_texts(["sea", text])


def test_text_longer_than_context_raises(
    tiny_classifier: Classifier,
) -> None:
    tiny_classifier.embed_texts(["sea " * 30])
    with pytest.raises(TextError, match=r"'sea sea .*…' has 31 tokens; .* reads at most 30"):
        tiny_classifier.embed_texts(["sea " * 31])


@pytest.mark.parametrize("text", ["x" * 1_000_000, "sea" + " " * 1_000_000])
def test_very_long_text_raises_before_tokenization(tiny_classifier: Classifier, text: str) -> None:
    with pytest.raises(TextError, match="characters; this checkpoint reads at most 30 tokens"):
        tiny_classifier.embed_texts([text])


@pytest.mark.parametrize(
    "text", ["sea <end_of_text> and mountains", "<START_OF_TEXT>", "&lt;end_of_text&gt; sea"]
)
def test_special_tokens_raise(tiny_classifier: Classifier, text: str) -> None:
    with pytest.raises(TextError, match="<start_of_text> or <end_of_text>"):
        tiny_classifier.embed_texts([text])


@pytest.mark.parametrize("text", ["Schwimmbad & Café", "プール", "🏊", "\ud800", "\u200b"])
def test_any_script_is_embedded(tiny_classifier: Classifier, text: str) -> None:
    assert_unit_rows(tiny_classifier.embed_texts([text]), 1)


def test_unsupported_precision_raises(tiny_checkpoint: Path) -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU"):
        Classifier.load(tiny_checkpoint, device="cpu", precision="fp16")


def test_failed_fusion_is_logged_and_reported(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: nn.Module) -> int:
        raise FusionError("the image tower cannot be traced: control flow")

    monkeypatch.setattr("app.core.classifier.fuse_batch_norms", fail)
    classifier = Classifier.load(tiny_checkpoint, device="cpu", precision="fp32")
    assert not classifier.fused
    assert "cannot be traced: control flow" in caplog.text


def test_tower_without_fusible_layers_counts_as_fused(tiny_classifier: Classifier) -> None:
    assert tiny_classifier.fused
