"""NanoDet-g (RangiLyu/nanodet, Apache-2.0) in plain convolutions: the pretrained start of the proposal network.

A small CSP backbone, a path-aggregation neck of sums and one convolution a level as the head. Batch norms are folded into the
convolutions, as in the file that the weights come from. The distances from a cell's center to the four sides of a box are read
off a distribution over whole strides (Li et al. 2020, Generalized Focal Loss, eq. 3 to 6).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

COCO_CLASSES = 80
BINS = 11  # of the distribution of a distance: 0 to 10 strides
STRIDES = (8, 16, 32)
STAGES = (128, 256, 512)  # channels of the backbone at these strides
NECK = 128  # channels of the neck and of the head
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of the input, RGB of 255; its file takes BGR


def normalized(pixels: Tensor) -> Tensor:
    """RGB of 0 to 255, float (batch, 3, height, width), as the backbone's input."""
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / std


class ConvLayer(nn.Conv2d):
    """A 3x3 convolution with bias, and leaky ReLU of slope 0.1."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, 3, stride=stride, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) of its inputs -> of its outputs."""
        return functional.leaky_relu(super().forward(features), 0.1, inplace=True)


class CspUnit(nn.Module):
    """Two convolutions in a row, each to half the stage's width; the outputs of both are passed on."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.first = ConvLayer(inputs, width // 2)
        self.second = ConvLayer(width // 2, width // 2)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) of its inputs -> of its outputs."""
        first = self.first(features)
        return torch.cat([self.second(first), first], 1)


class CspStage(nn.Module):
    """(batch, width, h, w) -> (batch, 2 * width, h / stride, w / stride)."""

    def __init__(self, width: int, units: int, stride: int):
        super().__init__()
        self.enter = ConvLayer(width, width, stride)
        self.units = nn.Sequential(*(CspUnit(width, width) for _ in range(units)))
        self.merge = ConvLayer(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) of its inputs -> of its outputs."""
        entered = self.enter(features)
        return torch.cat([self.merge(self.units(entered)), entered], 1)


@dataclass
class NanoDetFeatures:
    """Lists of three levels, finest first. stages: features of the backbone (STAGES channels). head: the last features of the
    head (NECK channels), which classes and boxes are read off."""

    stages: list[Tensor]
    head: list[Tensor]


class CspBackbone(nn.Module):
    """The backbone alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvLayer(3, 32, 2)
        self.stages = nn.ModuleList(
            CspStage(width, units, stride)
            for width, units, stride in ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 3, 2))
        )

    def stages_of(self, pixels: Tensor) -> list[Tensor]:
        """Features of strides 8, 16 and 32 (STAGES channels) of pixels (batch, 3, height, width): RGB, `normalized`,
        sides multiples of 32."""
        features = functional.max_pool2d(self.stem(pixels), 3, stride=2, padding=1)
        stages = []
        for stage in self.stages:
            features = stage(features)
            stages.append(features)
        return stages[1:]


class NanoDet(CspBackbone):
    """Backbone, neck and the convolutions of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, NECK, 1) for channels in STAGES)
        self.head = nn.ModuleList(ConvLayer(NECK, NECK) for _ in STRIDES)

    def forward(self, pixels: Tensor) -> NanoDetFeatures:
        """Pixels as in `stages_of`."""
        stages = self.stages_of(pixels)
        fine, middle, coarse = (layer(stage) for layer, stage in zip(self.lateral, stages, strict=True))
        middle = middle + _doubled(coarse)
        fine = fine + _doubled(middle)
        middle = middle + functional.avg_pool2d(fine, 2)
        coarse = coarse + functional.avg_pool2d(middle, 2)
        neck = (fine, middle, coarse)
        return NanoDetFeatures(stages, [layer(level) for layer, level in zip(self.head, neck, strict=True)])


class NanoDetAnswers(nn.Module):
    """The last layer of the detector as it was trained on COCO: (batch, 80 + 44, h, w) of each level, class logits and logits
    of the distances left, top, right, bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(NECK, COCO_CLASSES + 4 * BINS, 1) for _ in STRIDES)

    def forward(self, head: list[Tensor]) -> list[Tensor]:
        """Of each level."""
        return [layer(level) for layer, level in zip(self.levels, head, strict=True)]


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def distances(logits: Tensor) -> Tensor:
    """(..., 4 * BINS) -> (..., 4) distances left, top, right, bottom in strides: the mean of each distribution."""
    share = logits.view(*logits.shape[:-1], 4, BINS).softmax(-1)
    return torch.matmul(share, torch.arange(BINS, dtype=share.dtype, device=share.device))
