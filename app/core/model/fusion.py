"""Layer fusion for inference: the same function with less memory traffic.

In evaluation mode a batch norm is a scale and a shift per channel, which can be folded into the
weights of the preceding convolution. On a CPU, oneDNN can apply an activation while the outputs of
the convolution are still in registers. The data flow between layers comes from an FX trace, not
from layer names.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
# Names and parameters of activations in `mkldnn::_convolution_pointwise`.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}


class FusionError(Exception):
    """The layers of a tower cannot be fused; the tower is unchanged and works without fusion."""


def fuse_batch_norms(tower: nn.Module) -> int:
    """Fold batch norms into the preceding convolutions, in place.

    A batch norm is folded if it is the only reader of a convolution's output. Folding changes the
    rounding of the last digits; the golden inputs bound the difference.

    Args:
        tower: in evaluation mode, with its final weights.

    Returns:
        The number of folded batch norms.

    Raises:
        FusionError: the tower has batch norms, but cannot be traced.
    """
    folded = 0
    for conv, _, norm, name in _after_convolutions(tower, _NORMS):
        # Without running statistics, a batch norm depends on each batch.
        if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            _fold(conv, norm)
            rest = [norm.drop, norm.act] if isinstance(norm, BatchNormAct2d) else []
            _replace(tower, name, nn.Sequential(*rest))
            folded += 1
    return folded


def fuse_activations(tower: nn.Module) -> int:
    """Fuse activations into the preceding convolutions with oneDNN, in place.

    An activation is fused if it is the only reader of a convolution's output. The tower must stay
    on the CPU in its current precision and cannot be trained afterwards. Some fused activations
    round differently.

    Args:
        tower: in evaluation mode, on the CPU.

    Returns:
        The number of fused activations.

    Raises:
        FusionError: the tower has such activations, but cannot be traced, or oneDNN does not
            support its precision on this CPU.
    """
    candidates = list(_after_convolutions(tower, tuple(_ACTIVATIONS)))
    if candidates:
        _require_onednn(next(tower.parameters()).dtype)
    fused = 0
    for conv, conv_name, activation, name in candidates:
        if type(conv) in (nn.Conv2d, Conv2dSame) and conv.padding_mode == "zeros":
            _replace(tower, conv_name, _ActivatedConv(conv, *_ACTIVATIONS[type(activation)]))
            _replace(tower, name, nn.Identity())
            fused += 1
    return fused


def _require_onednn(dtype: torch.dtype) -> None:
    """Raise FusionError if oneDNN cannot run a fused convolution on this CPU."""
    if not torch.backends.mkldnn.is_available():
        raise FusionError("this build of torch has no oneDNN")
    conv = _ActivatedConv(nn.Conv2d(8, 8, 3).to(dtype), "relu", [])
    try:
        conv(torch.ones(1, 8, 8, 8, dtype=dtype))
    except RuntimeError as error:
        raise FusionError(f"oneDNN has no {dtype} convolution on this CPU: {error}") from error


def _after_convolutions(
    tower: nn.Module, kinds: tuple[type[nn.Module], ...]
) -> Iterator[tuple[nn.Conv2d, str, nn.Module, str]]:
    """Find modules of the given kinds that are the only reader of a convolution's output.

    Yields:
        The convolution, its name, the module and its name.

    Raises:
        FusionError: the tower has modules of these kinds, but cannot be traced.
    """
    modules = dict(tower.named_modules())
    if not any(type(module) in kinds for module in modules.values()):
        return
    try:
        graph = _Tracer().trace(tower)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        # Usually control flow that depends on the input.
        raise FusionError(f"the image tower cannot be traced: {error}") from error
    for node in graph.nodes:  # an Identity between two layers must not prevent their fusion
        if node.op == "call_module" and isinstance(modules[node.target], nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        if node.op != "call_module" or type(modules[node.target]) not in kinds:
            continue
        source = node.args[0]
        conv = modules.get(source.target) if source.op == "call_module" else None
        once = calls[node.target] == calls[source.target] == len(source.users) == 1
        if isinstance(conv, nn.Conv2d) and once:
            yield conv, source.target, modules[node.target], node.target


class _Tracer(fx.Tracer):
    """An FX tracer that affects the tracing thread only.

    FX patches methods of nn.Module in the whole process while it traces. During a reload, other
    threads compute with the served model at the same time and must get the original behaviour.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        is_fusible = isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
        return is_fusible or super().is_leaf_module(module, name)


class _ActivatedConv(nn.Module):
    """A convolution with a fused activation, by the operator that torch.compile uses."""

    def __init__(self, conv: nn.Conv2d, activation: str, scalars: list[float]) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self._stride, self._dilation = list(conv.stride), list(conv.dilation)
        self._groups, self._kernel = conv.groups, list(conv.kernel_size)
        self._pads_same = isinstance(conv, Conv2dSame)
        self._padding = [0, 0] if self._pads_same else list(conv.padding)
        self._activation, self._scalars = activation, scalars

    def forward(self, images: Tensor) -> Tensor:
        if self._pads_same:
            images = pad_same(images, self._kernel, self._stride, self._dilation)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            images,
            self.weight,
            self.bias,
            self._padding,
            self._stride,
            self._dilation,
            self._groups,
            self._activation,
            self._scalars,
            "",
        )
        return result


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )


def _replace(tower: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(tower.get_submodule(parent), attribute, module)
