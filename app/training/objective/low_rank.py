"""Low-rank adaptation of the towers (LoRA)."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from app.core.model import MumicModel

# Parameters of open_clip's modules that multiply features, but are not the weight of a layer.
_MATRICES = {"in_proj_weight", "proj", "text_projection"}


class LowRankUpdate(nn.Module):
    """Adds a trained product of two small matrices to a weight (Hu et al. 2021, LoRA, section 4.1).

    The weight becomes W + B A, with A of shape (rank, columns) and B of shape (rows, rank). B is
    zero at first, so that training starts from W. The scale alpha / rank of the paper is 1: with
    Adam, it acts like the learning rate.

    Args:
        weight: (rows, ...), float32; a convolution's kernel is used as rows of a matrix.
        rank: of the product, at least 1.
        generator: draws A, on the CPU.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        a = torch.empty(rank, columns)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        self.a = nn.Parameter(a.to(weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight, in float32 as all weights."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.b @ self.a).view_as(weight)


def adapt_low_rank(model: MumicModel, rank: int, seed: int) -> None:
    """Train the weight matrices of the towers at low rank, and freeze all other weights.

    Adapted are the weights of linear layers, of convolutions between all channels, of attention
    (query, key and value as one matrix) and the projections, as far as they would be trained.
    Frozen are embeddings, depthwise convolutions, biases and norm layers with their statistics, so
    that the result differs from the start by matrices of low rank alone. CLIP-LoRA (Zanella and Ben
    Ayed 2024) adapts the attention of both towers; a convolutional tower has none. logit_scale is
    trained as before.

    Args:
        model: its trained weights require a gradient.
        rank: of each update, at least 1.
        seed: of the initial updates.
    """
    logit_scale_is_trained = model.logit_scale.requires_grad
    matrices = list(_trained_matrices(model))
    model.requires_grad_(False)
    model.logit_scale.requires_grad_(logit_scale_is_trained)
    generator = torch.Generator().manual_seed(seed)
    for module, name in matrices:
        weight: Tensor = getattr(module, name)
        register_parametrization(module, name, LowRankUpdate(weight, rank, generator))


def merge_low_rank(model: MumicModel) -> None:
    """Replace each adapted weight by its value, a plain weight as before `adapt_low_rank`."""
    for module in list(model.modules()):
        updates = getattr(module, "parametrizations", {})
        for name in [name for name, (first, *_) in updates.items() if _is_update(first)]:
            remove_parametrizations(module, name)


def _trained_matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for module in model.modules():
        is_layer = isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d) and module.groups == 1
        )
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and (name in _MATRICES or (is_layer and name == "weight")):
                yield module, name


def _is_update(parametrization: nn.Module) -> bool:
    return isinstance(parametrization, LowRankUpdate)
