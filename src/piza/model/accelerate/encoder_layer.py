"""How the encoder lets the cells of an image read each other, where nothing is differentiated.

The steps and the weights are the library's. What differs is how often all cells pass through memory: where the samples lie
is computed in one pass over rows of numbers that lie side by side, sums go where one of their parts was, cells are masked
only where an image is padded, and the feed-forward network is computed part by part (piza.model.accelerate.linear).
"""

from typing import Any

import torch
from torch import Tensor, nn

from piza.model.accelerate.base import Acceleration
from piza.model.accelerate.linear import feed_forward
from piza.model.families import GROUNDING_DINO, MM_GROUNDING_DINO


class _FastLayer(nn.Module):
    """Mixed into the deformable layer of each family."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        position_embeddings: Tensor | None = None,
        reference_points: Any = None,
        spatial_shapes: Any = None,
        spatial_shapes_list: Any = None,
        level_start_index: Any = None,
        output_attentions: bool = False,
    ) -> Any:
        """The library's forward, without the weights of attention, which nobody here asks for.

        hidden_states: (batch, cells, d_model). attention_mask: (batch, cells), True on the image.
        """
        grid = (reference_points, spatial_shapes, spatial_shapes_list, level_start_index)
        if torch.is_grad_enabled() or self.training:
            return super().forward(hidden_states, attention_mask, position_embeddings, *grid)
        layer: Any = self
        read = _attend(layer.self_attn, hidden_states, attention_mask, position_embeddings, *grid)
        cells = layer.self_attn_layer_norm(read)
        changed = feed_forward(layer.fc1, layer.activation_fn, layer.fc2, cells)
        return layer.final_layer_norm(changed.add_(cells)), None


def _attend(
    attention: Any,
    cells: Tensor,
    mask: Tensor,
    positions: Tensor | None,
    reference_points: Tensor,
    spatial_shapes: Tensor,
    spatial_shapes_list: list[tuple[int, int]],
    level_start_index: Tensor,
) -> Tensor:
    """The cells and what they read of each other. reference_points: (batch, cells, levels, 2), normalized."""
    batch, count, _ = cells.shape
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    values = attention.value_proj(cells)
    if not mask.all():
        values = values.masked_fill(~mask[..., None], 0)
    asked = cells if positions is None else cells + positions
    offsets = attention.sampling_offsets(asked).view(batch, count, heads, -1)
    weights = attention.attention_weights(asked).view(batch, count, heads, -1).softmax(-1)
    cell = (1 / spatial_shapes.flip(1)).to(cells.dtype)  # (levels, 2): width and height of one, normalized

    def each_point(of_levels: Tensor) -> Tensor:
        """(..., levels, 2) -> (..., levels * points * 2), as the offsets of a head lie."""
        return of_levels.unsqueeze(-2).expand(*of_levels.shape[:-1], points, 2).flatten(-3)

    where = torch.addcmul(each_point(reference_points)[:, :, None], offsets, each_point(cell))
    found = attention.attn(
        values.view(batch, count, heads, -1),
        spatial_shapes,
        spatial_shapes_list,
        level_start_index,
        where.view(batch, count, heads, levels, points, 2),
        weights.view(batch, count, heads, levels, points),
        attention.im2col_step,
    )
    result: Tensor = attention.output_proj(found).add_(cells)
    return result


class FastLayer(_FastLayer, GROUNDING_DINO.deformable_layer):  # type: ignore[name-defined]
    """A GroundingDINO's deformable layer."""


class FastMMLayer(_FastLayer, MM_GROUNDING_DINO.deformable_layer):  # type: ignore[name-defined]
    """An MM-GroundingDINO's deformable layer."""


ENCODER_LAYERS = Acceleration(
    "encoder layers",
    {GROUNDING_DINO.deformable_layer: FastLayer, MM_GROUNDING_DINO.deformable_layer: FastMMLayer},
)
