"""Deformable attention of few queries: what was read is projected, not all that might be.

The library projects every cell of the window to values and lets each head of a query read some of them, at every layer of
the decoder. Reading is linear, so the cells can be read as they are, and the little that was read is projected afterwards,
by head: the same numbers up to rounding. Sixty queries read at most 5,760 cells of 7,056, and project 240 sums.
"""

from typing import Any

import torch
from torch import Tensor

from piza.model.accelerate.linear import is_plain

MOST = 8  # cells read for each cell that there is; reading all channels for every head then costs as much as projecting


def suits(attention: Any, queries: int, cells: int) -> bool:
    """Whether so few queries read so many cells, by a projection that no adapter is wrapped around."""
    read = 4 * queries * attention.n_heads * attention.n_levels * attention.n_points
    return read <= MOST * cells and is_plain(attention.value_proj)


def readable(memory: Tensor, mask: Tensor) -> Tensor:
    """(batch, cells, d_model) and (batch, cells) True on the picture -> (batch, cells, 1, d_model + 1), as `read` takes it:
    a one beside every cell that counts, so that a sum of cells knows how much of the projection's bias it has."""
    counted = torch.cat([memory, torch.ones_like(memory[..., :1])], -1)
    return (counted * mask[..., None].to(memory.dtype))[:, :, None]


def read(
    attention: Any,
    states: Tensor,
    cells: Tensor,
    places: Tensor,
    shapes: list[tuple[int, int]],
    shape_tensor: Tensor,
    level_start: Tensor,
) -> Tensor:
    """What a deformable attention of the library gives: (batch, queries, d_model).

    Args:
        attention: the module, of whose parts this is made.
        states: (batch, queries, d_model), with their position embeddings.
        cells: from `readable`.
        places: (batch, queries, levels, 4) cxcywh of each query's box at each level, normalized.
    """
    batch, queries, width = states.shape
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    offsets = attention.sampling_offsets(states).view(batch, queries, heads, levels, points, 2)
    weights = attention.attention_weights(states).view(batch, queries, heads, levels * points).softmax(-1)
    centers, sizes = places[:, :, None, :, None, :2], places[:, :, None, :, None, 2:]
    where = centers + offsets / points * sizes * 0.5
    # Each head of a query reads as a query with one head of all channels.
    found = attention.attn(
        cells,
        shape_tensor,
        shapes,
        level_start,
        where.view(batch, queries * heads, 1, levels, points, 2),
        weights.view(batch, queries * heads, 1, levels, points),
        attention.im2col_step,
    )
    project = torch.cat([attention.value_proj.weight, attention.value_proj.bias[:, None]], 1)
    by_head = project.view(heads, width // heads, width + 1)
    values = torch.einsum("bqhd,hed->bqhe", found.view(batch, queries, heads, width + 1), by_head)
    return attention.output_proj(values.reshape(batch, queries, width))
