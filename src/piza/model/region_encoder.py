"""The region encoder: describes an object by an enlarged crop of its surroundings, with a small pretrained backbone.

A cell of the pyramid covers eight pixels and more, which is half of a distant car: enough to find it, too little to tell its
color, which way it faces or what a sign shows. Here each proposal is cut out of the picture (`region_crops`) and enlarged
until it fills the input, as a look at it would, but all of them in one batch and independent of any sentence.
"""

import torch
from torch import Tensor, nn

from piza.model.nanodet import CspBackbone

STATE = 128  # width of the description of an object
CELLS = 4  # of the finer features, along a side of the crop


class RegionEncoder(nn.Module):
    """Crops of objects -> a vector each that describes what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CspBackbone()
        self.fine = nn.Conv2d(256, 48, 1)  # where in the crop
        self.state = nn.Sequential(
            nn.Linear(48 * CELLS**2 + 512 + 2, 2 * STATE),
            nn.GELU(),
            nn.Linear(2 * STATE, STATE),
            nn.LayerNorm(STATE, elementwise_affine=False),
        )

    def forward(self, crops: Tensor, sizes: Tensor) -> Tensor:
        """Crops (n, 3, SIDE, SIDE), normalized as the backbone's input, and sizes (n, 2), both of `region_crops` -> (n, STATE)."""
        *_, fine, coarse = self.backbone.stages_of(crops)
        seen = [self.fine(fine).flatten(1), coarse.mean((2, 3))]
        state: Tensor = self.state(torch.cat([*(part.float() for part in seen), sizes], 1))
        return state
