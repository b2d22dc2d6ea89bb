"""GroundingDINO in three stages: text once, picture once, then ground.

The library's `forward` runs text, picture and grounding together, so a search of several looks would encode its
sentence again at every look. The stages here call the same submodules in the same order and give the same numbers;
tests hold them to the library's `forward`. Both `MMGroundingDinoForObjectDetection` and
`GroundingDinoForObjectDetection` fit.
"""

import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from piza.model.decoder import decode, tokens_of_groups
from piza.model.relations import Relations

BEHIND = 100.0  # more than any difference of scores, and no more: ties would be broken by rounding


@dataclass
class TextFeatures:
    """A batch of encoded prompts.

    features: (batch, tokens, d_model), projected, before fusion with a picture.
    token_mask: (batch, tokens) bool, True where a token is real.
    self_mask: (batch, tokens, tokens) bool, True where two tokens are of one block.
    position_ids: (batch, tokens), counted anew in each block.
    word_mask: (batch, tokens) bool, token_mask without learned context (ids behind the vocabulary): only words answer.
    """

    features: Tensor
    token_mask: Tensor
    self_mask: Tensor
    position_ids: Tensor
    word_mask: Tensor

    def __getitem__(self, index) -> "TextFeatures":
        return TextFeatures(*(getattr(self, f)[index] for f in self.__dataclass_fields__))


@dataclass
class ImageFeatures:
    """A batch of encoded windows: the flattened pyramid, before fusion with a text.

    features, positions: (batch, cells, d_model). mask: (batch, cells) bool, True where a cell lies on the picture.
    shapes: (height, width) of each level in cells. valid_ratios: (batch, levels, 2), width then height.
    """

    features: Tensor
    positions: Tensor
    mask: Tensor
    valid_ratios: Tensor
    shapes: list[tuple[int, int]]

    def __getitem__(self, index) -> "ImageFeatures":
        return ImageFeatures(
            self.features[index],
            self.positions[index],
            self.mask[index],
            self.valid_ratios[index],
            self.shapes,
        )


@dataclass
class Grounding:
    """What one look answers. Boxes are cxcywh, normalized to [0, 1] of the (padded) window.

    logits: (layers, batch, queries, tokens), -inf at padding tokens and learned context. boxes: (layers, batch, queries, 4). The last layer answers.
    proposal_logits: (batch, cells, tokens). proposal_boxes: (batch, cells, 4) before the sigmoid, +inf in cells that may not propose.
    states: (layers, batch, queries, d_model) of the queries. thing_logits: (batch, cells) how much a cell looks like a thing,
    or (0,) of a model that does not ask itself that.
    A look that is for its answer alone has one layer and no proposal boxes, (batch, 0, 4).
    """

    logits: Tensor
    boxes: Tensor
    proposal_logits: Tensor
    proposal_boxes: Tensor
    states: Tensor = field(default_factory=lambda: torch.zeros(0))
    objectness_logits: Tensor = field(default_factory=lambda: torch.zeros(0))


