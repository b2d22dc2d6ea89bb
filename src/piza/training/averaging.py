"""The running average of the weights, which is what a training saves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of a model's state; tensors that are no floats are copied.

    `names`: of the model's state dict, what is averaged; None for all of it.
    """

    def __init__(self, model: nn.Module, names: set[str] | None, decay: float):
        self.model, self.names, self.decay = model, names, decay
        self.tensors: dict[str, Tensor] = {
            name: tensor.detach().clone()
            for name, tensor in model.state_dict().items()
            if names is None or name in names
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after a step, counted from 0. Early steps are forgotten faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        state = self.model.state_dict()
        for name, mean in self.tensors.items():
            if mean.is_floating_point():
                mean.lerp_(state[name], 1 - decay)
            else:
                mean.copy_(state[name])

    def apply(self) -> None:
        """Put the average into the model."""
        self.model.load_state_dict(self.tensors, strict=self.names is None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights and ready to answer, for the length of a `with` block."""
        state = self.model.state_dict()
        before = {name: state[name].clone() for name in self.tensors}
        self.model.load_state_dict(self.tensors, strict=False)
        self.model.eval()
        try:
            yield
        finally:
            self.model.load_state_dict(before, strict=False)
            self.model.train()
