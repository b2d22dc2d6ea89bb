"""From looks to a loss: making a batch, running the model on it, and batch norm that learns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from piza.boxes import iou_xyxy
from piza.data.scenes.relevance import RELEVANCE
from piza.data.windows import Look
from piza.model.piza import Piza
from piza.training.losses import Targets, look_loss
from piza.training.relevance import Relevance, RelevanceHead, objectness_loss, relevance_loss

SAME = 0.85  # boxes with at least this IoU are of one thing: sentences and phrases round theirs differently


@dataclass
class LookBatch:
    """Windows of one size with their sentences and targets. pictures: uint8 (batch, height, width, 3) RGB."""

    pictures: Tensor
    prompts: list[list[str]]
    progress: Tensor
    targets: list[Targets]
    relevance: list[Relevance]  # known of the first looks at scenes


def collate(looks: Sequence[Look], size: tuple[int, int], rng: np.random.Generator | None) -> LookBatch:
    """Cuts the windows to (width, height); with `rng`, in varied light."""
    looks = [look for look in looks if look.sentences]
    targets = [targets_of(look) for look in looks]
    return LookBatch(
        torch.from_numpy(np.stack([look.pixels(size, rng) for look in looks])),
        [look.sentences for look in looks],
        torch.tensor([look.progress for look in looks]),
        targets,
        [relevance_of(look) for look in looks],
    )


def targets_of(look: Look) -> Targets:
    """The targets of a look, those of several sentences taken together: one query must be free to answer them all."""
    owner: list[int] = []
    kept: list[int] = []
    for i, (answer, thing) in enumerate(zip(look.answer, look.thing, strict=True)):
        for number, other in enumerate(kept):
            if iou_xyxy(answer, look.answer[other]) > SAME and iou_xyxy(thing, look.thing[other]) > SAME:
                owner.append(number)
                break
        else:
            owner.append(len(kept))
            kept.append(i)
    says = torch.zeros(len(kept), len(look.sentences))
    for number, block in zip(owner, look.block, strict=True):
        says[number, block] = 1
    return Targets(
        says,
        torch.from_numpy(look.normalized([look.answer[i] for i in kept])),
        torch.from_numpy(look.normalized([look.thing[i] for i in kept])),
    )


def relevance_of(look: Look) -> Relevance:
    known = [relevance is not None for relevance in look.relevance]
    unknown = np.full((len(look.frame.objects), len(RELEVANCE)), 0.5)
    values = [unknown if relevance is None else relevance for relevance in look.relevance]
    return Relevance(
        torch.from_numpy(look.normalized(list(look.frame.objects))),
        torch.from_numpy(np.stack(values).astype(np.float32)),
        torch.tensor(known),
    )


def batch_loss(model: Piza, batch: LookBatch, head: RelevanceHead | None = None) -> dict[str, Tensor]:
    """The losses of a batch; with `head` also those of what the things are to its sentences, where that is known."""
    text, pooling = model.encode_prompts(batch.prompts)
    picture = model.encode_images(batch.pictures.numpy())
    grounding = model.ground(
        text, pooling, picture, batch.progress.to(model.device), per_sentence_queries=True, training=True
    )
    losses = look_loss(grounding, batch.targets, picture.shapes, per_sentence_queries=True)
    if head is not None:
        losses |= relevance_loss(head, grounding, batch.relevance) | objectness_loss(
            grounding, batch.relevance, picture.shapes
        )
        losses["loss"] = losses["loss"] + losses["relevance"] + losses["thing"] + losses["thing_box"]
    return losses


FROZEN = ("MMGroundingDinoFrozenBatchNorm2d", "GroundingDinoFrozenBatchNorm2d")


def thaw_batch_norm(model: nn.Module) -> None:
    """The library freezes every batch norm, which is right for a pretrained backbone and fatal from scratch."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in FROZEN:
                live = nn.BatchNorm2d(child.get_buffer("weight").numel())
                live.load_state_dict({**dict(child.named_buffers()), "num_batches_tracked": torch.tensor(0)})
                setattr(module, name, live)


def freeze_batch_norm(model: nn.Module) -> None:
    """Undoes `thaw_batch_norm`, with what was learned."""
    from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import (
        MMGroundingDinoFrozenBatchNorm2d,
    )

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = MMGroundingDinoFrozenBatchNorm2d(child.num_features)
                learned = ("weight", "bias", "running_mean", "running_var")
                frozen.load_state_dict({k: getattr(child, k).detach() for k in learned})
                setattr(module, name, frozen)
