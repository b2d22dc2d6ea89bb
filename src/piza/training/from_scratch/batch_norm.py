"""Batch norm that learns: the library freezes it, which is right for a pretrained backbone and fatal from scratch."""

import torch
from torch import nn

FROZEN = ("MMGroundingDinoFrozenBatchNorm2d", "GroundingDinoFrozenBatchNorm2d")


def thaw_batch_norm(model: nn.Module) -> None:
    """Replace the library's frozen batch norms by `nn.BatchNorm2d` with the same values."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in FROZEN:
                live = nn.BatchNorm2d(child.get_buffer("weight").numel())
                live.load_state_dict({**dict(child.named_buffers()), "num_batches_tracked": torch.tensor(0)})
                setattr(module, name, live)


def freeze_batch_norm(model: nn.Module) -> None:
    """Undo `thaw_batch_norm`, with what was learned."""
    from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import (
        MMGroundingDinoFrozenBatchNorm2d,
    )

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = MMGroundingDinoFrozenBatchNorm2d(child.num_features)  # type: ignore[no-untyped-call]
                learned = ("weight", "bias", "running_mean", "running_var")
                frozen.load_state_dict({k: getattr(child, k).detach() for k in learned})
                setattr(module, name, frozen)
