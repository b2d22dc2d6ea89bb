"""The region encoder: describes an object by an enlarged crop of its surroundings, and says where in it the object ends.

A cell of the pyramid covers eight pixels and more, which is half of a distant car: enough to find it, too little to tell its
color, which way it faces or what a sign shows. Here each proposal is cut out of the picture (`region_crops`) and enlarged
until it fills the input, as a look at it would, but all of them in one batch and independent of any sentence.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from piza.model.nanodet import STAGES, CspBackbone

STATE = 128  # width of the description of an object
CELLS = 4  # of the finer features, along a side of the crop
SHARP_CELLS = 8  # of the finest features, along a side
SIDES = 24  # channels that the sides of a box are read off


class BoxTightener(nn.Module):
    """Moves a box to what its crop shows: a second look at where it ends, as R-CNN regresses boxes (Girshick et al. 2014).

    Left and right are told by where things begin along the crop, top and bottom by where they do down it, so features are averaged
    over the other axis first. It begins with moving nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finest = nn.Conv2d(STAGES[0], SIDES, 3, padding=1)
        self.finer = nn.Conv2d(STAGES[1], SIDES, 1)
        last = nn.Linear(64, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.moves = nn.Sequential(
            nn.Linear(2 * SHARP_CELLS * SIDES + STAGES[2] + 2, last.in_features), nn.GELU(), last
        )

    def forward(self, finest: Tensor, finer: Tensor, whole: Tensor, sizes: Tensor) -> Tensor:
        """Features of strides 8 and 16, the mean of those of stride 32 (n, STAGES[2]), sizes (n, 2) -> moves (n, 4) for `moved`."""
        shown = self.finest(finest) + functional.interpolate(self.finer(finer), scale_factor=2.0)
        shown = functional.gelu(shown).float()
        profiles = [shown.mean(axis).flatten(1) for axis in (2, 3)]
        moves: Tensor = self.moves(torch.cat([*profiles, whole.float(), sizes], 1))
        return moves


def moved(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh, normalized, moved by shares of their sides, and their sides by e^move (Girshick et al. 2014, appendix C);
    cut at the image's rim."""
    centers = boxes[..., :2] + moves[..., :2].clamp(-0.5, 0.5) * boxes[..., 2:]
    sides = boxes[..., 2:] * moves[..., 2:].clamp(-1, 1).exp()
    low, high = (centers - sides / 2).clamp(0, 1), (centers + sides / 2).clamp(0, 1)
    return torch.cat([(low + high) / 2, (high - low).clamp(min=1e-4)], -1)


class RegionEncoder(nn.Module):
    """Crops of objects -> a vector each that describes what it shows, and how its box should be moved."""

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
        self.tighten = BoxTightener()

    def forward(self, crops: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Crops (n, 3, SIDE, SIDE), normalized as the backbone's input, and sizes (n, 2), both of `region_crops` -> states (n, STATE)
        and moves (n, 4) for `moved`."""
        finest, fine, coarse = self.backbone.stages_of(crops)
        whole = coarse.mean((2, 3))
        seen = [self.fine(fine).flatten(1), whole]
        state: Tensor = self.state(torch.cat([*(part.float() for part in seen), sizes], 1))
        return state, self.tighten(finest, fine, whole, sizes)
