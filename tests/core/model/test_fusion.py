"""Towers are rewritten for serving, and nothing that they compute changes."""

import threading

import pytest
import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from app.core.model import fuse_activations, fuse_batch_norms

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def norms(tower: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in tower.modules() if isinstance(module, nn.BatchNorm2d)]


def as_if_trained(tower: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for norm in norms(tower):
        for values in (norm.running_mean, norm.bias):
            if values is not None:
                values.data.normal_()
        for values in (norm.running_var, norm.weight):
            if values is not None:
                values.data.uniform_(0.5, 2)
    return tower.eval()


@torch.inference_mode()
def assert_same_after_fusing(tower: nn.Module, left: int) -> None:
    before = tower(IMAGES)
    there = len(norms(tower))
    assert fuse_batch_norms(tower) == there - left
    assert len(norms(tower)) == left
    torch.testing.assert_close(tower(IMAGES), before, rtol=1e-4, atol=1e-4 * before.abs().max())


@pytest.mark.parametrize("name", ["resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_every_batch_norm_of_a_convolutional_tower_is_folded(name: str) -> None:
    assert_same_after_fusing(as_if_trained(timm.create_model(name)), left=0)


class Shared(nn.Module):
    """One convolution that a batch norm and something else read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), BatchNormAct2d(4)

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        result: Tensor = self.norm(out) + out
        return result


class Twice(nn.Module):
    """One convolution called twice, before two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.norms[0](self.conv(images)) + self.norms[1](self.conv(images + 1))
        return result


class First(nn.Module):
    """A batch norm of the images themselves, and one without statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
        self.of_batch = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.of_batch(self.conv(self.norm(images)))
        return result


class Wayward(nn.Module):
    """A tower whose way depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(images))
        return out if images.mean() > 0 else -out


@pytest.mark.parametrize(
    ("tower", "left"), [(Shared(), 1), (Twice(), 2), (First(), 2), (Wayward(), 1)]
)
def test_what_cannot_be_folded_stays(tower: nn.Module, left: int) -> None:
    assert_same_after_fusing(as_if_trained(tower), left)


def test_a_tower_without_batch_norms_is_left_alone() -> None:
    tower = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    assert_same_after_fusing(tower, left=0)


@pytest.mark.parametrize(
    ("name", "fused"),
    [("resnet10t", 7), ("tf_efficientnet_lite0", 33), ("mobilenetv3_small_050", 33)],
)
@torch.inference_mode()
def test_activations_after_a_convolution_cost_no_pass_of_their_own(name: str, fused: int) -> None:
    tower = as_if_trained(timm.create_model(name))
    fuse_batch_norms(tower)
    before = tower(IMAGES)
    assert fuse_activations(tower) == fused
    torch.testing.assert_close(tower(IMAGES), before, rtol=1e-4, atol=1e-4 * before.abs().max())


class Skipped(nn.Module):
    """A convolution whose output is read before its activation too; another that wraps around."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.around = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.last = nn.ReLU6()

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        result: Tensor = self.last(self.around(self.act(out) + out))
        return result


@pytest.mark.parametrize("tower", [Skipped(), Wayward()])
@torch.inference_mode()
def test_other_activations_stay(tower: nn.Module) -> None:
    before = tower.eval()(IMAGES)
    assert fuse_activations(tower) == 0
    assert torch.equal(tower(IMAGES), before)


class Beside(nn.Module):
    """A tower that lets another one compute in a thread of its own while it is traced."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.found: list[Tensor] = []
        self.compute = torch.inference_mode()(lambda: self.found.append(other(IMAGES)))

    def forward(self, images: Tensor) -> Tensor:
        thread = threading.Thread(target=self.compute)
        thread.start()
        thread.join()
        result: Tensor = self.norm(self.conv(images))
        return result


@torch.inference_mode()
def test_another_tower_computes_while_one_is_fused() -> None:
    other = as_if_trained(timm.create_model("resnet10t"))
    tower = Beside(other).eval()
    assert fuse_batch_norms(tower) == 1
    (found,) = tower.found
    assert torch.equal(found, other(IMAGES))
