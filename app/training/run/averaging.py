"""The moving average of the weights."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.training.run.state import Weights


class Average:
    """An exponential moving average of weights and running statistics; without decay, nothing.

    Args:
        weights: what is averaged, where the average starts.
        decay: in (0, 1), of a step; None: no average.
    """

    def __init__(self, weights: nn.Module, decay: float | None) -> None:
        self._weights = weights
        self._average: AveragedModel | None = None
        if decay is not None:
            rule = get_ema_multi_avg_fn(decay)
            self._average = AveragedModel(weights, multi_avg_fn=rule, use_buffers=True)

    def update(self) -> None:
        """Take in the weights as they are now."""
        if self._average is not None:
            self._average.update_parameters(self._weights)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averaged weights in the place of the weights, for the length of a block."""
        if self._average is None:
            yield
            return
        own = copy.deepcopy(self._weights.state_dict())
        self._weights.load_state_dict(self._average.module.state_dict())
        try:
            yield
        finally:
            self._weights.load_state_dict(own)

    def state_dict(self) -> Weights:
        """What `load_state_dict` takes."""
        return {} if self._average is None else self._average.state_dict()

    def load_state_dict(self, state: Weights) -> None:
        """Go on from a saved average."""
        if self._average is not None:
            self._average.load_state_dict(state)
