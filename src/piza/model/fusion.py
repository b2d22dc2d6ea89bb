"""Attention between the cells of a picture and the words of a sentence, for when the words are few and nothing is trained.

The library projects every cell three times: to ask the words, to answer them, and back. Where a sentence has 25 tokens and
a picture 18,000 cells, it is far less to bring the words to where the cells are (one head, biases left out):

    (cells Wq) (words Wk)^T    = cells (words Wk Wq^T)^T
    weights^T (cells Wv)       = (weights^T cells) Wv
    (weights (words Wu)) Wo    = weights (words Wu Wo)

The numbers are the same but for rounding. Left out are the library's clamps at 50,000 between two softmaxes, which only
keep half precision from overflowing.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoBiMultiHeadAttention
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import (
    MMGroundingDinoBiMultiHeadAttention,
)

Sides = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def use_light_fusion(detector: nn.Module) -> None:
    """Lets every fusion layer of a GroundingDINO attend so where it can, in place; weights and names stay. Twice is once."""
    for module in detector.modules():
        if type(module) in LIGHT:
            module.__class__ = LIGHT[type(module)]  # all of its state is the library's


class _Light(nn.Module):
    """What a class of the library's is to be mixed with."""

    def forward(
        self,
        vision_features: Tensor,
        text_features: Tensor,
        vision_attention_mask: Tensor | None = None,
        text_attention_mask: Tensor | None = None,
    ) -> Sides:
        """Cells (batch, cells, d_model), words (batch, tokens, d_model); masks are True where there is only padding."""
        given = (vision_features, text_features, vision_attention_mask, text_attention_mask)
        if torch.is_grad_enabled() or self.training or not _few(self, text_features.shape[1]):
            return super().forward(*given)
        return attend(self, *given)


def _few(attention: Any, tokens: int) -> bool:
    """Whether it saves anything, reckoned in products a cell; adapters of the projections must be computed as they are."""
    projections = [child for child in attention.children() if not isinstance(child, nn.Dropout)]
    if not all(type(child) is nn.Linear for child in projections):
        return False
    if torch.jit.is_tracing():  # sizes are open, and sentences are short
        return True
    width, inner = attention.vision_dim, attention.embed_dim
    return 3 * tokens * attention.num_heads * width < 3 * width * inner + 2 * tokens * inner


def attend(
    attention: Any, cells: Tensor, words: Tensor, no_cell: Tensor | None, no_word: Tensor | None
) -> Sides:
    """What the library's `attention` answers, outputs and weights, of the cells and of the words."""
    heads, width = attention.num_heads, attention.head_dim
    batch, tokens = words.shape[:2]

    def by_head(layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return layer.weight.view(heads, width, -1), layer.bias.view(heads, width)

    def of_words(layer: nn.Linear) -> Tensor:  # (batch, heads, tokens, width)
        return layer(words).view(batch, tokens, heads, width).transpose(1, 2)

    ask, ask_bias = by_head(attention.vision_proj)
    keys = of_words(attention.text_proj) * attention.scale
    offsets = (keys @ ask_bias[:, :, None]).view(batch, 1, heads * tokens)
    logits = cells @ (keys @ ask).flatten(1, 2).transpose(1, 2) + offsets  # (batch, cells, heads * tokens)

    to_cells = logits.unflatten(2, (heads, tokens))
    if no_word is not None:
        to_cells = to_cells.masked_fill(no_word[:, None, None], -torch.inf)
    to_cells = to_cells.softmax(-1).flatten(2)
    out = attention.out_vision_proj
    said = of_words(attention.values_text_proj) @ out.weight.view(-1, heads, width).permute(1, 2, 0)
    cells_out = to_cells @ said.flatten(1, 2) + out.bias

    to_words = logits.transpose(1, 2)
    if no_cell is not None:
        to_words = to_words.masked_fill(no_cell[:, None], -torch.inf)
    to_words = to_words.softmax(-1)
    seen, seen_bias = by_head(attention.values_vision_proj)
    read = (to_words @ cells).unflatten(1, (heads, tokens)) @ seen.transpose(1, 2) + seen_bias[:, None]
    words_out = attention.out_text_proj(read.transpose(1, 2).flatten(2))

    def each(weights: Tensor) -> Tensor:  # (batch * heads, ...), as the library gives them
        return weights.flatten(0, 1)

    by_cell = to_cells.unflatten(2, (heads, tokens)).transpose(1, 2)
    return (cells_out, each(by_cell)), (words_out, each(to_words.unflatten(1, (heads, tokens))))


class LightMMFusion(_Light, MMGroundingDinoBiMultiHeadAttention):
    pass


class LightFusion(_Light, GroundingDinoBiMultiHeadAttention):
    pass


LIGHT: dict[type, type] = {
    MMGroundingDinoBiMultiHeadAttention: LightMMFusion,
    GroundingDinoBiMultiHeadAttention: LightFusion,
}
