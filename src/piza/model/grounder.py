"""GroundingDINO in three stages: encode the text, encode the image, ground one in the other.

The library's `forward` runs all three together, so a search of several looks would encode its sentence again at every
look. The stages here call the same submodules in the same order and give the same numbers; tests compare them with
the library's `forward`, for both families of detectors (families.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from piza.model.decoder import decode, tokens_of_groups
from piza.model.families import block_masks, family_of, initial_queries
from piza.model.relations import Relations
from piza.model.sparse_deformable_attention import level_tensors

BEHIND = 100.0  # more than any difference of scores, and no more: ties would be broken by rounding


@dataclass
class TextFeatures:
    """A batch of encoded prompts.

    features: (batch, tokens, d_model), projected, before fusion with an image.
    token_mask: (batch, tokens) bool, True where a token is real.
    self_mask: (batch, tokens, tokens) bool, True where two tokens are of one block.
    position_ids: (batch, tokens), counted anew in each block.
    word_mask: (batch, tokens) bool, `token_mask` without learned context (ids past the vocabulary): only words are scored.
    """

    features: Tensor
    token_mask: Tensor
    self_mask: Tensor
    position_ids: Tensor
    word_mask: Tensor

    def __getitem__(self, index: Any) -> "TextFeatures":
        """Some prompts of the batch."""
        return TextFeatures(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def shortened(self) -> "TextFeatures":
        """Without the tokens that no prompt of the batch has."""
        count = int(self.token_mask.sum(1).max())
        return TextFeatures(
            self.features[:, :count],
            self.token_mask[:, :count],
            self.self_mask[:, :count, :count],
            self.position_ids[:, :count],
            self.word_mask[:, :count],
        )

    @staticmethod
    def joined(texts: Sequence["TextFeatures"]) -> "TextFeatures":
        """One batch of several, padded to the longest."""
        longest = max(text.features.shape[1] for text in texts)
        rows = []
        for text in texts:
            more = longest - text.features.shape[1]
            self_mask = nn.functional.pad(text.self_mask, (0, more, 0, more))
            rows.append(
                TextFeatures(
                    nn.functional.pad(text.features, (0, 0, 0, more)),
                    nn.functional.pad(text.token_mask, (0, more)),
                    # A token that sees nothing, not even itself, would be a softmax of nothing.
                    self_mask | torch.eye(longest, dtype=torch.bool, device=self_mask.device),
                    nn.functional.pad(text.position_ids, (0, more)),
                    nn.functional.pad(text.word_mask, (0, more)),
                )
            )
        return TextFeatures(*(torch.cat([getattr(row, name) for row in rows]) for name in _TEXT_FIELDS))


_TEXT_FIELDS = tuple(TextFeatures.__dataclass_fields__)


@dataclass
class ImageFeatures:
    """A batch of encoded windows: the flattened pyramid, before fusion with a text.

    features, positions: (batch, cells, d_model). mask: (batch, cells) bool, True where a cell lies on the image.
    valid_ratios: (batch, levels, 2), width then height. shapes: (height, width) of each level in cells.
    """

    features: Tensor
    positions: Tensor
    mask: Tensor
    valid_ratios: Tensor
    shapes: list[tuple[int, int]]

    def __getitem__(self, index: Any) -> "ImageFeatures":
        """Some windows of the batch."""
        return ImageFeatures(
            self.features[index],
            self.positions[index],
            self.mask[index],
            self.valid_ratios[index],
            self.shapes,
        )


@dataclass
class Grounding:
    """The outputs of one look. Boxes are cxcywh, normalized to [0, 1] of the (padded) window.

    logits: (layers, batch, queries, tokens), -inf at padding tokens and learned context. The last layer answers.
    boxes: (layers, batch, queries, 4).
    proposal_logits: (batch, cells, tokens). proposal_boxes: (batch, cells, 4) before the sigmoid, +inf in cells that may not
    propose. states: (layers, batch, queries, d_model) of the queries. objectness_logits: (batch, cells), whether a cell is the
    center of any object, or (0,) of a model that does not predict it.
    A look taken with `answer_only` has one layer and no proposal boxes, (batch, 0, 4).
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
    self_mask, position_ids = block_masks(detector, input_ids)
    encoded = model.text_backbone(
        input_ids, self_mask[:, None], torch.zeros_like(input_ids), position_ids, return_dict=True
    ).last_hidden_state
    token_mask = attention_mask.bool()
    word_mask = token_mask & (input_ids < model.text_backbone.config.vocab_size)
    return TextFeatures(model.text_projection(encoded), token_mask, self_mask, position_ids, word_mask)


