"""The proposal network on a pretrained backbone: lists the objects of an image, independent of any sentence.

As in `proposals.py`, but NanoDet's cells say which category is there and where its box is, so that the list is good before
anything is trained. The best boxes, without duplicates, become queries, which refinement layers read the pyramid for; each
also reads the pixels in its box, because features trained for detection keep little of an object's color.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from piza.model.accelerate.base import is_tracing
from piza.model.nanodet import BINS, NECK, STAGES, STRIDES, ConvLayer, NanoDet, distances
from piza.model.proposals import Proposals, RefinementLayer
from piza.model.region_encoder import STATE, RegionEncoder, moved
from piza.model.sparse_deformable_attention import level_tensors, readable

CANDIDATES = 4  # times as many cells as proposals are compared with each other
DUPLICATE = 0.6  # IoU with a better box, from which on a box is a duplicate
BEHIND = 100.0  # taken from the score of a duplicate, which is listed only where nothing else is left
MAX_ROUNDS = 12  # of suppression; streets settle after three to six
PATCH = 10  # side of the grid of pixels that a proposal sees of its own box
PATCH_SCALE = 1.2  # of the box
ANY_OBJECT = 48  # channels of an `AnyObjectHead`


@dataclass
class CellProposals(Proposals):
    """`Proposals` with what NanoDet's cells found.

    category_logits: (batch, cells, categories). object_logits: (batch, cells), by which cells are chosen: whether each holds
    anything that people would name. cell_boxes: (batch, cells, 4) cxcywh, normalized. distance_logits: (batch, cells, 4 * BINS).
    read: (batch, k, width) what was read of each object's surroundings; seen: (batch, k, 3 * PATCH * PATCH)
    its own pixels. States and attributes are made of these two. regions: (batch, k, STATE) its description by the
    region encoder; 0 where that has not run.
    """

    category_logits: Tensor
    object_logits: Tensor
    cell_boxes: Tensor
    distance_logits: Tensor
    read: Tensor
    seen: Tensor
    regions: Tensor

    @property
    def features(self) -> Tensor:
        """(batch, k, width + words + STATE + 1) the features of each object, without its position."""
        score = self.cell_logits.gather(1, self.cells).sigmoid()
        return torch.cat([self.states, self.attributes.sigmoid(), self.regions, score[..., None]], -1)


class AnyObjectHead(nn.Module):
    """Corrects what the detector says of the cells of a level, towards whatever people name: wheels, shop signs, windows.

    The detector's categories are few, and what has none of them would be listed last, in a box that fits badly. This adds to
    the logit by which cells are chosen and to those of distances; the categories stay as they are. It begins with adding nothing.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.enter = nn.Conv2d(channels, ANY_OBJECT, 1)
        self.around = ConvLayer(ANY_OBJECT, ANY_OBJECT)
        self.leave = nn.Conv2d(ANY_OBJECT, 1 + 4 * BINS, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, 1 + 4 * BINS, height, width)."""
        added: Tensor = self.leave(self.around(functional.leaky_relu(self.enter(features), 0.1)))
        return added


class NanoDetProposals(nn.Module):
    """Lists the objects of an image, on NanoDet's backbone.

    num_attributes: how many attribute words there are. categories: how many categories the cells distinguish. regions:
    whether there is a region encoder, which describes objects and is not needed to find them.
    """

    # Whether the convolutions compute in bfloat16; None: where the CPU multiplies it natively and no gradients are recorded.
    # It halves their time, and boxes move by a fraction of a pixel.
    half_precision: bool | None = None

    def __init__(
        self,
        detector: Any,
        num_attributes: int,
        categories: int,
        count: int = 128,
        layers: int = 2,
        points: int = 4,
        regions: bool = True,
    ):
        super().__init__()
        config = detector.config
        width = config.d_model
        self.count, self.width = count, width
        self.backbone = NanoDet()
        self.category = nn.ModuleList(nn.Conv2d(NECK, categories, 1) for _ in STRIDES)
        self.distance = nn.ModuleList(nn.Conv2d(NECK, 4 * BINS, 1) for _ in STRIDES)
        self.any_object = nn.ModuleList(AnyObjectHead(stage + NECK) for stage in STAGES)
        self.project = nn.ModuleList(nn.Conv2d(stage + NECK, width, 1) for stage in STAGES)
        self.norm = nn.LayerNorm(width)
        self.level = nn.Embedding(len(STRIDES), width)
        self.start = nn.Linear(width + categories, width)
        self.patch, self.last_patch = (
            nn.Sequential(nn.Linear(3 * PATCH * PATCH, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.refinement = nn.ModuleList(RefinementLayer(detector, points) for _ in range(layers))
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.last = nn.LayerNorm(width)
        self.regions = RegionEncoder() if regions else None
        self.attributes = nn.Linear(width, num_attributes)
        nn.init.zeros_(self.attributes.weight)  # words that nothing is known of stay unlikely
        nn.init.constant_(self.attributes.bias, -3.0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "NanoDetProposals":
        """Moves to other devices, but stays in float32 in a model of half the precision: boxes are read off distributions, and
        sixteen bits are a pixel there."""
        super()._apply(lambda tensor: fn(tensor).to(tensor.dtype), recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(
        self, pixels: Tensor, bonus: Callable[[list[tuple[int, int]]], Tensor] | None = None
    ) -> CellProposals:
        """The objects of some images.

        pixels: (batch, 3, height, width), normalized, sides multiples of 32. bonus: (shapes of the levels) -> (batch, cells),
        added to the scores by which cells are chosen.
        """
        pixels = pixels.float()
        height, width = pixels.shape[-2:]
        levels, categories, sides, added = self._convolve(pixels)
        shapes = [(level.shape[-2], level.shape[-1]) for level in levels]
        features, category_logits, distance_logits, corrections = (
            torch.cat([part.flatten(2).transpose(1, 2).float() for part in parts], 1)
            for parts in (levels, categories, sides, added)
        )
        distance_logits = distance_logits + corrections[..., 1:]
        centers, strides = cell_grid(shapes, pixels)
        cell_boxes = boxes_of(distance_logits, centers, strides, (width, height))
        logits = category_logits.amax(-1)
        object_logits = logits + corrections[..., 0]
        scores = object_logits.detach()
        chosen = choose(
            scores if bonus is None else scores + bonus(shapes).to(scores), cell_boxes.detach(), self.count
        )

        normed = self.norm(features)
        number = torch.cat(
            [torch.full_like(level[0, 0].flatten(), n, dtype=torch.long) for n, level in enumerate(levels)]
        )
        box = _taken(cell_boxes, chosen)
        state = torch.cat([_taken(normed, chosen), _taken(category_logits, chosen).sigmoid()], -1)
        state = self.start(state) + self.level(number[chosen])
        state = state + self.patch(patches(pixels, box.detach()))
        cells = readable(normed, torch.ones_like(normed[..., 0], dtype=torch.bool))
        sizes, starts = level_tensors(shapes, features.device)
        boxes = [box]
        for layer in self.refinement:
            state, box = layer(state, boxes[-1].detach(), cells, shapes, sizes, starts)
            boxes.append(box)
        seen = patches(pixels, box.detach())
        described, attributes = self.described(state, seen)
        return CellProposals(
            logits,
            chosen,
            torch.stack(boxes),
            described,
            attributes,
            (width, height),
            shapes,
            category_logits,
            object_logits,
            cell_boxes,
            distance_logits,
            state,
            seen,
            box.new_zeros((*box.shape[:2], STATE)),
        )

    def with_regions(self, found: CellProposals, crops: Tensor, sizes: Tensor) -> CellProposals:
        """The objects with their descriptions by the region encoder, and with last boxes that it moved.

        crops: (batch * k, 3, SIDE, SIDE), normalized as pixels are; sizes: (batch * k, 2); both of `region_crops`, of the last
        boxes.
        """
        if self.regions is None:
            return found
        with self._convolutions(crops):
            states, moves = (part.float() for part in self.regions(crops.float(), sizes))
        last = found.boxes[-1].detach()
        boxes = torch.cat([found.boxes, moved(last, moves.view_as(last))[None]])
        return replace(found, regions=states.view_as(found.regions), boxes=boxes)

    def described(self, read: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """States (..., k, width) and attributes (..., k, words), of `CellProposals.read` and `seen`."""
        state = read + self.last_patch(seen)
        state = self.last(state + self.mix(state))
        return state, self.attributes(state)

    def _convolve(self, pixels: Tensor) -> list[list[Tensor]]:
        """Three levels each: the pyramid (batch, width, h, w), category logits, logits of distances, and what is added to these."""
        with self._convolutions(pixels):
            seen = self.backbone(pixels)
            both = [torch.cat(pair, 1) for pair in zip(seen.stages, seen.head, strict=True)]
            layers = (self.project, self.category, self.distance, self.any_object)
            inputs = (both, seen.head, seen.head, both)
            return [
                [layer(level) for layer, level in zip(of_kind, levels, strict=True)]
                for of_kind, levels in zip(layers, inputs, strict=True)
            ]

    def _convolutions(self, pixels: Tensor) -> torch.autocast:
        """A `with` block for convolutions, in bfloat16 or not."""
        half = self.half_precision
        if half is None:
            half = not torch.is_grad_enabled() and has_native_bfloat16(pixels.device)
        return torch.autocast(pixels.device.type, torch.bfloat16, enabled=half and not is_tracing())


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a device is a CPU that multiplies bfloat16 without emulating it."""
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def cell_grid(shapes: list[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Centers (cells, 2) x, y and strides (cells, 1) of all cells, in pixels of the input."""
    centers, strides = [], []
    for stride, (height, width) in zip(STRIDES, shapes, strict=True):
        y, x = torch.meshgrid(
            torch.arange(height, device=like.device), torch.arange(width, device=like.device), indexing="ij"
        )
        centers.append((torch.stack([x, y], -1).flatten(0, 1).to(like.dtype) + 0.5) * stride)
        strides.append(torch.full_like(centers[-1][:, :1], float(stride)))
    return torch.cat(centers), torch.cat(strides)


def boxes_of(logits: Tensor, centers: Tensor, strides: Tensor, size: tuple[int, int]) -> Tensor:
    """Distance logits (batch, cells, 4 * BINS) -> boxes (batch, cells, 4), cxcywh, normalized and cut at the image's rim."""
    sides = distances(logits) * strides
    # Divided side by side: a tensor made of the size would be a constant of a traced graph.
    low, high = (
        torch.stack([corner[..., 0] / size[0], corner[..., 1] / size[1]], -1).clamp(0, 1)
        for corner in (centers - sides[..., :2], centers + sides[..., 2:])
    )
    return torch.cat([(low + high) / 2, (high - low).clamp(min=1e-4)], -1)


@torch.no_grad()
def choose(scores: Tensor, boxes: Tensor, count: int) -> Tensor:
    """The cells (batch, count) of the best scores (batch, cells) that are no duplicates of a better one; duplicates follow
    where too few are left. Non-maximum suppression by repeated products (Zheng et al. 2021, Cluster-NMS): the greedy result."""
    value, cell = scores.topk(min(CANDIDATES * count, scores.shape[1]), dim=1)
    corner = _taken(boxes, cell)
    low, high = corner[..., :2] - corner[..., 2:] / 2, corner[..., :2] + corner[..., 2:] / 2
    inner = (
        (torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(low[:, :, None], low[:, None]))
        .clamp(min=0)
        .prod(-1)
    )
    area = (high - low).prod(-1)
    overlap = inner / (area[:, :, None] + area[:, None] - inner).clamp(min=1e-9)
    covers = (overlap > DUPLICATE).triu(1)  # [better, worse]
    kept = torch.ones_like(cell, dtype=torch.bool)
    for _ in range(MAX_ROUNDS):
        now = ~(covers & kept[:, :, None]).any(1)
        if not is_tracing() and bool((now == kept).all()):
            break
        kept = now
    order = torch.where(kept, value, value - BEHIND).topk(min(count, cell.shape[1]), dim=1)[1]
    return cell.gather(1, order)


def patches(pixels: Tensor, boxes: Tensor) -> Tensor:
    """The pixels of boxes (batch, k, 4), read at a grid of points: (batch, k, 3 * PATCH * PATCH)."""
    steps = torch.arange(PATCH, dtype=boxes.dtype, device=boxes.device)
    at = (steps + 0.5) / PATCH * 2 - 1  # of half the box
    y, x = torch.meshgrid(at, at, indexing="ij")
    grid = torch.stack([x, y], -1).flatten(0, 1)
    places = boxes[:, :, None, :2] + grid * boxes[:, :, None, 2:] * (PATCH_SCALE / 2)
    found = functional.grid_sample(pixels, 2 * places - 1, padding_mode="border", align_corners=False)
    return found.permute(0, 2, 1, 3).flatten(2)


def _taken(values: Tensor, cells: Tensor) -> Tensor:
    """(batch, cells, n) and (batch, k) -> (batch, k, n)."""
    return values.gather(1, cells[..., None].expand(-1, -1, values.shape[-1]))
