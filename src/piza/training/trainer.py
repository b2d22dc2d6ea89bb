"""A training loop that can be stopped at any step and goes on to the same result.

Batches are a function of the step (and of the process), never of what was drawn before, so a resumed run sees what the
uninterrupted one would have seen. Started by torchrun or accelerate, every process takes its own batches and gradients are
averaged.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from piza.errors import InputError, reason
from piza.files import atomic_write
from piza.training.log import Log


@dataclass(frozen=True)
class LoopConfig:
    steps: int  # optimization steps in all
    lr: float  # after the warm-up; falls to a fiftieth along a cosine
    warmup: int = 60  # steps
    decay: float = 1e-4  # weight decay of matrices; norms and biases have none
    clip: float = 2.0  # gradient norm
    average: float = 0.998  # decay of the running average of the weights, which is what gets used
    save_every: float = 240.0  # seconds
    log_every: int = 20  # steps
    drop_at: float | None = None  # instead of the cosine: a tenth of the rate from this share of the steps on
    muon: bool = True  # for the matrices of linear layers; False: AdamW for all
    slow: float = 0.1  # the rate of `slow` parameters, as a share of the others'
    seed: int | None = None  # with it, dropout is a function of seed, step and process too
    workers: int = 1  # processes that make batches


@dataclass
class MicroBatches:
    """Batches of one step that go through the model one after the other; their losses are added up."""

    batches: list[Any]


class Batches(Dataset):
    """Wraps `make(step, process)` for a DataLoader, so that batches are made beside the training."""

    def __init__(self, make: Callable[[int, int], Any], first: int, steps: int, process: int):
        self.make, self.first, self.steps, self.process = make, first, steps, process

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> Any:
        try:
            return self.make(self.first + index, self.process)
        except InputError as error:  # handed over: raised in here it would arrive as a traceback
            return error


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # Ctrl-C is meant for the training, which ends its workers itself
        signal.signal(number, signal.SIG_IGN)


def learning_rate(step: int, config: LoopConfig) -> float:
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    if config.drop_at is not None:
        return config.lr * rise * (1.0 if step < config.drop_at * config.steps else 0.1)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return config.lr * rise * (0.02 + 0.98 * fall)


def join_processes(device: torch.device | str = "cpu") -> tuple[int, int]:
    """(how many processes train, which of them this is), as the environment says; more than one are brought together."""
    processes, process = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if processes > 1 and not dist.is_initialized():
        # The others wait while the first one evaluates.
        backend = "nccl" if torch.device(device).type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(hours=6))
    return processes, process


def train(
    model: nn.Module,
    parameters: list[nn.Parameter],
    make_batch: Callable[[int, int], Any],
    loss_of: Callable[[nn.Module, Any], dict[str, Tensor]],
    config: LoopConfig,
    folder: str | Path,
    stop_after: int | None = None,
    *,
    names: set[str] | None = None,
    slow: Iterable[nn.Parameter] = (),
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    save_at: int | None = None,
    after_step: Callable[[int, dict[str, Tensor]], None] | None = None,
    after_line: Callable[[dict[str, Any]], None] | None = None,
    say: Callable[[str], None] = lambda text: print(f"piza: {text}", file=sys.stderr, flush=True),
) -> dict[str, Tensor]:
    """Trains `parameters` and returns the averaged weights, which are also put into the model.

    Args:
        make_batch: (step, process) -> batch, or `MicroBatches`; called in a worker process.
        loss_of: (model, batch) -> named losses; "loss" is minimized, all are logged.
        folder: holds `log.csv` and `checkpoint.safetensors`; a checkpoint found there is continued.
        stop_after: leave (with a checkpoint) after this step, as an interruption would.
        names: of the model's state, what is averaged and kept in checkpoints; None for all of it. What training does not
            change need not be kept.
        slow: parameters that learn at `config.slow` times the rate.
        device: where the model is.
        stop: asked after every step; True leaves with a checkpoint, in all processes if in one.
        save_at: save at every multiple of this step too, beside `config.save_every`.
        after_step: called with the number of steps done and the averaged weights, in the first process only.
        after_line: called with every line of the log, in the first process only.
        say: told, in a sentence, that a checkpoint could not be written; training goes on and tries again.

    Raises:
        InputError: for a checkpoint of another schedule, or when the last checkpoint cannot be written.
        FloatingPointError: when the gradient is not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    processes, process = join_processes(device)
    optimizers = make_optimizers(model, parameters, config, slow)
    state = model.state_dict()
    average = {
        name: tensor.detach().clone() for name, tensor in state.items() if names is None or name in names
    }
    first = 0
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists():
        first = _resume(checkpoint, model, optimizers, average, config)
    log = Log(folder / "log.csv", keep_to=first) if process == 0 else None
    end = config.steps if stop_after is None else min(stop_after, config.steps)
    loader: Iterable[Any] = (
        DataLoader(
            Batches(make_batch, first, end, process),
            batch_size=None,
            num_workers=config.workers,
            prefetch_factor=3,
            worker_init_fn=_start_worker,
            multiprocessing_context="fork",
        )
        if end > first
        else []
    )
    saved = started = time.monotonic()
    kept = first  # the step of the checkpoint that stands
    sums: dict[str, float] = {}
    count = 0  # steps since the last line of the log
    for step, batch in enumerate(loader, start=first):
        if isinstance(batch, InputError):
            if process == 0 and kept < step:
                _try_save(checkpoint, model, optimizers, average, step, config)
            raise batch
        if config.seed is not None:
            torch.manual_seed(_mixed(config.seed, step, process))
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(step, config) * group.get("share", 1.0)
        model.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        for part in batch.batches if isinstance(batch, MicroBatches) else [batch]:
            found = loss_of(model, part)
            found["loss"].backward()
            for name, value in found.items():
                losses[name] = losses.get(name, 0.0) + float(value.detach())
        stopping = _average_gradients(parameters, processes, stop())
        norm = nn.utils.clip_grad_norm_(parameters, config.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {step}; the last checkpoint is untouched"
            )
        for optimizer in optimizers:
            optimizer.step()
        keep = min(config.average, (1 + step) / (10 + step))
        with torch.no_grad():
            state = model.state_dict()
            for name, mean in average.items():
                if mean.is_floating_point():
                    mean.lerp_(state[name], 1 - keep)
                else:
                    mean.copy_(state[name])
        for name, amount in {**losses, "norm": float(norm)}.items():
            sums[name] = sums.get(name, 0.0) + amount
        count += 1
        last = stopping or step + 1 == end
        if process == 0:
            line: dict[str, Any] = {}
            if (step + 1) % config.log_every == 0 or last:
                row = {k: round(v / count, 4) for k, v in sums.items()}
                pace = (time.monotonic() - started) / (step + 1 - first)
                left = round((config.steps - step - 1) * pace)
                rate = float(f"{learning_rate(step, config):.3g}")
                line = {"step": step + 1, **row, "lr": rate, "s_per_step": round(pace, 3), "s_left": left}
                assert log is not None
                log.add(line)
                sums, count = {}, 0
            due = time.monotonic() - saved > config.save_every or bool(save_at and (step + 1) % save_at == 0)
            if last or due:
                problem = _try_save(checkpoint, model, optimizers, average, step + 1, config)
                saved = time.monotonic()
                if problem is None:
                    kept = step + 1
                else:
                    sentence = f"the checkpoint of step {step + 1} cannot be written ({problem}); " + (
                        f"that of step {kept} stands" if kept else "there is none yet"
                    )
                    if last:
                        raise InputError(f"{sentence}, and the same command goes on from there")
                    say(f"{sentence}, training goes on and will try again")
            if after_step is not None:
                after_step(step + 1, average)
            if line and after_line is not None:
                after_line(line)
        if stopping:
            break
    model.load_state_dict(average, strict=names is None)
    return average


