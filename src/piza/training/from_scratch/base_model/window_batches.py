"""Batches of windows of drawn scenes, with what is known of the objects in them, and the losses of the base model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from piza.data.windows import TrainingWindow
from piza.model.piza import Piza
from piza.training.batches import WindowBatch, collate
from piza.training.from_scratch.base_model.relevance import (
    Relevance,
    RelevanceHead,
    objectness_loss,
    relevance_loss,
    relevance_of,
)
from piza.training.losses import look_loss


@dataclass
class SceneBatch(WindowBatch):
    """A batch with what is known of the objects of each window."""

    relevance: list[Relevance]


def collate_scenes(
    windows: Sequence[TrainingWindow], size: tuple[int, int], rng: np.random.Generator | None
) -> SceneBatch:
    """As `piza.training.batches.collate`, with what is known of the objects."""
    windows = [window for window in windows if window.sentences]
    batch = collate(windows, size, None if rng is None else [rng] * len(windows))
    relevance = [relevance_of(window) for window in windows]
    return SceneBatch(batch.images, batch.prompts, batch.progress, batch.targets, relevance)


def scene_loss(
    model: Piza, batch: SceneBatch, head: RelevanceHead | None = None, objects: bool = False
) -> dict[str, Tensor]:
    """The losses of a batch, "loss" being their sum; with `objects` also those of objects, with `head` these and that of
    relevance."""
    text, pooling = model.encode_prompts(batch.prompts)
    features = model.encode_images(batch.images.numpy())
    grounding = model.ground(
        text, pooling, features, batch.progress.to(model.device), per_sentence_queries=True, training=True
    )
    losses = look_loss(grounding, batch.targets, features.shapes, per_sentence_queries=True)
    more: dict[str, Tensor] = {}
    if head is not None:
        more |= relevance_loss(head, grounding, batch.relevance)
    if objects or head is not None:
        more |= objectness_loss(grounding, batch.relevance, features.shapes)
    if more:
        losses = losses | more | {"loss": torch.stack([losses["loss"], *more.values()]).sum()}
    return losses
