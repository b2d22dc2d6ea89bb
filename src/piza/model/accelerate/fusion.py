"""Attention between the cells of an image and the words of a sentence, where nothing is differentiated.

The library projects every cell three times: to ask the words, to answer them, and back. Where a sentence has 25 tokens and
an image 18,000 cells, it is far less to bring the words to where the cells are (one head, biases left out):

    (cells Wq) (words Wk)^T    = cells (words Wk Wq^T)^T
    weights^T (cells Wv)       = (weights^T cells) Wv
    (weights (words Wu)) Wo    = weights (words Wu Wo)

That saves products up to some hundred words, and passes over memory beyond. The numbers are the same but for
rounding. Left out are the library's clamps at 50,000 before its softmaxes, which only keep half precision from overflowing.
"""

from typing import Any

import torch
from torch import Tensor, nn

from piza.model.accelerate.base import Acceleration
from piza.model.accelerate.linear import is_plain
from piza.model.families import GROUNDING_DINO, MM_GROUNDING_DINO


class _FastFusion(nn.Module):
    """Mixed into the fusion attention of each family."""

    def forward(
        self,
        vision_features: Tensor,
        text_features: Tensor,
        vision_attention_mask: Tensor | None = None,
        text_attention_mask: Tensor | None = None,
    ) -> Any:
        """Cells (batch, cells, d_model), words (batch, tokens, d_model); masks are True where there is only padding."""
        given = (vision_features, text_features, vision_attention_mask, text_attention_mask)
        if torch.is_grad_enabled() or self.training or not _plain(self):
            return super().forward(*given)
        return attend(self, *given)


class FastFusion(_FastFusion, GROUNDING_DINO.fusion_attention):  # type: ignore[name-defined]
    """A GroundingDINO's fusion attention."""


class FastMMFusion(_FastFusion, MM_GROUNDING_DINO.fusion_attention):  # type: ignore[name-defined]
    """An MM-GroundingDINO's fusion attention."""


FUSION_ATTENTION = Acceleration(
    "fusion attention",
    {
        GROUNDING_DINO.fusion_attention: FastFusion,
        MM_GROUNDING_DINO.fusion_attention: FastMMFusion,
    },
)


def _plain(attention: nn.Module) -> bool:
    """Whether its projections are what they were: adapters around them must be computed as they are."""
    projections = [child for child in attention.children() if not isinstance(child, nn.Dropout)]
    return all(is_plain(child) for child in projections)


def attend(
    attention: Any, cells: Tensor, words: Tensor, no_cell: Tensor | None, no_word: Tensor | None
) -> Any:
    """What the library's `attention` answers for the cells and for the words, without its weights.

    The weights are large, and nobody here asks for them.
    """
    heads, width, tokens = attention.num_heads, attention.head_dim, words.shape[1]

    def by_head(values: Tensor, dim: int = -1) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = values.split(width, dim)
        return parts

    # Head by head, since only products with matrices can be quantized (piza.runtimes.int8).
    keys = by_head(attention.text_proj(words) * attention.scale)
    ask, ask_bias = by_head(attention.vision_proj.weight, 0), by_head(attention.vision_proj.bias)
    asked = torch.cat([key @ weight for key, weight in zip(keys, ask, strict=True)], 1)
    offsets = torch.cat([key @ bias for key, bias in zip(keys, ask_bias, strict=True)], 1)
    logits = cells @ asked.transpose(1, 2) + offsets[:, None]  # (batch, cells, heads * tokens)

    to_cells = logits.unflatten(2, (heads, tokens))
    if no_word is not None and no_word.any():
        to_cells = to_cells.masked_fill(no_word[:, None, None], -torch.inf)
    to_cells = to_cells.softmax(-1).flatten(2)
    values, out = by_head(attention.values_text_proj(words)), attention.out_vision_proj
    out_weights = by_head(out.weight, 1)
    answers = torch.cat([value @ weight.T for value, weight in zip(values, out_weights, strict=True)], 1)
    cells_out = to_cells @ answers + out.bias
    del to_cells  # the size of the logits: with many sentences the largest there is

    to_words = logits.transpose(1, 2)
    if no_cell is not None and no_cell.any():
        to_words = to_words.masked_fill(no_cell[:, None], -torch.inf)
    seen = (to_words.softmax(-1) @ cells).unflatten(1, (heads, tokens)).unbind(1)
    see = by_head(attention.values_vision_proj.weight, 0)
    read = torch.cat([cell @ weight.T for cell, weight in zip(seen, see, strict=True)], 2)
    words_out = attention.out_text_proj(read + attention.values_vision_proj.bias)
    return (cells_out, None), (words_out, None)
