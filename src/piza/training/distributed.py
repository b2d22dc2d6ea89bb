"""The processes, the device and the precision of a training, as Hugging Face accelerate's launcher or torchrun start them."""

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from piza.devices import AUTO, check_device
from piza.errors import InputError, reason

if TYPE_CHECKING:
    from accelerate import Accelerator

Value = TypeVar("Value")
PRECISIONS = {"fp32": "no", "bf16": "bf16"}  # our names, and those of accelerate


def connect(device: str | torch.device = AUTO, precision: str | None = None) -> "Accelerator":
    """Connect this process with the others that were started with it, if there are any.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps"; of several processes, each takes the card of its number.
        precision: "fp32" or "bf16"; None: what the launcher says, otherwise "fp32".

    Raises:
        InputError: when accelerate is not installed, the device cannot be used, or the launcher asks for what is not there.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import (
            DistributedDataParallelKwargs,
            GradientAccumulationPlugin,
            InitProcessGroupKwargs,
        )
    except ImportError:
        raise InputError("training needs accelerate; install it with pip install 'piza[train]'") from None
    name = _device(str(device))
    mixed_precision = _mixed_precision(precision)
    # An earlier training of this program may have had another device or precision; its process group stays.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Loading in the first process only would untie what the heads of a detector share.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    launched_for = os.environ.get("ACCELERATE_TORCH_DEVICE")
    os.environ["ACCELERATE_TORCH_DEVICE"] = name
    try:
        accelerator = Accelerator(
            cpu=name == "cpu",
            mixed_precision=mixed_precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # --micro-batch does that
            kwargs_handlers=[
                # Some may wait for others: the first one trains the box-history encoder, and shares of a validation differ.
                InitProcessGroupKwargs(timeout=timedelta(hours=6)),
                # A micro-batch need not use every parameter; buffers are each process's own.
                DistributedDataParallelKwargs(
                    find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
                ),
            ],
        )
    except (ValueError, ImportError, RuntimeError) as error:
        raise InputError(f"accelerate cannot start here: {reason(error)}") from None
    finally:
        if launched_for is None:
            del os.environ["ACCELERATE_TORCH_DEVICE"]
        else:
            os.environ["ACCELERATE_TORCH_DEVICE"] = launched_for
    _check_kind(accelerator)
    if accelerator.device.type == "cuda" and accelerator.device.index is not None:
        torch.cuda.set_device(accelerator.device)
    if accelerator.is_fsdp2:
        # Weights stay float32 wherever they are; autocast halves products, sharded or not.
        accelerator.state.fsdp_plugin.mixed_precision_policy = None
    return accelerator


def _device(asked: str) -> str:
    """The device that this process computes on, by its full name."""
    processes, local_rank = int(os.environ.get("WORLD_SIZE", 1)), os.environ.get("LOCAL_RANK")
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if asked == AUTO and on_cpu:
        return "cpu"
    name = check_device(asked, None if local_rank is None else int(local_rank))
    if on_cpu and name != "cpu":
        raise InputError(
            f"accelerate's launcher asks for the cpu, --device for {asked!r}; expected one of them"
        )
    if processes > 1 and (name == "mps" or re.fullmatch("cuda:[0-9]+", asked)):
        raise InputError(
            f"several processes train on the cpu or on a card each, expected --device auto, cpu or cuda, got {asked!r}"
        )
    return name


def _mixed_precision(precision: str | None) -> str:
    """The precision as accelerate calls it."""
    if precision is not None:
        return PRECISIONS[precision]
    launched_with = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if launched_with not in PRECISIONS.values():
        raise InputError(
            f"accelerate's launcher asks for the precision {launched_with!r}; expected no or bf16, or --precision"
        )
    return launched_with


def _check_kind(accelerator: "Accelerator") -> None:
    """Raise InputError unless accelerate trains in a way that is meant by what it was started with, and that is ours."""
    kind = accelerator.distributed_type.value
    asks_for_shards = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if asks_for_shards and not accelerator.is_fsdp2:
        raise InputError(
            "accelerate is asked to shard the model (FSDP), which it does on several graphics cards only, and here by "
            f"--fsdp_version 2 only; got {accelerator.num_processes} processes on {accelerator.device.type!r}"
        )
    if kind not in ("NO", "MULTI_CPU", "MULTI_GPU", "FSDP"):
        raise InputError(
            f"accelerate is configured for {kind}; expected one process, several, or FSDP of version 2"
        )


def gather(value: Value) -> list[Value]:
    """The values that all processes give, in their order; any that can be pickled."""
    from accelerate.utils import gather_object

    values: list[Value] = gather_object([value])
    return values


def whole(tensor: Any) -> Tensor:
    """A tensor that FSDP may have sharded, put together; then all processes have to ask for it."""
    found: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found


def shard_like(tensor: Tensor, other: Any) -> Tensor:
    """A whole tensor, sharded as `other` is, if it is."""
    if not hasattr(other, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)


def prepare(
    accelerator: "Accelerator", model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """A model, wrapped or sharded as accelerate is configured to, and the optimizers of it."""
    if accelerator.is_fsdp2:
        # FSDP cannot shard a scalar: what holds one stays whole in each process, and cannot be updated in one with shards.
        accelerator.state.fsdp_plugin.ignored_modules = [
            module for module in model.modules() if any(p.ndim == 0 for p in module.parameters(recurse=False))
        ]
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["foreach"] = False
    prepared, *wrapped = accelerator.prepare(model, *optimizers)
    return prepared, wrapped


def average_unsharded(accelerator: "Accelerator", parameters: Sequence[nn.Parameter]) -> None:
    """Average the gradients of what FSDP left whole; the others it has averaged, as everything is where nothing is sharded."""
    if not accelerator.is_fsdp2:
        return
    for parameter in parameters:
        if parameter.grad is not None and not hasattr(parameter, "full_tensor"):
            parameter.grad = accelerator.reduce(parameter.grad, "mean")