def encode_image(detector: Any, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> ImageFeatures:
    """Encodes windows.

    pixel_values: (batch, 3, height, width), normalized. pixel_mask: (batch, height, width), 1 on the image; None where nothing
    is padded.
    """
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
    """The levels (batch, d_model, rows, columns), finest first.

    They are the backbone's stages, projected, and further ones made of the last of them.
    """
    levels = [project(stage) for project, stage in zip(projections, stages, strict=False)]
    for number in range(len(stages), len(projections)):
        levels.append(projections[number](stages[-1] if number == len(stages) else levels[-1]))
    return levels


def ground(
    detector: Any,
    text: TextFeatures,
    image: ImageFeatures,
    pooling: Tensor | None = None,
    local_maxima: bool = False,
    relations: Relations | None = None,
    per_sentence_queries: bool = False,
    answer_only: bool = False,
) -> Grounding:
    """One look: fuses texts and windows of the same batch size and predicts boxes.

    Args:
        pooling: (batch, tokens, blocks) or None. With it, token logits are averaged over each block, `logits` has blocks for
            its last axis, and the decoder's cells are picked by block. None is the library's way.
        local_maxima: choose cells that score higher than their neighbors before all others. Without it, as in the
            library, an object takes as many queries as it has cells, and none are left for the objects that a sentence
            compares it with.
        relations: start queries with the features of their cells, add the relative positions of their boxes to
            self-attention and, with `object_queries`, place some of them on objects of any kind.
        per_sentence_queries: every block of a prompt gets queries of its own, as if its sentence were asked alone; needs
            `pooling`. `logits` and `boxes` are then (layers, batch * blocks, queries, ...) with one column of logits;
            the proposals are unchanged.
        answer_only: leave out what only training reads, the earlier layers' answers and the boxes of most proposals.
    """
    model = detector.model
    memory, memory_text = _fused(detector, text, image)
    if pooling is None:
        words, word_mask = memory_text, text.word_mask
    else:  # a mean of dot products is the dot product with the mean, which is far smaller
        words = pooling.transpose(1, 2) @ memory_text
        word_mask = torch.ones_like(pooling[:, 0], dtype=torch.bool)

    cells, anchors = model.generate_encoder_output_proposals(memory, ~image.mask, image.shapes)
    proposal_logits = _logits(detector, model.encoder_output_class_embed, cells, words, word_mask)
    if per_sentence_queries:
        scores = proposal_logits.detach().transpose(1, 2)
        read, read_mask = tokens_of_groups(memory_text, _groups(text, pooling))
        words, word_mask = words.flatten(0, 1)[:, None], word_mask.flatten()[:, None]
    else:
        scores = proposal_logits.detach().max(-1)[0][:, None]
        read, read_mask = memory_text[:, None], text.token_mask[:, None]
    if local_maxima:
        scores = local_maxima_only(scores.flatten(0, 1), image.shapes).view_as(scores)
    count = min(model.config.num_queries, scores.shape[-1])  # a small window may have fewer cells than that
    best, objectness_logits = torch.topk(scores, count, dim=2)[1], None
    if relations is not None:
        best, objectness_logits = relations.with_objects(best, cells)
    chosen = _at(cells, best)
    if answer_only:
        proposal_boxes = anchors[:, :0]
        references = (model.encoder_output_bbox_embed(chosen) + _at(anchors, best)).sigmoid()
    else:
        proposal_boxes = model.encoder_output_bbox_embed(cells) + anchors
        references = _at(proposal_boxes, best).detach().sigmoid()
    queries = initial_queries(detector, chosen)
    if relations is not None:
        queries = queries + relations.content(chosen)
    states, started = decode(
        detector, queries, references, memory, image.mask, image.valid_ratios, image.shapes, read, read_mask, relations
    )  # fmt: skip
    first = len(states) - 1 if answer_only else 0
    logits, boxes = [], []
    for layer in range(first, len(states)):
        logits.append(_logits(detector, detector.class_embed[layer], states[layer], words, word_mask))
        delta = detector.bbox_embed[layer](states[layer])
        boxes.append((delta + torch.special.logit(started[layer], eps=1e-5)).sigmoid())
    return Grounding(
        torch.stack(logits),
        torch.stack(boxes),
        proposal_logits,
        proposal_boxes,
        torch.stack(states[first:]),
        memory.new_zeros(0) if objectness_logits is None else objectness_logits,
    )


def _fused(detector: Any, text: TextFeatures, image: ImageFeatures) -> tuple[Tensor, Tensor]:
    """Cells (batch, cells, d_model) and tokens (batch, tokens, d_model) that have read each other."""
    sizes, starts = level_tensors(image.shapes, image.features.device)
    encoded = detector.model.encoder(
        vision_features=image.features,
        vision_attention_mask=~image.mask,
        vision_position_embedding=image.positions,
        spatial_shapes=sizes,
        spatial_shapes_list=image.shapes,
        level_start_index=starts,
        valid_ratios=image.valid_ratios,
        text_features=text.features,
        text_attention_mask=~text.token_mask,
        text_position_embedding=None,
        text_self_attention_masks=~text.self_mask,
        text_position_ids=text.position_ids,
        return_dict=True,
    )
    return encoded.last_hidden_state_vision, encoded.last_hidden_state_text


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
    levels = []
    for level, (height, width) in zip(scores.split([h * w for h, w in shapes], 1), shapes, strict=True):
        highest = nn.functional.max_pool2d(level.reshape(-1, 1, height, width), 3, stride=1, padding=1)
        levels.append(torch.where(level == highest.flatten(1), level, level - BEHIND))
    return torch.cat(levels, 1)


def _logits(detector: Any, head: Any, queries: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
    """(batch, queries, words) of a scoring head of the detector, -inf where `word_mask` (batch, words) is False."""
    logits = family_of(detector).logits(head, queries, words)
    return logits.masked_fill(~word_mask[:, None], float("-inf"))
