"""Learning-rate schedules and optimizers."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from piza.training.trainer_config import TrainerConfig

MIN_MUON_SIDE = 16  # smaller matrices are left to AdamW


def learning_rate(step: int, config: TrainerConfig) -> float:
    """The rate of a step, counted from 0: a linear warm-up, then a cosine down to a fiftieth, or a drop to a tenth."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    if config.drop_at is not None:
        return config.lr * rise * (1.0 if step < config.drop_at * config.steps else 0.1)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return config.lr * rise * (0.02 + 0.98 * fall)


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Set the rate of all groups; a group's "share" is its fraction of it."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)


def make_optimizers(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    config: TrainerConfig,
    backbone_params: Iterable[nn.Parameter] = (),
) -> list[torch.optim.Optimizer]:
    """AdamW, and if `config.muon` is set, Muon (Jordan et al. 2024) for the matrices of linear layers.

    Muon's updates are scaled to AdamW's size, so one learning rate serves both. `backbone_params` learn at `config.backbone_lr`
    times the rate. Norms and biases have no weight decay.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    backbone = {id(p) for p in backbone_params}
    groups: list[dict[str, Any]] = []
    matrices: list[dict[str, Any]] = []
    for share, chosen in (
        (1.0, [p for p in parameters if id(p) not in backbone]),
        (config.backbone_lr, [p for p in parameters if id(p) in backbone]),
    ):
        linear = [p for p in chosen if config.muon and _is_matrix(p) and id(p) not in tables]
        taken = {id(p) for p in linear}
        rest = [p for p in chosen if id(p) not in taken]
        if share == 1.0 or rest:
            decayed, free = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
            groups += [
                {"params": decayed, "weight_decay": config.weight_decay, "share": share},
                {"params": free, "weight_decay": 0.0, "share": share},
            ]
        if linear:
            matrices.append({"params": linear, "share": share})
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.lr)]
    if matrices:
        decay = 10 * config.weight_decay
        optimizers.append(
            torch.optim.Muon(matrices, lr=config.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimizers


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and min(parameter.shape) >= MIN_MUON_SIDE
