"""Which device torch can compute on here."""

from piza.errors import InputError, reason

DEVICES = ("cpu", "cuda", "mps")


def check_device(device: object) -> str:
    """The name of a device, such as "cpu" or "cuda:1", given so or as a `torch.device`.

    Raises InputError unless torch can compute on it.
    """
    import torch

    name = str(device)
    if name.split(":")[0] not in DEVICES:
        raise InputError(f"device: expected 'cpu', 'cuda', 'cuda:1' or 'mps', got {name!r}")
    try:
        torch.zeros(1, device=name)
    except Exception as error:  # no such card, torch built without CUDA: each raises its own kind
        raise InputError(f"the device {name!r} cannot be used here: {reason(error)}") from None
    return name
