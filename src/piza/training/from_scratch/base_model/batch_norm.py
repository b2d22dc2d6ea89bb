"""Batch norm that learns: the library freezes it, which is right for a pretrained backbone and fatal from scratch."""

import torch
from torch import nn

from piza.model.families import FROZEN_BATCH_NORMS, MM_GROUNDING_DINO


def thaw_batch_norm(model: nn.Module) -> None:
    """Replace the library's frozen batch norms by `nn.BatchNorm2d` with the same values."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, FROZEN_BATCH_NORMS):
                live = nn.BatchNorm2d(child.get_buffer("weight").numel())
                live.load_state_dict({**dict(child.named_buffers()), "num_batches_tracked": torch.tensor(0)})
                setattr(module, name, live)


def freeze_batch_norm(model: nn.Module) -> None:
    """Undo `thaw_batch_norm`, with what was learned; both families' frozen norms are alike."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = MM_GROUNDING_DINO.frozen_batch_norm(child.num_features)
                learned = ("weight", "bias", "running_mean", "running_var")
                frozen.load_state_dict({k: getattr(child, k).detach() for k in learned})
                setattr(module, name, frozen)
