"""A convolution, its frozen batch norm and its ReLU in one pass, on the CPU, where nothing is differentiated.

A frozen batch norm multiplies and adds per channel, which the convolution's own weights and bias can do; oneDNN applies the
ReLU while the result is still in the cache. torch passes over the image twice more for these. The numbers are the same but
for rounding.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetConvLayer

from piza.model.accelerate.base import Acceleration
from piza.model.accelerate.linear import activation_name, for_onednn, has_onednn
from piza.model.families import FROZEN_BATCH_NORMS

EPSILON = 1e-5  # of both families' frozen norms

# Of each layer: what its folded weights were made of, and these. Beside the layers, so that it is in no copy or pickle of them.
_folded: "WeakKeyDictionary[nn.Module, tuple[Any, Tensor, Tensor]]" = WeakKeyDictionary()


class FastConvLayer(RTDetrResNetConvLayer):
    """A convolutional layer of an RT-DETR ResNet, such as `mini`'s backbones have."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same of its own channels, height and width."""
        convolution, name = self.convolution, _activation(self.activation)
        if (
            name is None
            or type(convolution) is not nn.Conv2d
            or type(self.normalization) not in FROZEN_BATCH_NORMS
            or not for_onednn(hidden_states, convolution.weight)
        ):
            plain: Tensor = super().forward(hidden_states)
            return plain
        weight, bias = folded(self)
        options = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            hidden_states, weight, bias, *options, name, [], ""
        )
        return result


FUSED_CONVOLUTIONS = Acceleration(
    "convolutions with norm and ReLU", {RTDetrResNetConvLayer: FastConvLayer}, has_onednn
)


def _activation(module: nn.Module) -> str | None:
    return "none" if isinstance(module, nn.Identity) else activation_name(module)


def folded(layer: Any) -> tuple[Tensor, Tensor]:
    """Weights and bias of a layer's convolution with its norm in them, kept for as long as what they were made of stands."""
    convolution, norm = layer.convolution, layer.normalization
    parts = [convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    if convolution.bias is not None:
        parts.append(convolution.bias)
    # A tensor made in inference mode has no version, and does not change outside of it.
    made_of = [(part.data_ptr(), 0 if part.is_inference() else part._version) for part in parts]
    kept = _folded.get(layer)
    if kept is None or kept[0] != made_of:
        scale = norm.weight * (norm.running_var + EPSILON).rsqrt()
        weight = (convolution.weight * scale[:, None, None, None]).detach()
        offset = 0.0 if convolution.bias is None else convolution.bias
        bias = (norm.bias + (offset - norm.running_mean) * scale).detach()
        kept = (made_of, weight.contiguous(memory_format=torch.channels_last), bias)
        _folded[layer] = kept
    return kept[1], kept[2]
