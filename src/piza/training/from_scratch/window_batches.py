"""Batches of windows of drawn scenes, with what is known of the objects in them, and the losses of the base model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from piza.data.windows import TrainingWindow
from piza.model.piza import Piza
from piza.training.batches import WindowBatch, collate
from piza.training.from_scratch.relevance import (
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


def scene_loss(model: Piza, batch: SceneBatch, head: RelevanceHead | None = None) -> dict[str, Tensor]:
    """The losses of a batch, "loss" being their sum; with `head` also those of objects and their relevance."""
    text, pooling = model.encode_prompts(batch.prompts)
    features = model.encode_images(batch.images.numpy())
    grounding = model.ground(
        text, pooling, features, batch.progress.to(model.device), per_sentence_queries=True, training=True
    )
    losses = look_loss(grounding, batch.targets, features.shapes, per_sentence_queries=True)
    if head is not None:
        losses |= relevance_loss(head, grounding, batch.relevance)
        losses |= objectness_loss(grounding, batch.relevance, features.shapes)
        losses["loss"] = losses["loss"] + losses["relevance"] + losses["object"] + losses["object_box"]
    return losses
