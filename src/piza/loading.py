"""Any model by its name: in torch or exported, whole or an adapter around its base. No torch is imported before it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

from piza.devices import check_cpu, check_default_device, check_device, needing_torch
from piza.hub import find_model, is_export

if TYPE_CHECKING:
    from piza.model.piza import Piza
    from piza.runtimes.exported import ExportedModel


def load_model(name: str | Path, device: object = "auto") -> "Piza | ExportedModel":
    """The model in a folder, inside the package or on the hub, accelerated.

    A folder that `piza export` wrote is run by whichever of its runtimes is installed, on the CPU. Raises InputError when
    there is no such model or device, or when the files of the model are damaged.
    """
    folder = find_model(name)
    if is_export(folder):
        from piza.runtimes import load_exported

        check_cpu(device, f"{str(folder)!r} is an exported model, which")
        return load_exported(folder)
    place = check_device(device)
    check_default_device(place)
    with needing_torch():
        from piza.model import accelerate
        from piza.model.load import load_plain

    model = load_plain(folder, place)
    accelerate.apply(model, place)
    return model
