"""Exponential moving average (EMA) of the weights."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.training.run.state import StateDict


class WeightAverage:
    """An exponential moving average of weights and running statistics.

    Args:
        weights: the module to average; the average starts from its present weights.
        decay: in (0, 1), per step; None: no average, and every method does nothing.
    """

    def __init__(self, weights: nn.Module, decay: float | None) -> None:
        self._weights = weights
        self._average: AveragedModel | None = None
        if decay is not None:
            rule = get_ema_multi_avg_fn(decay)
            self._average = AveragedModel(weights, multi_avg_fn=rule, use_buffers=True)

    def update(self) -> None:
        """Add the present weights to the average."""
        if self._average is not None:
            self._average.update_parameters(self._weights)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Load the averaged weights into the module for the length of a block."""
        if self._average is None:
            yield
            return
        own = copy.deepcopy(self._weights.state_dict())
        self._weights.load_state_dict(self._average.module.state_dict())
        try:
            yield
        finally:
            self._weights.load_state_dict(own)

    def state_dict(self) -> StateDict:
        """The average, in the form that `load_state_dict` takes."""
        return {} if self._average is None else self._average.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Continue from a saved average."""
        if self._average is not None:
            self._average.load_state_dict(state)
