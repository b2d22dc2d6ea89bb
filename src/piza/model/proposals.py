"""Proposals: the objects of an image, found before any sentence is read.

A cell of the pyramid that probably is the center of an object becomes a query, which reads the pyramid around its box a few
times, as a decoder's query does, but with no words. The outcome for each object is a box, a state and attributes (a car, red,
from behind). `matcher.py` reads sentences against these.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from piza.model.families import family_of
from piza.model.grounder import local_maxima_only, pyramid
from piza.model.sparse_deformable_attention import level_tensors, read, readable

# Taken from the score of a cell beside a better one, which mostly is of the same object; signs on one pole lie a cell apart.
BESIDE = 1.0


@dataclass
class Proposals:
    """The objects of a batch of images of one size. Boxes are cxcywh, normalized to the image.

    cell_logits: (batch, cells), whether each cell is the center of an object. cells: (batch, k) the chosen ones, best first.
    boxes: (layers + 1, batch, k, 4); the last are the answer. states: (batch, k, width). attributes: (batch, k, words) logits
    of words that describe an object. size: width and height of the image in pixels. shapes: (height, width) of each level in
    cells.
    """

    cell_logits: Tensor
    cells: Tensor
    boxes: Tensor
    states: Tensor
    attributes: Tensor
    size: tuple[int, int]
    shapes: list[tuple[int, int]]

    @property
    def features(self) -> Tensor:
        """(batch, k, width + words + 1) the features of each object, without its position."""
        score = self.cell_logits.gather(1, self.cells).sigmoid()
        return torch.cat([self.states, self.attributes.sigmoid(), score[..., None]], -1)


class RefinementLayer(nn.Module):
    """One layer: queries read the pyramid around their boxes, and move the boxes."""

    def __init__(self, detector: Any, points: int):
        super().__init__()
        config = detector.config
        width, heads = config.d_model, config.decoder_attention_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = family_of(detector).deformable_attention(config, heads, points)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.box = nn.Linear(width, 4)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Initializes each head to read in a direction of its own, at growing distances (Zhu et al. 2021)."""
        attention: Any = self.attention
        angles = torch.arange(attention.n_heads) * (2 * math.pi / attention.n_heads)
        direction = torch.stack([angles.cos(), angles.sin()], -1)
        direction = direction / direction.abs().max(-1, keepdim=True)[0]
        bias = direction[:, None, None] * torch.arange(1, attention.n_points + 1)[:, None]
        attention.sampling_offsets.bias.copy_(bias.expand(-1, attention.n_levels, -1, -1).reshape(-1))
        for zero in (
            attention.sampling_offsets.weight,
            attention.attention_weights.weight,
            attention.attention_weights.bias,
            self.box.weight,
            self.box.bias,
        ):
            nn.init.zeros_(zero)
        for module in (attention.value_proj, attention.output_proj):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self,
        states: Tensor,
        boxes: Tensor,
        cells: Tensor,
        shapes: list[tuple[int, int]],
        sizes: Tensor,
        starts: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """New states and boxes.

        states: (batch, k, width). boxes: (batch, k, 4) cxcywh, normalized. cells: from `readable`. shapes: (height, width) of
        the levels in cells. sizes, starts: from `level_tensors`.
        """
        by_level = boxes[:, :, None].expand(-1, -1, len(shapes), -1)
        states = states + read(self.attention, self.norms[0](states), cells, by_level, shapes, sizes, starts)
        states = states + self.feed_forward(self.norms[1](states))
        return states, (torch.special.logit(boxes, eps=1e-5) + self.box(states)).sigmoid()


class ProposalNetwork(nn.Module):
    """Lists the objects of an image, with a backbone of its own: the detector's is trained for looks with a sentence.

    detector: either family; its backbone and projections are copied. num_attributes: words that describe an object.
    num_proposals: objects listed. layers: refinements of each. points: cells read by each head, at each level.
    """

    def __init__(
        self, detector: Any, num_attributes: int, num_proposals: int = 64, layers: int = 3, points: int = 4
    ):
        super().__init__()
        model, config = detector.model, detector.config
        self.num_proposals, self.width = num_proposals, config.d_model
        self.backbone = copy.deepcopy(model.backbone.conv_encoder)
        self.project = copy.deepcopy(model.input_proj_vision)
        width = config.d_model
        self.norm, self.objectness = nn.LayerNorm(width), nn.Linear(width, 1)
        nn.init.constant_(self.objectness.bias, -4.0)  # few cells are the center of an object
        self.level_embedding = nn.Embedding(config.num_feature_levels, width)
        self.query_projection = nn.Linear(width, width)
        self.refinement = nn.ModuleList(RefinementLayer(detector, points) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width)
        self.attributes = nn.Linear(width, num_attributes)
        nn.init.constant_(self.attributes.bias, -3.0)

    def forward(
        self, pixels: Tensor, bonus: Callable[[list[tuple[int, int]]], Tensor] | None = None
    ) -> Proposals:
        """The objects of some images.

        pixels: (batch, 3, height, width), normalized. bonus: (shapes of the levels) -> (batch, cells), added to the scores by
        which cells are chosen.
        """
        batch, _, height, width = pixels.shape
        stages = self.backbone(pixels, pixels.new_ones((batch, height, width), dtype=torch.long))
        levels = pyramid([stage for stage, _ in stages], self.project)
        shapes = [(level.shape[-2], level.shape[-1]) for level in levels]
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        normed = self.norm(features)
        logits = self.objectness(normed)[..., 0]
        scores = logits.detach() if bonus is None else logits.detach() + bonus(shapes).to(logits)
        scores = torch.where(local_maxima_only(scores, shapes) < scores, scores - BESIDE, scores)
        count = min(self.num_proposals, scores.shape[1])  # a small image may have fewer cells
        chosen = torch.topk(scores, count, dim=1)[1]
        anchors, level_of_cell = anchors_of(shapes, features)
        states = self.query_projection(normed.gather(1, chosen[..., None].expand(-1, -1, features.shape[-1])))
        states = states + self.level_embedding(level_of_cell[chosen])
        boxes = [anchors[chosen]]
        cells = readable(features, torch.ones_like(features[..., 0], dtype=torch.bool))
        sizes, starts = level_tensors(shapes, features.device)
        for layer in self.refinement:
            states, refined = layer(states, boxes[-1].detach(), cells, shapes, sizes, starts)
            boxes.append(refined)
        states = self.final_norm(states)
        return Proposals(
            logits, chosen, torch.stack(boxes), states, self.attributes(states), (width, height), shapes
        )


def anchors_of(shapes: list[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """A box of three cells' size around each cell's center.

    Returns (cells, 4) cxcywh, normalized, on the device and in the type of `like`, and (cells,), the level of each.
    """
    anchors, numbers = [], []
    for number, (height, width) in enumerate(shapes):
        y, x = torch.meshgrid(
            torch.arange(height, device=like.device), torch.arange(width, device=like.device), indexing="ij"
        )
        x, y = x.to(like.dtype), y.to(like.dtype)
        center = torch.stack([(x + 0.5) / width, (y + 0.5) / height], -1).flatten(0, 1)
        size = 3 / torch.stack([torch.ones_like(center[:, 0]) * side for side in (width, height)], -1)
        anchors.append(torch.cat([center, size], -1))
        numbers.append(torch.full_like(x.flatten(), number, dtype=torch.long))
    return torch.cat(anchors), torch.cat(numbers)