def encode_text(detector: Any, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
    """Encodes prompts; input_ids and attention_mask are (batch, tokens)."""
    model = detector.model
    library = sys.modules[type(model).__module__]
    if hasattr(model, "special_tokens"):
        self_mask, position_ids = library.generate_masks_with_special_tokens_and_transfer_map(
            input_ids, special_tokens=model.special_tokens
        )
    else:
        self_mask, position_ids = library.generate_masks_with_special_tokens_and_transfer_map(input_ids)
    encoded = model.text_backbone(
        input_ids, self_mask[:, None], torch.zeros_like(input_ids), position_ids, return_dict=True
    ).last_hidden_state
    token_mask = attention_mask.bool()
    word_mask = token_mask & (input_ids < model.text_backbone.config.vocab_size)
    return TextFeatures(model.text_projection(encoded), token_mask, self_mask, position_ids, word_mask)


def encode_image(detector: Any, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> ImageFeatures:
    """Encodes windows; pixel_values is (batch, 3, height, width), normalized; pixel_mask (batch, height, width), 1 on the picture."""
    model = detector.model
    batch, _, height, width = pixel_values.shape
    if pixel_mask is None:
        pixel_mask = torch.ones((batch, height, width), dtype=torch.long, device=pixel_values.device)
    stages, positions = model.backbone(pixel_values, pixel_mask)
    sources = pyramid([feature for feature, _ in stages], model.input_proj_vision)
    masks = [mask for _, mask in stages]
    for source in sources[len(stages) :]:
        mask = nn.functional.interpolate(pixel_mask[None].float(), size=source.shape[-2:]).to(torch.bool)[0]
        masks.append(mask)
        positions.append(model.backbone.position_embedding(source, mask).to(source.dtype))
    return ImageFeatures(
        features=torch.cat([source.flatten(2).transpose(1, 2) for source in sources], 1),
        positions=torch.cat(
            [p.flatten(2).transpose(1, 2) + model.level_embed[i] for i, p in enumerate(positions)], 1
        ),
        mask=torch.cat([mask.flatten(1) for mask in masks], 1),
        valid_ratios=torch.stack(
            [model.get_valid_ratio(mask, dtype=pixel_values.dtype) for mask in masks], 1
        ),
        shapes=[(source.shape[-2], source.shape[-1]) for source in sources],
    )


def pyramid(stages: list[Tensor], projections: Any) -> list[Tensor]:
    """The levels (batch, d_model, rows, columns), finest first: the backbone's stages projected, and further ones made of the
    last of them."""
    levels = [project(stage) for project, stage in zip(projections, stages, strict=False)]
    for number in range(len(stages), len(projections)):
        levels.append(projections[number](stages[-1] if number == len(stages) else levels[-1]))
    return levels


def ground(
    detector: Any,
    text: TextFeatures,
    picture: ImageFeatures,
    pooling: Tensor | None = None,
    local_maxima: bool = False,
    relations: Relations | None = None,
    per_sentence_queries: bool = False,
    answer_only: bool = False,
) -> Grounding:
    """One look: fuses texts and windows of the same batch size and predicts boxes.

    pooling: (batch, tokens, blocks) or None. With it, token logits are averaged over each block and `logits` has
    blocks for its last axis; the best cells for the decoder are then picked by block. None is the library's way.
    peaks: picks only cells that score higher than their neighbors, as long as there are such. The library's way gives a
    thing as many queries as it has cells, and has none left for the things a sentence compares it with.
    relations: lets queries start with what their cells saw, and know where they lie to one another; gives some of them to
    whatever looks like a thing, if it was made so.
    apart: wants a pooling; every block of a prompt gets queries of its own, as if its sentence were asked alone. `logits`
    and `boxes` are then (layers, batch * blocks, queries, ...) with one column of logits; the proposals are as ever.
    answer_only: leaves out what only a training reads, the earlier layers' answers and the boxes of most proposals.
    """
    model = detector.model
    shapes = picture.shapes
    shape_tensor = torch.as_tensor(shapes, dtype=torch.long, device=picture.features.device)
    level_start = torch.cat((shape_tensor.new_zeros((1,)), shape_tensor.prod(1).cumsum(0)[:-1]))
    encoded = model.encoder(
        vision_features=picture.features,
        vision_attention_mask=~picture.mask,
        vision_position_embedding=picture.positions,
        spatial_shapes=shape_tensor,
        spatial_shapes_list=shapes,
        level_start_index=level_start,
        valid_ratios=picture.valid_ratios,
        text_features=text.features,
        text_attention_mask=~text.token_mask,
        text_position_embedding=None,
        text_self_attention_masks=~text.self_mask,
        text_position_ids=text.position_ids,
        return_dict=True,
    )
    memory, memory_text = encoded.last_hidden_state_vision, encoded.last_hidden_state_text
    if pooling is None:
        words, word_mask = memory_text, text.word_mask
    else:  # a mean of dot products is the dot product with the mean, which is far smaller
        words, word_mask = (
            pooling.transpose(1, 2) @ memory_text,
            torch.ones_like(pooling[:, 0], dtype=torch.bool),
        )

    queries, anchors = model.generate_encoder_output_proposals(memory, ~picture.mask, shapes)
    proposal_logits = _similarity(model.encoder_output_class_embed, queries, words, word_mask)
    if per_sentence_queries:
        scores = proposal_logits.detach().transpose(1, 2)
        spoken, spoken_mask = tokens_of_groups(memory_text, _groups(text, pooling))
        words, word_mask = words.flatten(0, 1)[:, None], word_mask.flatten()[:, None]
    else:
        scores = proposal_logits.detach().max(-1)[0][:, None]
        spoken, spoken_mask = memory_text[:, None], text.token_mask[:, None]
    groups = scores.shape[1]
    if local_maxima:
        scores = local_maxima_only(scores.flatten(0, 1), shapes).view_as(scores)
    count = min(model.config.num_queries, scores.shape[-1])  # a small window may have fewer cells than that
    best, objectness_logits = torch.topk(scores, count, dim=2)[1], None
    if relations is not None:
        best, objectness_logits = relations.with_objects(best, queries)
    seen = _at(queries, best)
    if answer_only:
        proposal_boxes = anchors[:, :0]
        references = (model.encoder_output_bbox_embed(seen) + _at(anchors, best)).sigmoid()
    else:
        proposal_boxes = model.encoder_output_bbox_embed(queries) + anchors
        references = _at(proposal_boxes, best).detach().sigmoid()
    if hasattr(model, "query_position_embeddings"):
        start = model.query_position_embeddings.weight[:count].expand(len(memory), groups, -1, -1)
    else:
        start = seen.detach()
    if relations is not None:
        start = start + relations.content(seen)
    states, started = decode(
        detector,
        start,
        references,
        memory,
        picture.mask,
        picture.valid_ratios,
        shapes,
        spoken,
        spoken_mask,
        relations,
    )
    logits, boxes = [], []
    first = len(states) - 1 if answer_only else 0
    for layer in range(first, len(states)):
        state, reference = states[layer], started[layer]
        logits.append(_similarity(detector.class_embed[layer], state, words, word_mask))
        delta = detector.bbox_embed[layer](state)
        boxes.append((delta + torch.special.logit(reference, eps=1e-5)).sigmoid())
    return Grounding(
        torch.stack(logits),
        torch.stack(boxes),
        proposal_logits,
        proposal_boxes,
        torch.stack(states[first:]),
        memory.new_zeros(0) if objectness_logits is None else objectness_logits,
    )


def _groups(text: TextFeatures, pooling: Tensor | None) -> Tensor:
    """(batch, blocks, tokens) bool: what a sentence alone would have for its prompt, [CLS] and [SEP] with it."""
    assert pooling is not None
    together = text.self_mask & text.token_mask[:, None] & text.token_mask[:, :, None]
    own = (pooling.transpose(1, 2) > 0).float() @ together.float() > 0
    alone = together.sum(-1) == 1
    return own | alone[:, None]


def _at(cells: Tensor, index: Tensor) -> Tensor:
    """(batch, cells, d) and (batch, groups, queries) -> (batch, groups, queries, d)."""
    flat = index.flatten(1)[..., None].expand(-1, -1, cells.shape[-1])
    return cells.gather(1, flat).view(*index.shape, cells.shape[-1])


def local_maxima_only(scores: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """Scores (batch, cells) with all cells but the highest of their 3 x 3 neighbors put behind these."""
    found = []
    for level, (height, width) in zip(scores.split([h * w for h, w in shapes], 1), shapes, strict=True):
        highest = nn.functional.max_pool2d(level.reshape(-1, 1, height, width), 3, stride=1, padding=1)
        found.append(torch.where(level == highest.flatten(1), level, level - BEHIND))
    return torch.cat(found, 1)


def _similarity(head: Any, queries: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
    """(batch, queries, words) logits. The library pads them to 256 columns, which nobody reads; not here."""
    longest, head.max_text_len = head.max_text_len, words.shape[1]
    try:
        return head(queries, words, word_mask)
    finally:
        head.max_text_len = longest
