"""Adapter+ (Steitz and Roth, "Adapters Strike Back", CVPR 2024) with zoom conditioning, on a GroundingDINO's
encoder.

Two adapters go into each image layer (deformable) and each text layer (enhancer) of the encoder, after the
attention residual and after the feed-forward residual, each before the layer norm: the norm is replaced by
adapter-then-norm. Trained are the adapters, all layer norms of the grounder and, if conditioned, the zoom
embedding; all else is frozen.
"""

from typing import Any

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn, ones

from piza.config import settings
from piza.methods.context import current_embedding, names_with_norms


@settings()
class AdapterPlusConfig:
    """Options of the method."""

    condition: bool = True  # False: plain Adapter+, whatever the next two say
    image_bottleneck: int = Field(default=256, ge=1, le=65_536)
    text_bottleneck: int = Field(default=256, ge=1, le=65_536)
    condition_image: bool = True
    condition_text: bool = False  # published: the text adapters take no embedding
    embedding_dim: int = Field(default=256, ge=4, le=65_536)  # of the zoom embedding


class AdapterPlus(nn.Module):
    """x + scale * up(gelu(down(x))) [+ project(silu(embedding))]: x (B, L, dim), embedding (B,
    embedding_dim).

    The projected embedding is not multiplied by the scale, as published.
    """

    def __init__(self, dim: int, bottleneck: int, embedding_dim: int | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(ones(dim))
        self.down = nn.Linear(dim, bottleneck)
        self.up = nn.Linear(bottleneck, dim)
        self.project = nn.Linear(embedding_dim, dim) if embedding_dim is not None else None
        # Small weights: a fresh adapter leaves the pretrained model nearly as it was.
        for linear in (self.down, self.up, self.project):
            if linear is not None:
                nn.init.trunc_normal_(linear.weight, std=0.01)
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """x: (batch, tokens, dim). embedding: (batch, embedding_dim), needed by a conditioned one. Returns (batch, tokens, dim)."""
        y: Tensor = x + self.scale * self.up(F.gelu(self.down(x)))
        if self.project is None:
            return y
        if embedding is None:
            raise RuntimeError("a conditioned adapter needs a zoom embedding, got None")
        projected: Tensor = self.project(F.silu(embedding))[:, None, :]
        return y + projected


class AdaptedNorm(nn.Module):
    """Stands where a layer norm stood: the adapter, then that norm. x (B, L, dim) -> (B, L, dim)."""

    def __init__(self, adapter: AdapterPlus, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.adapter = adapter
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, dim) -> the same shape."""
        embedding = current_embedding() if self.adapter.project is not None else None
        normed: Tensor = self.norm(self.adapter(x, embedding))
        return normed


def apply(base: nn.Module, config: AdapterPlusConfig) -> None:
    """Puts the adapters into `base`, a detector of either family, in place.

    Conditioned adapters run inside `piza.methods.context.zoom_embedding` only. Names change only where norms are wrapped:
    `...layer_norm.weight` becomes `...layer_norm.norm.weight`, beside `...layer_norm.adapter.*`. Raises ValueError if `base`
    has adapters already.
    """
    image_embedding = config.embedding_dim if config.condition and config.condition_image else None
    text_embedding = config.embedding_dim if config.condition and config.condition_text else None
    encoder: Any = base.model.encoder  # type: ignore[union-attr]
    for layer in encoder.layers:
        places = [
            (layer.deformable_layer, "self_attn_layer_norm", config.image_bottleneck, image_embedding),
            (layer.deformable_layer, "final_layer_norm", config.image_bottleneck, image_embedding),
            (layer.text_enhancer_layer, "layer_norm_before", config.text_bottleneck, text_embedding),
            (layer.text_enhancer_layer, "layer_norm_after", config.text_bottleneck, text_embedding),
        ]
        for parent, name, bottleneck, embedding_dim in places:
            norm = getattr(parent, name)
            if not isinstance(norm, nn.LayerNorm):
                raise ValueError(
                    f"{name} is a {type(norm).__name__}, not a layer norm: are adapters already in place?"
                )
            adapter = AdapterPlus(norm.normalized_shape[0], bottleneck, embedding_dim).to(norm.weight)
            setattr(parent, name, AdaptedNorm(adapter, norm))


def trained_names(root: nn.Module) -> set[str]:
    """Names, as in `root.named_parameters()`, of what this method trains in the whole model or any part of it."""
    adapters = [module for module in root.modules() if isinstance(module, AdapterPlus)]
    conditioned = any(adapter.project is not None for adapter in adapters)
    return names_with_norms(root, (AdapterPlus,), conditioned)
