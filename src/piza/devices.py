"""Which device torch computes on: one reading of `--device` and of every `device=`."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from piza.errors import InputError, reason

DEVICES = "auto, cpu, cuda, cuda:N or mps"
AUTO = "auto"

# What torch, the dynamic linker, C++, threads and oneDNN say.
_NO_MEMORY = re.compile(
    "allocate memory|bad_alloc|not enough memory|failed to map segment|start new thread|Resource temporarily"
    "|could not (create|execute) a primitive$",
    re.IGNORECASE,
)


def check_device(device: object = AUTO, local_rank: int | None = None) -> str:
    """The name of the device to compute on: "cpu", "cuda", "cuda:1" or "mps".

    Args:
        device: such a name, a `torch.device`, or "auto": a graphics card that CUDA can use if there is one, otherwise the
            processor. Apple's graphics ("mps") are used where they are named only, as nothing was tested on them.
        local_rank: of a process among several on this machine; of several cards it takes the one of this number, unless
            one is named.

    Raises:
        InputError: for another name, and for a device that torch cannot compute on here.
    """
    name = str(device)
    if re.fullmatch(r"auto|cpu(:0)?|cuda(:[0-9]+)?|mps(:0)?", name) is None:
        raise InputError(f"device: expected {DEVICES}, got {name!r}")
    with needing_torch():
        import torch

    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    name = name if name.startswith("cuda") else name.removesuffix(":0")
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank}"
    try:
        torch.zeros(1, device=name)
    except Exception as error:  # no such card, torch built without CUDA: each raises its own kind
        raise InputError(f"the device {name!r} cannot be used here: {_why(name, error)}") from None
    return name


def check_cpu(device: object, what: str) -> None:
    """Raise InputError unless "cpu" or "auto" was asked for, where `what` runs on the processor only."""
    if str(device) not in (AUTO, "cpu"):
        raise InputError(f"{what} runs on the cpu, not on {str(device)!r}")


def check_default_device(device: str) -> None:
    """Raise InputError where a program has given torch a default device that a model on `device` cannot be used with."""
    import torch

    default = torch.get_default_device()
    if default.type not in ("cpu", device.partition(":")[0]):
        raise InputError(
            f"torch.set_default_device was given {str(default)!r}, but the model is on {device!r}; expected 'cpu'"
        )


@contextmanager
def needing_torch() -> Iterator[None]:
    """Within, what cannot be imported is an InputError: some installations run exported models only."""
    try:
        yield
    except ImportError as error:
        if lacks_memory(error):  # torch is there, but cannot be mapped
            raise InputError(f"there is not enough memory for this ({reason(error)})") from None
        raise InputError(
            f"this needs torch and transformers, which cannot be imported here ({reason(error)}); a folder that `piza export` "
            "wrote runs without them"
        ) from None


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that the machine or a limit (`ulimit -v`) has no more memory; each library says so differently."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    runtime = type(error).__name__ in (
        "RuntimeException",
        "Fail",
    )  # of ONNX Runtime, which are no RuntimeError
    return (runtime or isinstance(error, (RuntimeError, ImportError, OSError))) and bool(
        _NO_MEMORY.search(str(error))
    )


def device_failure(error: BaseException) -> str | None:
    """A sentence about a device or a machine that is too small, or a device that lacks an operation; None for any other error.

    Told by the names of torch's errors, so that nothing is imported.
    """
    if type(error).__name__ == "OutOfMemoryError":
        return (
            f"the memory of the device does not suffice ({reason(error)}); --device cpu computes without it"
        )
    if lacks_memory(error):
        return f"there is not enough memory for this ({reason(error)})"
    if isinstance(error, NotImplementedError) and "device" in str(error):
        return f"the device cannot compute this ({reason(error)}); --device cpu can"
    return None


def _why(name: str, error: Exception) -> str:
    import torch

    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            return "torch sees no graphics card with CUDA"
        if int(name.partition(":")[2] or 0) >= count:
            return f"there {'is one card, cuda:0' if count == 1 else f'are {count} cards, cuda:0 to cuda:{count - 1}'}"
    elif name == "mps" and not torch.backends.mps.is_available():
        return "torch sees no graphics of Apple's"
    return reason(error)
