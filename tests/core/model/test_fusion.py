"""Layer fusion leaves the outputs of a tower unchanged."""

import threading
from collections.abc import Callable

import pytest
import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from app.core.model import FusionError, fuse_activations, fuse_batch_norms

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
    count = len(norms(tower))
    assert fuse_batch_norms(tower) == count - left
    assert len(norms(tower)) == left
    torch.testing.assert_close(tower(IMAGES), before, rtol=1e-4, atol=1e-4 * before.abs().max())


@pytest.mark.parametrize("name", ["resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_batch_norms_of_convolutional_towers_are_folded(name: str) -> None:
    assert_same_after_fusing(as_if_trained(timm.create_model(name)), left=0)


class Shared(nn.Module):
    """A convolution with two readers, one of them a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), BatchNormAct2d(4)

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        result: Tensor = self.norm(out) + out
        return result


class Twice(nn.Module):
    """A convolution that is called twice, with a batch norm after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.norms[0](self.conv(images)) + self.norms[1](self.conv(images + 1))
        return result


class First(nn.Module):
    """A batch norm on the input images, and one without running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
        self.of_batch = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.of_batch(self.conv(self.norm(images)))
        return result


class Untraceable(nn.Module):
    """A tower whose control flow depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(images)))
        return out if images.mean() > 0 else -out


@pytest.mark.parametrize(("tower", "left"), [(Shared(), 1), (Twice(), 2), (First(), 2)])
def test_unfoldable_batch_norms_remain(tower: nn.Module, left: int) -> None:
    assert_same_after_fusing(as_if_trained(tower), left)


def test_tower_without_batch_norms_is_unchanged() -> None:
    tower = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    assert_same_after_fusing(tower, left=0)


@pytest.mark.parametrize(
    ("name", "fused"),
    [("resnet10t", 7), ("tf_efficientnet_lite0", 33), ("mobilenetv3_small_050", 33)],
)
@torch.inference_mode()
def test_activations_after_convolutions_are_fused(name: str, fused: int) -> None:
    tower = as_if_trained(timm.create_model(name))
    fuse_batch_norms(tower)
    before = tower(IMAGES)
    assert fuse_activations(tower) == fused
    torch.testing.assert_close(tower(IMAGES), before, rtol=1e-4, atol=1e-4 * before.abs().max())


class Skipped(nn.Module):
    """A convolution with two readers, and one with circular padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.around = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.last = nn.ReLU6()

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        result: Tensor = self.last(self.around(self.act(out) + out))
        return result


@torch.inference_mode()
def test_activations_with_other_readers_remain() -> None:
    tower = Skipped().eval()
    before = tower(IMAGES)
    assert fuse_activations(tower) == 0
    assert torch.equal(tower(IMAGES), before)


@pytest.mark.parametrize("fuse", [fuse_batch_norms, fuse_activations])
@torch.inference_mode()
def test_untraceable_tower_raises_and_is_unchanged(fuse: Callable[[nn.Module], int]) -> None:
    tower = as_if_trained(Untraceable())
    before = tower(IMAGES)
    with pytest.raises(FusionError, match="cannot be traced"):
        fuse(tower)
    assert torch.equal(tower(IMAGES), before)


def test_activations_without_onednn_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(FusionError, match="oneDNN"):
        fuse_activations(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval())


def test_tower_without_fusible_layers_does_not_need_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fuse_activations(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()).eval()) == 0


class ConcurrentTower(nn.Module):
    """A tower that makes another tower compute in a second thread during the trace."""

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
def test_other_thread_computes_during_trace() -> None:
    other = as_if_trained(timm.create_model("resnet10t"))
    tower = ConcurrentTower(other).eval()
    assert fuse_batch_norms(tower) == 1
    (found,) = tower.found
    assert torch.equal(found, other(IMAGES))
