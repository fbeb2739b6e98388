"""Low-rank updates of the towers' weights: their start, their merge and what stays frozen."""

import copy
from collections.abc import Mapping

import open_clip
import pytest
import torch
from open_clip.model import CustomTextCLIP
from torch import Tensor, nn

from app.core.model import MumicModel
from app.training.objective.low_rank import LowRankUpdate, adapt_low_rank, merge_low_rank
from tests.support.tiny import tiny_model
from tests.support.training_set import CONFIG

RANK = 2


def convolutional() -> MumicModel:
    torch.manual_seed(0)
    config = {key: value for key, value in CONFIG["model_cfg"].items() if key != "custom_text"}
    clip = CustomTextCLIP(**config).eval()
    return MumicModel(clip, open_clip.SimpleTokenizer(context_length=16))


@pytest.fixture(params=["transformer", "convolutional"])
def model(request: pytest.FixtureRequest) -> MumicModel:
    return tiny_model() if request.param == "transformer" else convolutional()


@torch.no_grad()
def embeddings(model: MumicModel) -> tuple[Tensor, Tensor]:
    images = torch.rand((3, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    return model.encode_image(images), model.encode_text(model.tokenize(["cat", "a dog"]))


def weights(model: MumicModel) -> Mapping[str, Tensor]:
    return {name: weight.clone() for name, weight in model.clip.state_dict().items()}


def draw_updates(model: MumicModel) -> None:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, LowRankUpdate):
            module.b.data.normal_(std=0.1, generator=generator)


def test_adapted_model_starts_as_before(model: MumicModel) -> None:
    before = embeddings(model)
    adapt_low_rank(model, RANK, seed=0)
    torch.testing.assert_close(embeddings(model), before, rtol=0, atol=0)


def test_merged_weights_equal_adapted_model(model: MumicModel) -> None:
    before, start = embeddings(model), weights(model)
    adapt_low_rank(model, RANK, seed=0)
    draw_updates(model)
    adapted = embeddings(model)
    assert all((x - y).abs().max() > 1e-3 for x, y in zip(adapted, before, strict=True))
    merge_low_rank(model)
    torch.testing.assert_close(embeddings(model), adapted, rtol=0, atol=1e-5)
    merged = weights(model)
    assert {name: each.shape for name, each in merged.items()} == {
        name: each.shape for name, each in start.items()
    }
    changed = [name for name, each in merged.items() if not torch.equal(each, start[name])]
    assert any(name.startswith("visual") for name in changed)
    assert any(name.startswith("text") for name in changed)
    for name in changed:
        update = (merged[name] - start[name]).flatten(1)
        assert torch.linalg.matrix_rank(update, rtol=1e-3) <= RANK, name


def test_update_trains_every_matrix_and_logit_scale_only(model: MumicModel) -> None:
    adapt_low_rank(model, RANK, seed=0)
    trained = {name for name, each in model.clip.named_parameters() if each.requires_grad}
    adapted = {name.partition(".parametrizations.")[0] for name in trained}
    assert all(name == "logit_scale" or name.endswith((".0.a", ".0.b")) for name in trained)
    expected = {
        name
        for name, module in model.clip.named_modules()
        if isinstance(module, nn.Linear | nn.MultiheadAttention)
        or (isinstance(module, nn.Conv2d) and module.groups == 1)
    }
    assert expected < adapted
    assert not {"text.positional_embedding", "text.token_embedding"} & adapted


def test_frozen_tower_is_not_adapted(model: MumicModel) -> None:
    model.clip.text.requires_grad_(False)
    model.logit_scale.requires_grad_(False)
    adapt_low_rank(model, RANK, seed=0)
    trained = [name for name, each in model.clip.named_parameters() if each.requires_grad]
    assert trained
    assert all(name.startswith("visual.") for name in trained)


def test_seed_determines_updates() -> None:
    models = [tiny_model(), tiny_model(), tiny_model()]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        adapt_low_rank(model, RANK, seed)
        draw_updates(model)
    first, same, other = (embeddings(model)[0] for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_copy_of_adapted_model_is_independent(model: MumicModel) -> None:
    adapt_low_rank(model, RANK, seed=0)
    before = embeddings(model)
    draw_updates(copy.deepcopy(model))
    torch.testing.assert_close(embeddings(model), before, rtol=0, atol=0)
