"""The loss of fine-tuning: what a model should answer in some windows of a step."""

from contextlib import nullcontext

import torch
from torch import Tensor

from piza.model.grounder import Grounding
from piza.model.piza import Piza
from piza.training.batches import WindowBatch
from piza.training.listing import ListedFrames, listing_loss
from piza.training.losses import look_loss
from piza.training.samples import MicroBatch
from piza.training.token_scores import by_sentence

NOT_LOGGED = ("loss", "right", "missing")  # of a list's numbers: the sum, and two that are no losses


def micro_batch_loss(model: Piza, part: MicroBatch, precision: str = "fp32") -> dict[str, Tensor]:
    """The losses of some windows of a step, weighted by their share of it; "loss" is their sum.

    Those of lists begin with "list_". `precision`: "bf16" for matrix products in bfloat16.
    """
    if isinstance(part.batch, ListedFrames):
        found = listing_loss(model, part.batch)
        losses = {f"list_{name}": value for name, value in found.items() if name not in NOT_LOGGED}
        losses["loss"] = found["loss"]
    else:
        losses = window_loss(model, part.batch, precision)
    return {name: value * part.share for name, value in losses.items()}


def window_loss(model: Piza, batch: WindowBatch, precision: str = "fp32") -> dict[str, Tensor]:
    """The losses of windows of one size, "loss" being their sum."""
    device, halved = model.device, precision == "bf16"
    # Scores of tokens cannot be answered by queries of each sentence's own.
    per_sentence_queries = model.config.pooling == "mean"
    with torch.autocast(device.type, torch.bfloat16) if halved else nullcontext():
        text, pooling = model.encode_prompts(batch.prompts)
        features = model.encode_images(batch.images.numpy())
        grounding = model.ground(
            text, pooling, features, batch.progress.to(device), per_sentence_queries, training=True
        )
    if halved:
        grounding = Grounding(*(getattr(grounding, f).float() for f in grounding.__dataclass_fields__))
    targets = [targets.to(device) for targets in batch.targets]
    if not per_sentence_queries:
        grounding, targets = by_sentence(grounding, pooling, targets)
    return look_loss(grounding, targets, features.shapes, per_sentence_queries)
