"""Batch norms folded into the convolutions before them: the same function with fewer passes.

In evaluation a batch norm is one factor and one summand a channel, which a convolution can carry
in its own weights. The rounding differs in the last digits, which the golden inputs bound.
"""

from collections import Counter

from timm.layers.norm_act import BatchNormAct2d
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fuse_batch_norms(tower: nn.Module) -> int:
    """Fold each batch norm whose input is one convolution's output alone, in place.

    What feeds what is read off a trace, not guessed from names. A tower that cannot be traced, or
    has none, stays as it is.

    Args:
        tower: in evaluation mode, with the weights that it will keep.

    Returns:
        How many were folded.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules()):
        return 0
    try:
        graph = _Tracer().trace(tower)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return 0  # its way depends on its input
    modules = dict(tower.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folded = 0
    for node in graph.nodes:
        if node.op != "call_module" or type(modules[node.target]) not in _FOLDED:
            continue
        source = node.args[0]
        conv = modules.get(source.target) if source.op == "call_module" else None
        once = calls[node.target] == calls[source.target] == len(source.users) == 1
        norm = modules[node.target]
        # Without statistics of its own it takes them from each batch.
        if isinstance(conv, nn.Conv2d) and once and norm.track_running_stats:
            _fold(tower, conv, node.target, norm)
            folded += 1
    return folded


_FOLDED = (nn.BatchNorm2d, BatchNormAct2d)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        ours = isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
        return ours or super().is_leaf_module(module, name)


def _fold(tower: nn.Module, conv: nn.Conv2d, name: str, norm: nn.BatchNorm2d) -> None:
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
    rest = [norm.drop, norm.act] if isinstance(norm, BatchNormAct2d) else []
    parent, _, own = name.rpartition(".")
    setattr(tower.get_submodule(parent), own, nn.Sequential(*rest))
