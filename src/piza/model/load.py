"""Any model by its name: in torch or exported, whole or an adapter around its base. No torch is imported before it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

from piza.errors import InputError, reason
from piza.hub import find_model

if TYPE_CHECKING:
    from piza.model.piza import Piza
    from piza.runtimes.exported import ExportedModel

DEVICES = ("cpu", "cuda", "mps")


def load_model(name: str | Path, device: str = "cpu") -> "Piza | ExportedModel":
    """The model in a folder, inside the package or on the hub, accelerated.

    A folder that `piza export` wrote is run by whichever of its runtimes is installed, on the CPU. Raises InputError when
    there is no such model or device, or when the files of the model are damaged.
    """
    folder = find_model(name)
    from piza.runtimes import is_export, load_exported

    if is_export(folder):
        if str(device) != "cpu":
            raise InputError(
                f"{str(folder)!r} is an exported model, which runs on the cpu, not on {device!r}"
            )
        return load_exported(folder)
    check_device(device)
    from piza.model import accelerate

    model = load_plain(folder, device)
    accelerate.apply(model, device)
    return model


def load_plain(folder: str | Path, device: str = "cpu") -> "Piza":
    """The model in a folder, an adapter's or a whole one's, of the library's plain modules: what training starts from.

    Raises InputError for an exported model, and as `load_model` does.
    """
    from piza.model import adapter_io, io
    from piza.runtimes import is_export

    folder = Path(folder)
    if is_export(folder):
        raise InputError(f"{str(folder)!r} is an exported model: expected a model folder with its weights")
    if adapter_io.is_adapter(folder):
        return adapter_io.load_adapter(folder, device)
    return io.load_folder(folder, device)


def check_device(device: str) -> None:
    """Raises InputError unless torch can compute on this device: "cpu", "cuda", "cuda:1", "mps"."""
    import torch

    if str(device).split(":")[0] not in DEVICES:
        raise InputError(f"device: expected 'cpu', 'cuda', 'cuda:1' or 'mps', got {str(device)!r}")
    try:
        torch.zeros(1, device=device)
    except Exception as error:  # no such card, torch built without CUDA: each raises its own kind
        raise InputError(f"the device {str(device)!r} cannot be used here: {reason(error)}") from None
