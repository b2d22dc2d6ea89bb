"""Products with the weights of a layer on the CPU, for when nothing is trained.

torch computes them in MKL; the convolutions beside them in oneDNN, which it carries as well. oneDNN's products are the
faster ones on some processors, and add the bias and apply the activation while what they made is still in the cache, where
torch reads and writes all of it again for each. The numbers are the same but for rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.swin.modeling_swin import SwinMLP

LEAST = 10**7  # multiplications: below, starting oneDNN takes longer than it saves
WEIGHTS = (
    2**15
)  # of a layer: those of smaller ones are in the cache anyway, and asking whether to start it takes time, too
ROWS = 2048  # of a feed-forward network at once: what is between its two products (16 MB of 2,048 channels) stays in the cache


def use_onednn_linear(model: nn.Module) -> bool:
    """Lets large linear layers and Swin's feed-forward networks compute so where they can, in place; weights and names stay.

    Returns whether they do: False, and nothing is changed, where torch is built without oneDNN. Twice is once.
    """
    if not has_onednn():
        return False
    for module in model.modules():
        if type(module) in FAST and (type(module) is not nn.Linear or module.weight.numel() >= WEIGHTS):
            module.__class__ = FAST[type(module)]  # all of its state is the library's
    return True


def is_plain(module: Any) -> bool:
    """Whether it multiplies by its weights and does nothing else: adapters around it must be computed as they are."""
    return type(module) in (nn.Linear, FastLinear)


class FastLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return _product(input, self, "none") if _fits(input, self) else super().forward(input)


class FastSwinMLP(SwinMLP):
    def forward(self, hidden_states: Tensor) -> Tensor:
        return feed_forward(self.fc1, self.activation_fn, self.fc2, hidden_states)


FAST: dict[type, type] = {nn.Linear: FastLinear, SwinMLP: FastSwinMLP}


def feed_forward(first: nn.Module, activation: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    """second(activation(first(x))) of x (..., channels), so many rows at a time that their activations stay in the cache."""
    name = activation_name(activation)
    if name is None or not (_fits(x, first) and _fits(x, second)):
        return second(activation(first(x)))
    rows = x.flatten(0, -2).split(ROWS)
    return torch.cat([_product(_product(part, first, name), second, "none") for part in rows]).view(
        *x.shape[:-1], -1
    )


def _fits(x: Tensor, linear: nn.Module) -> bool:
    """Whether oneDNN computes this."""
    return (
        type(linear) is FastLinear
        and x.numel() * linear.out_features >= LEAST
        and for_onednn(x, linear.weight)
    )


def for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether both are floats on the CPU, and nobody differentiates or traces what is made of them."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
    )


def _product(x: Tensor, linear: nn.Module, activation: str) -> Tensor:
    # What torch's own compiler calls for a linear layer and its activation; "none" is also GELU without approximation.
    return torch.ops.mkldnn._linear_pointwise(x, linear.weight, linear.bias, activation, [], "none")


def activation_name(activation: Any) -> str | None:
    """oneDNN's name of an activation, or None if it is none of these. transformers wraps torch's."""
    function = getattr(activation, "act", activation)
    if isinstance(function, nn.ReLU):
        return "relu"
    exact_gelu = isinstance(function, nn.GELU) and function.approximate == "none"
    return "gelu" if exact_gelu or function is functional.gelu else None


def has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
