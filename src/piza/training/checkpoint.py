"""Checkpoints: weights, their average, and the optimizers' state at a step, in one checked file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from piza.devices import lacks_memory
from piza.errors import InputError, reason
from piza.training.averaging import WeightAverage
from piza.training.distributed import shard_like, whole
from piza.training.tensor_files import load_tensors, read_metadata, save_tensors
from piza.training.trainer_config import TrainerConfig

CHECKPOINT = "checkpoint.safetensors"
KIND = "checkpoint"
_MODEL, _AVERAGE, _OPTIMIZER = "model.", "average.", "optimizer."


def checkpoint_step(folder: str | Path) -> int:
    """The step of the checkpoint in a folder; 0 where there is none. Raises InputError when it cannot be read."""
    path = Path(folder) / CHECKPOINT
    if not path.exists():
        return 0
    return _step(path, read_metadata(path, KIND))


def averaged_weights(folder: str | Path) -> dict[str, Tensor]:
    """The averaged weights of a finished or running training in a folder, by name in the model's state."""
    tensors, _ = load_tensors(Path(folder) / CHECKPOINT, KIND)
    return _with_prefix(tensors, _AVERAGE)


def save_checkpoint(
    path: Path,
    average: WeightAverage,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    config: TrainerConfig,
    write: bool = True,
) -> str | None:
    """Write a checkpoint of `step` steps done; returns why that could not be done, None if it was.

    It holds the whole tensors of a sharded model, which all processes give together; `write`: this one writes.
    """
    try:
        state = average.model.state_dict()
        tensors = _copies({name: state[name] for name in average.tensors}, _MODEL)
        tensors |= _copies(average.tensors, _AVERAGE)
        for number, optimizer in enumerate(optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= _copies(moments, f"{_OPTIMIZER}{number}.{index}.")
        if write:
            save_tensors(tensors, path, {"step": str(step), "config": json.dumps(asdict(config))})
    except (OSError, SafetensorError, InputError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not lacks_memory(error):
            raise
        return reason(error)
    return None


def load_checkpoint(
    path: Path,
    average: WeightAverage,
    optimizers: Sequence[torch.optim.Optimizer],
    config: TrainerConfig,
) -> int:
    """Put a checkpoint into the model, its average and the optimizers; returns the number of steps done.

    Raises InputError when it cannot be read, is damaged, or is of another model or schedule; nothing is changed then.
    """
    tensors, metadata = load_tensors(path, KIND)
    step = _step(path, metadata)
    _require_schedule(path, metadata, config)
    weights, means = _with_prefix(tensors, _MODEL), _with_prefix(tensors, _AVERAGE)
    model, state = average.model, average.model.state_dict()
    for given in (weights, means):
        if given.keys() != average.tensors.keys() or any(
            given[name].shape != state[name].shape for name in given
        ):
            raise InputError(f"{str(path)!r} is a checkpoint of another model; give another folder")
    moments: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    trained = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in optimizers]
    try:
        for name, tensor in _with_prefix(tensors, _OPTIMIZER).items():
            number, index, key = name.split(".")
            parameter = trained[int(number)][int(index)]
            if tensor.shape == parameter.shape:  # a moment, and not a number of steps
                tensor = shard_like(tensor, parameter)
            moments[int(number)].setdefault(int(index), {})[key] = tensor
        for optimizer, states in zip(optimizers, moments, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{str(path)!r} is a checkpoint of another optimizer: {reason(error)}") from None
    for name, weight in weights.items():
        weights[name] = shard_like(weight, state[name])
    model.load_state_dict(weights, strict=len(weights) == len(state))
    for name, mean in average.tensors.items():
        mean.copy_(shard_like(means[name], mean))
    return step


def _require_schedule(path: Path, metadata: Mapping[str, str], config: TrainerConfig) -> None:
    try:
        before: dict[str, Any] = json.loads(metadata["config"])
        steps, lr = before["steps"], before["lr"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} is not a {KIND} that can be read: {reason(error)}") from None
    if (steps, lr) != (config.steps, config.lr):
        raise InputError(
            f"{str(path)!r} was written by a run of {steps} steps at a rate of {lr}, this one has {config.steps} at "
            f"{config.lr}; give another folder or the same schedule"
        )


def _step(path: Path, metadata: Mapping[str, str]) -> int:
    try:
        step = int(metadata["step"])
    except (ValueError, KeyError):
        raise InputError(f"{str(path)!r} is not a {KIND} that can be read: it names no step") from None
    if step < 0:
        raise InputError(f"{str(path)!r} is not a {KIND} that can be read: its step is {step}")
    return step


def _copies(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Copies, because safetensors refuses tensors that share memory (tied heads)."""
    return {prefix + name: whole(t).detach().to("cpu", copy=True).contiguous() for name, t in state.items()}


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name begins so, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
