"""CoOp (Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022) with zoom conditioning, on a
GroundingDINO.

Learned context vectors stand in front of the words of every sentence. They are made as words of their own:
the ids behind the end of the vocabulary. `Prompter` puts these ids at the start of each block of a prompt, so
the library's own cutting into blocks, masks and positions (counted anew in each block) hold for them, and the
text encoder looks them up in `ExtendedVocabulary`. From there on they are tokens like others, to the text and
to the image; only answers are read from the words alone. All sentences share the same vectors (the "unified
context" of CoOp).

Trained are the vectors, all layer norms of the grounder and, if conditioned, the projections and the zoom
embedding; all else is frozen. The condition is added before the two norms of each image layer, where
conditioned Adapter+ adds it: x + project(silu(embedding)). The paper says "the same way" and no more. It does
not go into the vectors, for then the text encoder would have to run again at every look.

A fresh CoOp is not the base, as inserted tokens move the words and are seen by them. What holds instead: with
`tokens=0` it is the base; with vectors that start from words (`start_ids`) it is the base reading these words
in front of each sentence; and a fresh conditioned one is the plain one, as the projections start at zero.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from piza.config import settings
from piza.errors import InputError
from piza.methods.context import ZoomProjection, current_embedding, names_with_norms


@settings()
class CoopConfig:
    """Options of the method."""

    condition: bool = True  # False: plain CoOp
    tokens: int = Field(
        default=16, ge=0
    )  # context vectors in front of each sentence, as published; they count to the 256 tokens
    # Token ids of the words to start from, `tokens` of them; else random. A list where it comes from JSON.
    start_ids: tuple[int, ...] = Field(default=(), strict=False)
    embedding_dim: int = Field(default=256, ge=4, le=65_536)  # of the zoom embedding


class ContextVectors(nn.Embedding):
    """The learned vectors, (tokens, width of the text encoder). An embedding, so that optimizers treat it as one."""


class ExtendedVocabulary(nn.Module):
    """Stands where the table of word embeddings stood: that table, continued by the context vectors. ids (B, L)
    -> (B, L, width).
    """

    def __init__(self, words: nn.Embedding, context: ContextVectors) -> None:
        super().__init__()
        self.words = words
        self.context = context

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (batch, tokens) -> (batch, tokens, width)."""
        first = self.words.num_embeddings
        words = self.words(ids.clamp(max=first - 1))
        context = self.context((ids - first).clamp(min=0))
        return torch.where((ids >= first)[..., None], context, words)


class ConditionedNorm(nn.Module):
    """Stands where a layer norm stood: norm(x + project(silu(embedding))). x (B, L, dim) -> (B, L, dim)."""

    def __init__(self, norm: nn.LayerNorm, project: ZoomProjection) -> None:
        super().__init__()
        self.norm = norm
        self.project = project

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, dim) -> the same shape."""
        normed: Tensor = self.norm(x + self.project(current_embedding()))
        return normed


def apply(base: nn.Module, config: CoopConfig) -> None:
    """Puts the context vectors and, if asked to, the conditioned norms into `base`, a detector of either family, in place.

    Prompts must carry `prefix_ids(base)` in front of each sentence, or the vectors are not used. Conditioned norms run inside
    `piza.methods.context.zoom_embedding` only. Names change only where modules are wrapped: `word_embeddings.weight` becomes
    `word_embeddings.words.weight`, beside `word_embeddings.context.weight`; `...layer_norm.weight` becomes
    `...layer_norm.norm.weight`. Raises InputError for options that do not fit, ValueError if `base` has context vectors
    already.
    """
    _extend_vocabulary(base.model.text_backbone.embeddings, config)  # type: ignore[union-attr]
    encoder: Any = base.model.encoder  # type: ignore[union-attr]
    for layer in encoder.layers if config.condition else ():
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            norm = getattr(layer.deformable_layer, name)
            if not isinstance(norm, nn.LayerNorm):
                raise ValueError(
                    f"{name} is a {type(norm).__name__}, not a layer norm: is a method already in place?"
                )
            project = ZoomProjection(config.embedding_dim, norm.normalized_shape[0])
            nn.init.zeros_(project.weight)
            nn.init.zeros_(project.bias)
            setattr(layer.deformable_layer, name, ConditionedNorm(norm, project.to(norm.weight)))


def _extend_vocabulary(embeddings: Any, config: CoopConfig) -> None:
    words = embeddings.word_embeddings
    if not isinstance(words, nn.Embedding):
        raise ValueError(
            f"word_embeddings is a {type(words).__name__}, not a table: are context vectors already in place?"
        )
    if len(config.start_ids) not in (0, config.tokens):
        raise InputError(
            f"expected {config.tokens} start_ids for {config.tokens} context vectors of CoOp, or none,"
            f" got {len(config.start_ids)}"
        )
    if any(not 0 <= i < words.num_embeddings for i in config.start_ids):
        raise InputError(
            f"expected start_ids of CoOp below {words.num_embeddings}, the size of the vocabulary"
        )
    if config.tokens == 0:
        return
    vectors = ContextVectors(config.tokens, words.embedding_dim)
    nn.init.normal_(vectors.weight, std=0.02)  # as published; also the scale of BERT's own embeddings
    if config.start_ids:
        with torch.no_grad():
            vectors.weight.copy_(words.weight[list(config.start_ids)])
    embeddings.word_embeddings = ExtendedVocabulary(words, vectors.to(words.weight))


def prefix_ids(base: nn.Module) -> list[int]:
    """The ids of the context vectors in `base`, in order: those behind the end of its vocabulary."""
    table: Any = base.model.text_backbone.embeddings.word_embeddings  # type: ignore[union-attr]
    if not isinstance(table, ExtendedVocabulary):
        return []
    first = table.words.num_embeddings
    return list(range(first, first + table.context.num_embeddings))


def trained_names(root: nn.Module) -> set[str]:
    """Names, as in `root.named_parameters()`, of what this method trains in the whole model or any part of it."""
    conditioned = any(isinstance(module, ConditionedNorm) for module in root.modules())
    return names_with_norms(root, (ContextVectors, ZoomProjection), conditioned)
