"""A convolution, its frozen batch norm and its ReLU in one pass, on the CPU and when nothing is trained.

A frozen batch norm multiplies and adds per channel, which the convolution's own weights and bias can do; oneDNN applies the
ReLU while what it made is still in the cache. torch passes over the picture twice more for these. The numbers are the same
but for rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoFrozenBatchNorm2d
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import MMGroundingDinoFrozenBatchNorm2d
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetConvLayer

from piza.model.accelerate.linear import activation_name, for_onednn, has_onednn
from piza.model.accelerate.swap import swap_classes

FROZEN = (MMGroundingDinoFrozenBatchNorm2d, GroundingDinoFrozenBatchNorm2d)
EPSILON = 1e-5  # of both


def use_fused_convolutions(model: nn.Module) -> bool:
    """Lets the convolutional layers of an RT-DETR ResNet, such as `mini`'s backbones are, compute so where they can, in place;
    weights and names stay. Returns whether they do: False where torch is built without oneDNN. Twice is once."""
    if not has_onednn():
        return False
    swap_classes(model, {RTDetrResNetConvLayer: FastConvLayer})
    return True


class FastConvLayer(RTDetrResNetConvLayer):
    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same of its own channels, height and width."""
        convolution, name = self.convolution, self._activation()
        if (
            name is None
            or type(convolution) is not nn.Conv2d
            or type(self.normalization) not in FROZEN
            or not for_onednn(hidden_states, convolution.weight)
        ):
            return super().forward(hidden_states)
        weight, bias = self._folded()
        how = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        return torch.ops.mkldnn._convolution_pointwise(hidden_states, weight, bias, *how, name, [], "")

    def _activation(self) -> str | None:
        return "none" if isinstance(self.activation, nn.Identity) else activation_name(self.activation)

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Weights and bias with the norm in them, kept for as long as they are those of what they were made of."""
        norm: Any = self.normalization
        parts = [self.convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
        if self.convolution.bias is not None:
            parts.append(self.convolution.bias)
        # A tensor made in inference mode has no version, and does not change outside of it.
        made_of = [(part.data_ptr(), 0 if part.is_inference() else part._version) for part in parts]
        kept = self.__dict__.get("_kept")
        if kept is None or kept[0] != made_of:
            scale = norm.weight * (norm.running_var + EPSILON).rsqrt()
            weight = (self.convolution.weight * scale[:, None, None, None]).detach()
            offset = 0.0 if self.convolution.bias is None else self.convolution.bias
            bias = (norm.bias + (offset - norm.running_mean) * scale).detach()
            kept = self.__dict__["_kept"] = (
                made_of,
                weight.contiguous(memory_format=torch.channels_last),
                bias,
            )
        return kept[1], kept[2]
