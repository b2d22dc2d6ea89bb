"""The decoder, layer by layer, for one or several groups of queries about the same window.

The library's decoder lets all queries read all tokens of a prompt. Taught with many sentences at once, a query must then
answer all of them from one state, and learns to describe its thing instead of judging a sentence. Here every sentence may
have queries of its own, which see that sentence and each other; the window's values are computed once for all. One group
is the library's decoder, to which the tests hold it.
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from piza.model import sparse_deformable_attention
from piza.model.relations import Relations


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
        queries: (batch, groups, queries, d_model), at the start.
        references: (batch, groups, queries, 4) cxcywh, normalized to the (padded) window.
        memory, mask: (batch, cells, d_model) encoded window; (batch, cells) True where a cell lies on the picture.
        valid_ratios: (batch, levels, 2).
        words, word_mask: (batch, groups, tokens, d_model) what the queries of each group may read; (batch, groups, tokens).
        relations: what queries know of where they lie to one another.

    Returns:
        Two lists with an entry a layer: (batch * groups, queries, d_model) and (batch * groups, queries, 4).
    """
    decoder, library = detector.model.decoder, sys.modules[type(detector.model).__module__]
    batch, groups, count, width = queries.shape
    shape_tensor = torch.as_tensor(shapes, dtype=torch.long, device=memory.device)
    level_start = torch.cat((shape_tensor.new_zeros((1,)), shape_tensor.prod(1).cumsum(0)[:-1]))
    ratios = torch.cat([valid_ratios, valid_ratios], -1)[:, None]
    words, word_mask = words.flatten(0, 1), word_mask.flatten(0, 1)
    unread = (~word_mask).to(words.dtype)[:, None, None] * torch.finfo(words.dtype).min
    states, references = queries.flatten(0, 1), references.flatten(0, 1)
    biases: list[Tensor | None] = [None] * len(decoder.layers)
    if relations is not None:
        pairs = relations.pairs(references, shape_tensor[0])
        biases = list(relations.biases(pairs))

    def by_window(values: Tensor) -> Tensor:
        return values.reshape(batch, groups * count, values.shape[-1])

    few = sparse_deformable_attention.suits(decoder.layers[0].encoder_attn, groups * count, memory.shape[1])
    cells = sparse_deformable_attention.readable(memory, mask) if few else memory
    found: list[Tensor] = []
    started: list[Tensor] = []
    for number, layer in enumerate(decoder.layers):

        def add(values: Tensor, change: Tensor, norm: nn.Module, rate: float = layer.dropout) -> Tensor:
            return norm(values + nn.functional.dropout(change, rate, decoder.training))

        started.append(references)
        places = by_window(references)[:, :, None] * ratios
        position = decoder.reference_points_head(
            library.encode_sinusoidal_position_embedding(places[:, :, 0], num_pos_feats=width // 2)
        ).reshape(batch * groups, count, width)
        own = states + position
        change = layer.self_attn(queries=own, keys=own, values=states, attention_mask=biases[number])[0]
        if relations is not None:
            change = change + relations.compare[number](own[:, None], states[:, None], pairs)[:, 0]
        states = add(states, change, layer.self_attn_layer_norm)
        change = layer.encoder_attn_text(
            queries=states + position, keys=words, values=words, attention_mask=unread
        )[0]
        states = add(states, change, layer.encoder_attn_text_layer_norm)
        if few:
            asked = by_window(states + position)
            change = sparse_deformable_attention.read(
                layer.encoder_attn, asked, cells, places, shapes, shape_tensor, level_start
            )
        else:
            change = layer.encoder_attn(
                hidden_states=by_window(states),
                attention_mask=mask,
                encoder_hidden_states=memory,
                encoder_attention_mask=mask,
                position_embeddings=by_window(position),
                reference_points=places,
                spatial_shapes=shape_tensor,
                spatial_shapes_list=shapes,
                level_start_index=level_start,
            )[0]
        states = add(states, change.reshape(states.shape), layer.encoder_attn_layer_norm)
        inner = nn.functional.dropout(
            layer.activation_fn(layer.fc1(states)), layer.activation_dropout, decoder.training
        )
        states = add(states, layer.fc2(inner), layer.final_layer_norm)
        if decoder.bbox_embed is not None:
            moved = decoder.bbox_embed[number](states) + torch.special.logit(references, eps=1e-5)
            references = moved.sigmoid().detach()
        found.append(decoder.layer_norm(states))
    return found, started


def tokens_of_groups(features: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, tokens, d_model) and (batch, groups, tokens) bool -> each group's tokens side by side, as `decode` takes them."""
    longest = int(groups.sum(-1).max())
    order = torch.argsort(groups.byte(), dim=-1, descending=True, stable=True)[..., :longest]
    index = order[..., None].expand(-1, -1, -1, features.shape[-1])
    gathered = features[:, None].expand(-1, groups.shape[1], -1, -1).gather(2, index)
    return gathered, groups.gather(2, order)
