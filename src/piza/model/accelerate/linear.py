"""Products with the weights of a layer on the CPU, computed in oneDNN, where nothing is differentiated.

torch computes them in MKL; the convolutions beside them in oneDNN, which it carries as well. oneDNN's products are the
faster ones on some processors, and add the bias and apply the activation while the result is still in the cache, where
torch reads and writes all of it again for each. The numbers are the same but for rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.swin.modeling_swin import SwinMLP

from piza.model.accelerate.base import Acceleration, is_tracing

MIN_PRODUCTS = 10**7  # multiplications: below, starting oneDNN takes longer than it saves
# Weights of a layer: those of smaller ones are in the cache anyway, and asking whether to start oneDNN takes time, too.
MIN_WEIGHTS = 2**15
# Rows of a feed-forward network at once: what lies between its two products (16 MB of 2,048 channels) stays in the cache.
ROWS = 2048


def has_onednn(device: str = "cpu") -> bool:
    """Whether oneDNN computes on this kind of device; False where torch is built without it."""
    built = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return device == "cpu" and built


class FastLinear(nn.Linear):
    """A linear layer that oneDNN computes where it pays."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in features) -> (..., out features)."""
        return _product(input, self, "none") if _fits(input, self) else super().forward(input)


class FastSwinMLP(SwinMLP):
    """Swin's feed-forward network, part by part."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, cells, channels) -> the same."""
        return feed_forward(self.fc1, self.activation_fn, self.fc2, hidden_states)


def _is_large(module: nn.Module) -> bool:
    return not isinstance(module, nn.Linear) or module.weight.numel() >= MIN_WEIGHTS


ONEDNN_PRODUCTS = Acceleration(
    "products in oneDNN", {nn.Linear: FastLinear, SwinMLP: FastSwinMLP}, has_onednn, _is_large
)


def is_plain(module: Any) -> bool:
    """Whether it multiplies by its weights and does nothing else: adapters around it must be computed as they are."""
    return type(module) in (nn.Linear, FastLinear)


def feed_forward(first: nn.Module, activation: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    """second(activation(first(x))) of x (..., channels), so many rows at a time that their activations stay in the cache."""
    name = activation_name(activation)
    if name is None or not (_fits(x, first) and _fits(x, second)):
        result: Tensor = second(activation(first(x)))
        return result
    rows = x.flatten(0, -2).split(ROWS)
    parts = [_product(_product(part, first, name), second, "none") for part in rows]
    return torch.cat(parts).view(*x.shape[:-1], -1)


def _fits(x: Tensor, linear: nn.Module) -> bool:
    """Whether oneDNN computes this."""
    return (
        isinstance(linear, FastLinear)
        and x.numel() * linear.out_features >= MIN_PRODUCTS
        and for_onednn(x, linear.weight)
    )


def for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether both are floats on the CPU, and nobody differentiates, traces or compiles what is made of them."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not is_tracing()
    )


def _product(x: Tensor, linear: Any, activation: str) -> Tensor:
    # What torch's own compiler calls for a linear layer and its activation; "none" is also GELU without approximation.
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x, linear.weight, linear.bias, activation, [], "none"
    )
    return product


def activation_name(activation: Any) -> str | None:
    """OneDNN's name of an activation, or None if it is none of these. transformers wraps torch's."""
    function = getattr(activation, "act", activation)
    if isinstance(function, nn.ReLU):
        return "relu"
    exact_gelu = isinstance(function, nn.GELU) and function.approximate == "none"
    return "gelu" if exact_gelu or function is functional.gelu else None
