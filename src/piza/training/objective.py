"""The loss of fine-tuning: what a model should answer in some windows of a step."""

import torch
from torch import Tensor

from piza.errors import InputError
from piza.model.grounder import Grounding
from piza.model.piza import Piza
from piza.training.batches import WindowBatch
from piza.training.listing import ListedFrames, listing_loss
from piza.training.losses import look_loss
from piza.training.samples import MicroBatch
from piza.training.token_scores import by_sentence

NOT_LOGGED = ("loss", "right", "missing")  # of a list's numbers: the sum, and two that are no losses


def micro_batch_loss(model: Piza, part: MicroBatch) -> dict[str, Tensor]:
    """The losses of some windows of a step, weighted by their share of it; "loss" is their sum.

    Those of lists begin with "list_", and are always computed in float32.
    """
    if isinstance(part.batch, ListedFrames):
        with torch.autocast(model.device.type, enabled=False):
            found = listing_loss(model, part.batch)
        losses = {f"list_{name}": value for name, value in found.items() if name not in NOT_LOGGED}
        losses["loss"] = found["loss"]
    else:
        losses = window_loss(model, part.batch)
    return {name: value * part.share for name, value in losses.items()}


def window_loss(model: Piza, batch: WindowBatch) -> dict[str, Tensor]:
    """The losses of windows of one size, "loss" being their sum.

    The model answers in the precision of the autocast around it, if there is one; losses are computed in float32. Raises
    InputError for a single window that is too small for the model's norms.
    """
    device = model.device
    # Scores of tokens cannot be answered by queries of each sentence's own.
    per_sentence_queries = model.config.token_pooling == "mean"
    text, pooling = model.encode_prompts(batch.prompts)
    try:
        features = model.encode_images(batch.images.numpy())
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        rows, columns = batch.images.shape[1:3]
        raise InputError(
            f"one window of {columns} x {rows} pixels is too small to train on: its coarsest features are one cell; give a "
            "larger --first-pixels and --later-pixels, or a larger --batch"
        ) from None
    grounding = model.ground(
        text, pooling, features, batch.progress.to(device), per_sentence_queries, training=True
    )
    with torch.autocast(device.type, enabled=False):
        grounding = Grounding(*(getattr(grounding, f).float() for f in grounding.__dataclass_fields__))
        targets = [targets.to(device) for targets in batch.targets]
        if not per_sentence_queries:
            grounding, targets = by_sentence(grounding, pooling, targets)
        return look_loss(grounding, targets, features.shapes, per_sentence_queries)