def make_optimizers(
    model: nn.Module, parameters: list[nn.Parameter], config: LoopConfig, slow: Iterable[nn.Parameter] = ()
) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of linear layers, if wished, and AdamW for all else.

    Muon's updates are scaled to AdamW's size, so one learning rate serves both.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    behind = {id(p) for p in slow}
    found: list[torch.optim.Optimizer] = []
    groups: list[dict[str, Any]] = []
    matrices: list[dict[str, Any]] = []
    for share, chosen in (
        (1.0, [p for p in parameters if id(p) not in behind]),
        (config.slow, [p for p in parameters if id(p) in behind]),
    ):
        linear = [
            p for p in chosen if config.muon and p.ndim == 2 and min(p.shape) >= 16 and id(p) not in tables
        ]
        taken = {id(p) for p in linear}
        rest = [p for p in chosen if id(p) not in taken]
        if share == 1.0 or rest:
            groups += [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.decay, "share": share},
                {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "share": share},
            ]
        if linear:
            matrices.append({"params": linear, "share": share})
    found.append(torch.optim.AdamW(groups, lr=config.lr))
    if matrices:
        decay = 10 * config.decay
        found.append(
            torch.optim.Muon(matrices, lr=config.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return found


def _mixed(seed: int, step: int, process: int) -> int:
    """One number of three, so that no two steps or processes drop out the same units."""
    return ((seed * 1_000_003 + step) * 4_099 + process) % 2**63


def _average_gradients(parameters: list[nn.Parameter], processes: int, stop: bool) -> bool:
    """Averages gradients over the processes. Returns whether any of them wants to stop."""
    if processes == 1:
        return stop
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    pieces = [p.grad.reshape(-1) for p in parameters]  # type: ignore[union-attr]
    flat = torch.cat([*pieces, pieces[0].new_full((1,), float(stop))])
    dist.all_reduce(flat)
    flat /= processes
    for p, piece in zip(parameters, flat[:-1].split([p.numel() for p in parameters]), strict=True):
        p.grad.copy_(piece.view_as(p))  # type: ignore[union-attr]
    return bool(flat[-1] > 0)


def _unique(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Clones, because safetensors refuses tensors that share memory (tied heads)."""
    return {prefix + name: t.detach().to("cpu", copy=True).contiguous() for name, t in state.items()}


def _try_save(*arguments: Any) -> str | None:
    """`_save`; returns why it could not be done."""
    try:
        _save(*arguments)
    except (OSError, SafetensorError, InputError) as error:
        return reason(error)
    return None


def _save(
    path: Path, model: nn.Module, optimizers, average: dict[str, Tensor], step: int, config: LoopConfig
) -> None:
    state = model.state_dict()
    tensors = {**_unique({name: state[name] for name in average}, "model."), **_unique(average, "average.")}
    for number, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= _unique(moments, f"optimizer.{number}.{index}.")
    meta = {"step": str(step), "config": json.dumps(asdict(config))}
    with atomic_write(path) as part:
        save_file(tensors, part, metadata=meta)


def _resume(path: Path, model: nn.Module, optimizers, average: dict[str, Tensor], config: LoopConfig) -> int:
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        before = json.loads(meta["config"])
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no checkpoint that can be read: {reason(error)}") from None
    if (before["steps"], before["lr"]) != (config.steps, config.lr):
        raise InputError(
            f"{path} was written by a run of {before['steps']} steps at {before['lr']}, this one has {config.steps} at"
            f" {config.lr}; give another folder or the same schedule."
        )
    given = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
    if given.keys() != average.keys():
        raise InputError(f"{path} is of another model; give another folder.")
    model.load_state_dict(given, strict=len(given) == len(model.state_dict()))
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


def peek(folder: str | Path) -> int:
    """The step of the checkpoint in a folder; 0 where there is none."""
    path = Path(folder) / "checkpoint.safetensors"
    if not path.exists():
        return 0
    try:
        with safe_open(path, "pt") as file:
            return int(file.metadata()["step"])
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no checkpoint that can be read: {reason(error)}") from None
