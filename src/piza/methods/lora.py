"""LoRA (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022) with zoom conditioning, on
a GroundingDINO's encoder.

A low-rank update goes beside every linear layer of the image layers (deformable) and of the text layers
(enhancer) of the encoder: the layers that Adapter+ adapts, so that the methods can be compared. The fusion
between the two is left as it was, as Adapter+ leaves it. Trained are the updates, all layer norms of the
grounder and, if conditioned, the zoom embedding; all else is frozen.

The condition enters inside the low-rank space, before the up matrix, and only in the two layers of each image
layer that write into the residual stream (attention output, second feed-forward matrix), which is where
conditioned Adapter+ adds it. The paper says that LoRA is conditioned "the same way" and no more; projected to
the rank it costs a fourteenth of a projection to the width, and stays zero with the up matrix at the start.
"""

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from piza.config import settings
from piza.errors import InputError
from piza.methods.context import ZoomProjection, current_embedding, names_with_norms


@settings()
class LoraConfig:
    """Options of the method."""

    condition: bool = True  # False: plain LoRA, which can be merged
    rank: int = Field(
        default=18, ge=1, le=65_536
    )  # the paper names none; this one gives its parameter counts
    alpha: float = Field(default=18.0, ge=-1e6, le=1e6)  # the update is multiplied by alpha / rank
    embedding_dim: int = Field(default=256, ge=4, le=65_536)  # of the zoom embedding


class LowRank(nn.Module):
    """scale * up(down(x) [+ project(silu(embedding))]): x (B, L, inputs) -> (B, L, outputs); embedding (B,
    embedding_dim).

    `up` starts at zero, so a fresh one answers zero for every x and embedding.
    """

    def __init__(
        self, inputs: int, outputs: int, rank: int, scale: float, embedding_dim: int | None = None
    ) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        self.project = ZoomProjection(embedding_dim, rank) if embedding_dim is not None else None
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))  # as the authors' code does
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """x: (batch, tokens, inputs). embedding: (batch, embedding_dim), needed by a conditioned one.

        Returns (batch, tokens, outputs).
        """
        low = self.down(x)
        if self.project is not None:
            if embedding is None:
                raise RuntimeError("a conditioned update needs a zoom embedding, got None")
            low = low + self.project(embedding)
        update: Tensor = self.scale * self.up(low)
        return update

    def matrix(self) -> Tensor:
        """(outputs, inputs): what an unconditioned update adds to the layer's weight."""
        return self.scale * self.up.weight @ self.down.weight


class LoraLinear(nn.Module):
    """Stands where a linear layer stood: that layer plus its update. x (B, L, inputs) -> (B, L, outputs)."""

    def __init__(self, linear: nn.Linear, update: LowRank) -> None:
        super().__init__()
        self.linear = linear
        self.update = update

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, inputs) -> (batch, tokens, outputs)."""
        embedding = current_embedding() if self.update.project is not None else None
        updated: Tensor = self.linear(x) + self.update(x, embedding)
        return updated


def apply(base: nn.Module, config: LoraConfig) -> None:
    """Puts the updates into `base`, a detector of either family, in place.

    Conditioned updates run inside `piza.methods.context.zoom_embedding` only. Names change only where layers are wrapped:
    `...fc1.weight` becomes `...fc1.linear.weight`, beside `...fc1.update.*`. Raises ValueError if
    `base` has updates already.
    """
    embedding = config.embedding_dim if config.condition else None
    encoder: Any = base.model.encoder  # type: ignore[union-attr]
    for layer in encoder.layers:
        image, text = layer.deformable_layer, layer.text_enhancer_layer
        places = [
            (image.self_attn, "sampling_offsets", None),
            (image.self_attn, "attention_weights", None),
            (image.self_attn, "value_proj", None),
            (image.self_attn, "output_proj", embedding),
            (image, "fc1", None),
            (image, "fc2", embedding),
            *((text.self_attn, name, None) for name in ("query", "key", "value", "out_proj")),
            (text, "fc1", None),
            (text, "fc2", None),
        ]
        for parent, name, embedding_dim in places:
            linear = getattr(parent, name)
            if not isinstance(linear, nn.Linear):
                raise ValueError(
                    f"{name} is a {type(linear).__name__}, not a linear layer: is LoRA already in place?"
                )
            update = LowRank(
                linear.in_features,
                linear.out_features,
                config.rank,
                config.alpha / config.rank,
                embedding_dim,
            ).to(linear.weight)
            setattr(parent, name, LoraLinear(linear, update))


def trained_names(root: nn.Module) -> set[str]:
    """Names, as in `root.named_parameters()`, of what this method trains in the whole model or any part of it."""
    return names_with_norms(root, (LowRank,), conditioned=_conditioned(root))


def merge(root: nn.Module) -> None:
    """Fold every update of plain LoRA into the weight it stands beside, in place: W + scale * up @ down, and
    the wrapped layers are what they were. The answers stay the same up to rounding.

    Raises InputError, and changes nothing, if LoRA is conditioned (the term scale * up(project(...)) depends
    on the progress of each look, which no fixed weight can hold) or if there is none.
    """
    found = [
        (parent, name, child)
        for parent in root.modules()
        for name, child in parent.named_children()
        if isinstance(child, LoraLinear)
    ]
    if not found:
        raise InputError("there is no LoRA in this model to merge")
    if _conditioned(root):
        raise InputError(
            "LoRA conditioned on the zoom cannot be merged: what it adds depends on the progress of each look"
        )
    with torch.no_grad():
        for parent, name, child in found:
            child.linear.weight += child.update.matrix()
            setattr(parent, name, child.linear)


def _conditioned(root: nn.Module) -> bool:
    return any(isinstance(module, LowRank) and module.project is not None for module in root.modules())
