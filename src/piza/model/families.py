"""The two implementations of GroundingDINO in transformers, and all that differs between them.

Both have the same parts under the same names (`model.backbone`, `model.encoder.layers[i].deformable_layer`, ...). Their classes
differ, and so does how a query is scored against a word. Code elsewhere asks `family_of(detector)`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from transformers.models.grounding_dino import configuration_grounding_dino, modeling_grounding_dino
from transformers.models.mm_grounding_dino import configuration_mm_grounding_dino, modeling_mm_grounding_dino

from piza.errors import InputError


def _dot_product(head: Any, queries: Tensor, words: Tensor) -> Tensor:
    return queries @ words.transpose(-1, -2)


def _scaled_dot_product(head: Any, queries: Tensor, words: Tensor) -> Tensor:
    bias: Tensor = head.bias
    return queries @ words.transpose(-1, -2) / math.sqrt(queries.shape[-1]) + bias


@dataclass(frozen=True)
class Family:
    """One of the two implementations: its name in config.json (`model_type`) and its classes.

    logits: (scoring head, queries (batch, queries, d_model), words (batch, words, d_model)) -> (batch, queries, words). The
    library's own heads also pad the words to 256 columns, which are not used.
    """

    name: str
    library: ModuleType
    config: Any
    detector: Any
    fusion_attention: Any  # between image cells and words, in each layer of the encoder
    deformable_layer: Any  # between image cells, in each layer of the encoder
    deformable_attention: Any  # the attention inside it
    deformable_sampling: Any  # the part of that attention without weights
    frozen_batch_norm: Any
    logits: Callable[[Any, Tensor, Tensor], Tensor]


GROUNDING_DINO = Family(
    name="grounding-dino",
    library=modeling_grounding_dino,
    config=configuration_grounding_dino.GroundingDinoConfig,
    detector=modeling_grounding_dino.GroundingDinoForObjectDetection,
    fusion_attention=modeling_grounding_dino.GroundingDinoBiMultiHeadAttention,
    deformable_layer=modeling_grounding_dino.GroundingDinoDeformableLayer,
    deformable_attention=modeling_grounding_dino.GroundingDinoMultiscaleDeformableAttention,
    deformable_sampling=modeling_grounding_dino.MultiScaleDeformableAttention,
    frozen_batch_norm=modeling_grounding_dino.GroundingDinoFrozenBatchNorm2d,
    logits=_dot_product,
)
MM_GROUNDING_DINO = Family(
    name="mm-grounding-dino",
    library=modeling_mm_grounding_dino,
    config=configuration_mm_grounding_dino.MMGroundingDinoConfig,
    detector=modeling_mm_grounding_dino.MMGroundingDinoForObjectDetection,
    fusion_attention=modeling_mm_grounding_dino.MMGroundingDinoBiMultiHeadAttention,
    deformable_layer=modeling_mm_grounding_dino.MMGroundingDinoDeformableLayer,
    deformable_attention=modeling_mm_grounding_dino.MMGroundingDinoMultiscaleDeformableAttention,
    deformable_sampling=modeling_mm_grounding_dino.MultiScaleDeformableAttention,
    frozen_batch_norm=modeling_mm_grounding_dino.MMGroundingDinoFrozenBatchNorm2d,
    logits=_scaled_dot_product,
)
FAMILIES = {family.name: family for family in (MM_GROUNDING_DINO, GROUNDING_DINO)}
FROZEN_BATCH_NORMS = tuple(family.frozen_batch_norm for family in FAMILIES.values())


def family_of(detector: nn.Module) -> Family:
    """The family of a detector. Raises InputError for any other model."""
    return family_named(str(detector.config.model_type))  # type: ignore[union-attr]


def family_named(model_type: str, source: str = "the model") -> Family:
    """The family with this `model_type` in its config. Raises InputError, naming `source`, for any other."""
    if model_type not in FAMILIES:
        known = " or ".join(map(repr, FAMILIES))
        raise InputError(f"{source} is of type {model_type!r}, expected {known}")
    return FAMILIES[model_type]


def block_masks(detector: Any, input_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens of a prompt see each other, and their positions.

    input_ids: (batch, tokens). Returns (batch, tokens, tokens) bool, True within a block, and (batch, tokens), counted anew in
    each block.
    """
    library: Any = family_of(detector).library
    masks, positions = library.generate_masks_with_special_tokens_and_transfer_map(
        input_ids, special_tokens=detector.model.special_tokens
    )
    return masks, positions


def position_embedding(detector: Any, boxes: Tensor) -> Tensor:
    """Sinusoids of boxes: (..., 4) cxcywh, normalized -> (..., 2 * d_model)."""
    library: Any = family_of(detector).library
    embedding: Tensor = library.encode_sinusoidal_position_embedding(
        boxes, num_pos_feats=detector.config.d_model // 2
    )
    return embedding


def initial_queries(detector: Any, cells: Tensor) -> Tensor:
    """The initial states of the decoder's queries: learned vectors or features of the chosen cells, as in the config.

    cells: (batch, groups, queries, d_model). Returns the same shape.
    """
    config, model = detector.config, detector.model
    if config.embedding_init_target or not config.two_stage:
        learned: Tensor = model.query_position_embeddings.weight[: cells.shape[2]]
        return learned.expand(cells.shape)
    return cells.detach()
