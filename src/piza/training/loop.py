"""A training loop that can be stopped at any step and goes on to the same result.

Batches are a function of the step (and of the process), never of what was drawn before, so a resumed run sees what the
uninterrupted one would have seen. Started by torchrun, every process takes its own batches and gradients are averaged.
"""

import csv
import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from piza.errors import InputError
from piza.files import atomic_write


@dataclass(frozen=True)
class LoopConfig:
    steps: int  # optimisation steps in all
    lr: float  # after the warm-up; falls to a fiftieth along a cosine
    warmup: int = 60  # steps
    decay: float = 1e-4  # weight decay of matrices; norms and biases have none
    clip: float = 2.0  # gradient norm
    average: float = 0.998  # decay of the running average of the weights, which is what gets used
    save_every: float = 240.0  # seconds
    log_every: int = 20  # steps


class Batches(Dataset):
    """Wraps `make(step, process)` for a DataLoader, so that batches are made beside the training."""

    def __init__(self, make: Callable[[int, int], Any], first: int, steps: int, process: int):
        self.make, self.first, self.steps, self.process = make, first, steps, process

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> Any:
        return self.make(self.first + index, self.process)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def learning_rate(step: int, config: LoopConfig) -> float:
    rise = min(1.0, (step + 1) / config.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return config.lr * rise * (0.02 + 0.98 * fall)


def train(
    model: nn.Module,
    parameters: list[nn.Parameter],
    make_batch: Callable[[int, int], Any],
    loss_of: Callable[[nn.Module, Any], dict[str, Tensor]],
    config: LoopConfig,
    folder: str | Path,
    stop_after: int | None = None,
) -> dict[str, Tensor]:
    """Trains `parameters` and returns the averaged weights, which are also put into the model.

    Args:
        make_batch: (step, process) -> batch; called in a worker process.
        loss_of: (model, batch) -> named losses; "loss" is minimised, all are logged.
        folder: holds `log.csv` and `checkpoint.safetensors`; a checkpoint found there is continued.
        stop_after: leave (with a checkpoint) after this step, as an interruption would.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    processes, process = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if processes > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    optimizers = make_optimizers(model, parameters, config)
    average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    first = 0
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists():
        first = _resume(checkpoint, model, optimizers, average, config)
    end = config.steps if stop_after is None else min(stop_after, config.steps)
    loader: Iterable[Any] = (
        DataLoader(
            Batches(make_batch, first, end, process),
            batch_size=None,
            num_workers=1,
            prefetch_factor=3,
            worker_init_fn=_one_thread,
            multiprocessing_context="fork",
        )
        if end > first
        else []
    )
    saved = started = time.monotonic()
    sums: dict[str, float] = {}
    count = 0  # steps since the last line of the log
    for step, batch in enumerate(loader, start=first):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(step, config)
        losses = loss_of(model, batch)
        model.zero_grad(set_to_none=True)
        losses["loss"].backward()
        _average_gradients(parameters, processes)
        norm = nn.utils.clip_grad_norm_(parameters, config.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {step}; the last checkpoint is untouched"
            )
        for optimizer in optimizers:
            optimizer.step()
        keep = min(config.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    average[name].lerp_(tensor, 1 - keep)
                else:
                    average[name].copy_(tensor)
        for name, value in {**losses, "norm": norm}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        count += 1
        if process == 0:
            if (step + 1) % config.log_every == 0:
                row = {k: round(v / count, 4) for k, v in sums.items()}
                pace = (time.monotonic() - started) / (step + 1 - first)
                left = round((config.steps - step - 1) * pace)
                _log(
                    folder / "log.csv",
                    {"step": step + 1, **row, "s_per_step": round(pace, 3), "s_left": left},
                )
                sums, count = {}, 0
            if time.monotonic() - saved > config.save_every or step + 1 == end:
                _save(checkpoint, model, optimizers, average, step + 1, config)
                saved = time.monotonic()
    model.load_state_dict(average)
    return average


def make_optimizers(
    model: nn.Module, parameters: list[nn.Parameter], config: LoopConfig
) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of linear layers, AdamW for all else.

    Muon's updates are scaled to AdamW's size, so one learning rate serves both.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = [p for p in parameters if p.ndim == 2 and min(p.shape) >= 16 and id(p) not in tables]
    taken = {id(p) for p in linear}
    rest = [p for p in parameters if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.lr)]
    if linear:
        decay = 10 * config.decay
        found.append(
            torch.optim.Muon(linear, lr=config.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return found


def _average_gradients(parameters: list[nn.Parameter], processes: int) -> None:
    if processes == 1:
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    flat = torch.cat([p.grad.reshape(-1) for p in parameters])  # type: ignore[union-attr]
    dist.all_reduce(flat)
    flat /= processes
    for p, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad.copy_(piece.view_as(p))  # type: ignore[union-attr]


def _log(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _unique(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Clones, because safetensors refuses tensors that share memory (tied heads)."""
    return {prefix + name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def _save(
    path: Path, model: nn.Module, optimizers, average: dict[str, Tensor], step: int, config: LoopConfig
) -> None:
    tensors = {**_unique(model.state_dict(), "model."), **_unique(average, "average.")}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= _unique(state, f"optimizer.{number}.{index}.")
    meta = {"step": str(step), "config": json.dumps(asdict(config))}
    with atomic_write(path) as part:
        save_file(tensors, part, metadata=meta)


def _resume(path: Path, model: nn.Module, optimizers, average: dict[str, Tensor], config: LoopConfig) -> int:
    with safe_open(path, "pt") as file:
        meta = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    before = json.loads(meta["config"])
    if (before["steps"], before["lr"]) != (config.steps, config.lr):
        raise InputError(
            f"{path} was written by a run of {before['steps']} steps at {before['lr']}, this one has {config.steps} at"
            f" {config.lr}; give another folder or the same schedule."
        )
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for name in average:
        average[name].copy_(tensors["average." + name])
    for number, optimizer in enumerate(optimizers):
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer.{number}."):
                _, _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return int(meta["step"])
