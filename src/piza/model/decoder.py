"""The decoder, layer by layer, for one or several groups of queries about the same window.

The library's decoder lets all queries read all tokens of a prompt. Trained with many sentences at once, a query must then
answer all of them from one state, and learns to describe its object instead of judging a sentence. Here every sentence may
have queries of its own, which see that sentence and each other; the window's values are computed once for all. With
one group it computes what the library's decoder does; the tests compare them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from piza.model.families import position_embedding
from piza.model.relations import Relations
from piza.model.sparse_deformable_attention import level_tensors, read, readable, suits


def decode(
    detector: Any,
    queries: Tensor,
    references: Tensor,
    memory: Tensor,
    mask: Tensor,
    valid_ratios: Tensor,
    shapes: list[tuple[int, int]],
    words: Tensor,
    word_mask: Tensor,
    relations: Relations | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """The states of the queries after each layer, normalized, and the boxes that each layer started from.

    Args:
        queries: (batch, groups, queries, d_model), their initial states.
        references: (batch, groups, queries, 4) cxcywh, normalized to the (padded) window.
        memory, mask: (batch, cells, d_model) encoded window; (batch, cells) True where a cell lies on the image.
        valid_ratios: (batch, levels, 2).
        words, word_mask: (batch, groups, tokens, d_model) what the queries of each group may read, and (batch, groups,
            tokens) which of it is real.
        relations: adds the relative positions of the queries' boxes.

    Returns:
        Two lists with an entry a layer: (batch * groups, queries, d_model) and (batch * groups, queries, 4).
    """
    decoder = detector.model.decoder
    batch, groups, count, _ = queries.shape
    window = _Window(memory, mask, shapes, *level_tensors(shapes, memory.device))
    ratios = torch.cat([valid_ratios, valid_ratios], -1)[:, None]
    words, word_mask = words.flatten(0, 1), word_mask.flatten(0, 1)
    unread = (~word_mask).to(words.dtype)[:, None, None] * torch.finfo(words.dtype).min
    states, references = queries.flatten(0, 1), references.flatten(0, 1)
    biases: list[Tensor | None] = [None] * len(decoder.layers)
    if relations is not None:
        pairs = relations.pairs(references, window.sizes[0])
        biases = list(relations.biases(pairs))

    def by_window(values: Tensor) -> Tensor:
        return values.reshape(batch, groups * count, values.shape[-1])

    states_after: list[Tensor] = []
    started: list[Tensor] = []
    for number, layer in enumerate(decoder.layers):

        def add(values: Tensor, change: Tensor, norm: nn.Module, rate: float = layer.dropout) -> Tensor:
            summed: Tensor = norm(values + nn.functional.dropout(change, rate, decoder.training))
            return summed

        started.append(references)
        boxes = by_window(references)[:, :, None] * ratios
        position = decoder.reference_points_head(position_embedding(detector, boxes[:, :, 0]))
        own = states + position.reshape(states.shape)
        change = layer.self_attn(queries=own, keys=own, values=states, attention_mask=biases[number])[0]
        if relations is not None:
            change = change + relations.compare[number](own[:, None], states[:, None], pairs)[:, 0]
        states = add(states, change, layer.self_attn_layer_norm)
        own = states + position.reshape(states.shape)
        change = layer.encoder_attn_text(queries=own, keys=words, values=words, attention_mask=unread)[0]
        states = add(states, change, layer.encoder_attn_text_layer_norm)
        change = _read_window(layer.encoder_attn, by_window(states), position, boxes, window)
        states = add(states, change.reshape(states.shape), layer.encoder_attn_layer_norm)
        inner = nn.functional.dropout(
            layer.activation_fn(layer.fc1(states)), layer.activation_dropout, decoder.training
        )
        states = add(states, layer.fc2(inner), layer.final_layer_norm)
        if decoder.bbox_embed is not None:
            moved = decoder.bbox_embed[number](states) + torch.special.logit(references, eps=1e-5)
            references = moved.sigmoid().detach()
        states_after.append(decoder.layer_norm(states))
    return states_after, started


@dataclass
class _Window:
    """An encoded window: memory (batch, cells, d_model), mask (batch, cells) True on the image, and its levels' shapes."""

    memory: Tensor
    mask: Tensor
    shapes: list[tuple[int, int]]
    sizes: Tensor
    starts: Tensor

    @cached_property
    def cells(self) -> Tensor:
        return readable(self.memory, self.mask)


def _read_window(attention: Any, states: Tensor, position: Tensor, boxes: Tensor, window: _Window) -> Tensor:
    """What queries read of the window around their boxes: (batch, queries, d_model).

    states, position: (batch, queries, d_model). boxes: (batch, queries, levels, 4) cxcywh, normalized.
    """
    if suits(attention, states.shape[1], window.memory.shape[1]):
        return read(
            attention, states + position, window.cells, boxes, window.shapes, window.sizes, window.starts
        )
    found: Tensor = attention(
        hidden_states=states,
        attention_mask=window.mask,
        encoder_hidden_states=window.memory,
        encoder_attention_mask=window.mask,
        position_embeddings=position,
        reference_points=boxes,
        spatial_shapes=window.sizes,
        spatial_shapes_list=window.shapes,
        level_start_index=window.starts,
    )[0]
    return found


def tokens_of_groups(features: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, tokens, d_model) and (batch, groups, tokens) bool -> each group's tokens side by side, as `decode` takes them."""
    longest = int(groups.sum(-1).max())
    order = torch.argsort(groups.byte(), dim=-1, descending=True, stable=True)[..., :longest]
    index = order[..., None].expand(-1, -1, -1, features.shape[-1])
    gathered = features[:, None].expand(-1, groups.shape[1], -1, -1).gather(2, index)
    return gathered, groups.gather(2, order)
