"""A tower rewritten for serving: the same function in fewer passes over memory.

In evaluation a batch norm is one factor and one summand a channel, which the convolution before
it can carry in its own weights. On a CPU a convolution can apply the activation after it while
its outputs are still in registers. What feeds what is read off a trace, not guessed from names.
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
# oneDNN's names of activations and their parameters, as `mkldnn::_convolution_pointwise` has them.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}


def fuse_batch_norms(tower: nn.Module) -> int:
    """Fold each batch norm whose input is one convolution's output alone, in place.

    The rounding differs in the last digits, which the golden inputs bound.

    Args:
        tower: in evaluation mode, with the weights that it will keep.

    Returns:
        How many were folded; 0 for a tower that cannot be traced.
    """
    folded = 0
    for conv, _, norm, name in _after_convolutions(tower, _NORMS):
        # Without statistics of its own it takes them from each batch.
        if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            _fold(conv, norm)
            rest = [norm.drop, norm.act] if isinstance(norm, BatchNormAct2d) else []
            _replace(tower, name, nn.Sequential(*rest))
            folded += 1
    return folded


def fuse_activations(tower: nn.Module) -> int:
    """Let each convolution apply the activation that alone reads its output, in place.

    For a tower that stays on a CPU, in its precision, and is never trained again. Some round
    differently.

    Args:
        tower: in evaluation mode.

    Returns:
        How many were fused; 0 for a tower that cannot be traced, or where oneDNN cannot do it.
    """
    if not _onednn_convolves(next(tower.parameters()).dtype):
        return 0
    fused = 0
    for conv, conv_name, activation, name in _after_convolutions(tower, tuple(_ACTIVATIONS)):
        if type(conv) in (nn.Conv2d, Conv2dSame) and conv.padding_mode == "zeros":
            _replace(tower, conv_name, _ActivatedConv(conv, *_ACTIVATIONS[type(activation)]))
            _replace(tower, name, nn.Identity())
            fused += 1
    return fused


def _onednn_convolves(dtype: torch.dtype) -> bool:
    """Whether it does on this CPU; torch itself has other ways where it does not."""
    if not torch.backends.mkldnn.is_available():
        return False
    conv = _ActivatedConv(nn.Conv2d(8, 8, 3).to(dtype), "relu", [])
    try:
        conv(torch.ones(1, 8, 8, 8, dtype=dtype))
    except RuntimeError:
        return False
    return True


def _after_convolutions(
    tower: nn.Module, kinds: tuple[type[nn.Module], ...]
) -> Iterator[tuple[nn.Conv2d, str, nn.Module, str]]:
    """Modules of some kinds that each read one convolution's output, and alone do so.

    Yields:
        The convolution and its name, the module and its name.
    """
    modules = dict(tower.named_modules())
    if not any(type(module) in kinds for module in modules.values()):
        return
    try:
        graph = _Tracer().trace(tower)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return  # its way depends on its input
    for node in graph.nodes:  # what does nothing hides nobody
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
    """Traces in its thread alone.

    A trace takes the place of nn.Module's own methods, for every thread: another one that computes
    meanwhile, as while a checkpoint is loaded beside the one that answers, is to notice nothing.
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
        ours = isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
        return ours or super().is_leaf_module(module, name)


class _ActivatedConv(nn.Module):
    """A convolution with its activation, through the operator that torch.compile uses too."""

    def __init__(self, conv: nn.Conv2d, activation: str, scalars: list[float]) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self._stride, self._dilation = list(conv.stride), list(conv.dilation)
        self._groups, self._kernel = conv.groups, list(conv.kernel_size)
        self._pads_itself = isinstance(conv, Conv2dSame)
        self._padding = [0, 0] if self._pads_itself else list(conv.padding)
        self._activation, self._scalars = activation, scalars

    def forward(self, images: Tensor) -> Tensor:
        if self._pads_itself:
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
    parent, _, own = name.rpartition(".")
    setattr(tower.get_submodule(parent), own, module)
