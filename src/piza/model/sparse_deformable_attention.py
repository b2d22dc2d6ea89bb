"""Deformable attention for few queries: only what they sample is projected.

The library projects every cell of the window to values and lets each head of a query read some of them, at every layer of
the decoder. Sampling is linear, so the cells can be sampled as they are, and the little that was sampled is projected
afterwards, by head: the same numbers up to rounding. Sixty queries read at most 5,760 cells of 7,056, and project 240
sums.
"""

from typing import Any

import torch
from torch import Tensor

from piza.model.accelerate.linear import is_plain

# Reads per cell up to which it pays; reading all channels for every head then costs as much as projecting every cell.
MAX_READS = 8


def suits(attention: Any, queries: int, cells: int) -> bool:
    """Whether so few queries read so many cells, through a projection that no adapter is wrapped around."""
    reads = 4 * queries * attention.n_heads * attention.n_levels * attention.n_points
    return bool(reads <= MAX_READS * cells) and is_plain(attention.value_proj)


def level_tensors(shapes: list[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """What the library's attention asks for of a pyramid with levels of these (height, width) in cells.

    Returns (levels, 2), the same as a tensor, and (levels,), the index of each level's first cell.
    """
    sizes = torch.as_tensor(shapes, dtype=torch.long, device=device)
    return sizes, torch.cat((sizes.new_zeros((1,)), sizes.prod(1).cumsum(0)[:-1]))


def readable(memory: Tensor, mask: Tensor) -> Tensor:
    """Cells as `read` takes them: (batch, cells, d_model) and (batch, cells), True on the image -> (batch, cells, 1, d_model + 1).

    A one stands beside every cell that counts, so that a sum of cells knows how much of the projection's bias it has.
    """
    counted = torch.cat([memory, torch.ones_like(memory[..., :1])], -1)
    return (counted * mask[..., None].to(memory.dtype))[:, :, None]


def read(
    attention: Any,
    states: Tensor,
    cells: Tensor,
    boxes: Tensor,
    shapes: list[tuple[int, int]],
    sizes: Tensor,
    starts: Tensor,
) -> Tensor:
    """What the library's deformable attention gives: (batch, queries, d_model).

    Args:
        attention: the library's module, of whose parts this is made.
        states: (batch, queries, d_model), with their position embeddings.
        cells: from `readable`.
        boxes: (batch, queries, levels, 4) cxcywh, the box of each query at each level, normalized.
        shapes: (height, width) of each level in cells. sizes, starts: from `level_tensors`.
    """
    batch, queries, width = states.shape
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    offsets = attention.sampling_offsets(states).view(batch, queries, heads, levels, points, 2)
    weights = attention.attention_weights(states).view(batch, queries, heads, levels * points).softmax(-1)
    centers, extents = boxes[:, :, None, :, None, :2], boxes[:, :, None, :, None, 2:]
    locations = centers + offsets / points * extents * 0.5
    # Each head of a query reads as a query with one head of all channels.
    found = attention.attn(
        cells,
        sizes,
        shapes,
        starts,
        locations.view(batch, queries * heads, 1, levels, points, 2),
        weights.view(batch, queries * heads, 1, levels, points),
        attention.im2col_step,
    )
    project = torch.cat([attention.value_proj.weight, attention.value_proj.bias[:, None]], 1)
    by_head = project.view(heads, width // heads, width + 1)
    values = torch.einsum("bqhd,hed->bqhe", found.view(batch, queries, heads, width + 1), by_head)
    output: Tensor = attention.output_proj(values.reshape(batch, queries, width))
    return output
