"""The running average of the weights, which is what a training saves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from piza.training.distributed import whole


class WeightAverage:
    """An exponential moving average of a model's state; tensors that are no floats are copied.

    Args:
        model: may be sharded by FSDP; so is its average then.
        names: of the model's state dict, what is averaged; None for all of it.
        decay: of the average; 0: the last weights.
        whole_copy: of a sharded model, which cannot answer by itself; gets the average when it is wanted.
    """

    def __init__(
        self, model: nn.Module, names: set[str] | None, decay: float, whole_copy: nn.Module | None = None
    ):
        self.model, self.names, self.decay, self.whole_copy = model, names, decay, whole_copy
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

    def apply(self) -> nn.Module:
        """Put the average into the model, or, if it is sharded, into its whole copy; returns which. In all processes."""
        model = self.model if self.whole_copy is None else self.whole_copy
        model.load_state_dict(
            {name: whole(tensor) for name, tensor in self.tensors.items()}, strict=self.names is None
        )
        return model

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """A model with the averaged weights, ready to answer, for the length of a `with` block in all processes."""
        if self.whole_copy is not None:
            device = next(iter(self.tensors.values())).device
            try:
                yield self.apply().to(device).eval()
            finally:
                self.whole_copy.cpu()
            return
        state = self.model.state_dict()
        before = {name: state[name].clone() for name in self.tensors}
        self.model.load_state_dict(self.tensors, strict=False)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(before, strict=False)
            self.model.train()
