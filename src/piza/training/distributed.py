"""Training with several processes, as torchrun or accelerate starts them: each takes its own batches, gradients are averaged."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

Value = TypeVar("Value")


def join_processes(device: torch.device | str = "cpu") -> tuple[int, int]:
    """(number of processes, index of this one) as the environment says; if there are more than one, they are connected."""
    processes, process = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if processes > 1 and not dist.is_initialized():
        # Some may wait for others: the first one trains the box-history encoder, and shares of a validation differ.
        backend = "nccl" if torch.device(device).type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(hours=6))
    return processes, process


def wait_for_all(processes: int) -> None:
    """Return when every process has come here."""
    if processes > 1:
        dist.barrier()


def gather(value: Value, processes: int) -> list[Value]:
    """The values that all processes give, in their order; any that can be pickled."""
    if processes == 1:
        return [value]
    values: list[Any] = [None] * processes
    dist.all_gather_object(values, value)
    return values


def average_gradients(parameters: Sequence[nn.Parameter], processes: int, stop: bool) -> bool:
    """Average gradients over the processes. Returns whether `stop` is set in any of them."""
    if processes == 1:
        return stop
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat(
        [*(gradient.reshape(-1) for gradient in gradients), gradients[0].new_full((1,), float(stop))]
    )
    dist.all_reduce(flat)
    flat /= processes
    pieces = torch.split(flat[:-1], [gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))
    return bool(flat[-1] > 0)
