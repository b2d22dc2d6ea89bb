"""Adapter-only checkpoints: what fine-tuning made, a few megabytes, to be put around its base again.

An adapter folder holds `adapter.json` (the base's name and fingerprint), `piza.json` (PizaConfig) and
`adapter.safetensors`: the trained weights and all that is not of the detector: zoom embedding, box-history encoder, relations. The base is a
GroundingDINO as transformers writes it, or a piza model without adapters, and is not copied.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from piza.config import PizaConfig, read, write
from piza.errors import InputError, reason
from piza.files import atomic_write
from piza.hub import find_model
from piza.methods import METHODS

if TYPE_CHECKING:
    from piza.model.piza import Piza

NOTE, WEIGHTS, CONFIG = "adapter.json", "adapter.safetensors", "piza.json"


def is_adapter(folder: Path) -> bool:
    return (folder / NOTE).is_file()


def own_names(model: "Piza") -> set[str]:
    """Names in `model.state_dict()` of what the base does not hold or what training changed in it."""
    names = METHODS[model.config.method].trained_names(model)
    for part in ("zoom", "history", "relations"):
        module = getattr(model, part)
        names |= {f"{part}.{name}" for name in module.state_dict()} if module is not None else set()
    return names


def fingerprint(model: "Piza") -> str:
    """Sixteen hex digits of what adapters leave frozen: names, shapes and a few values of each weight.

    Values are taken in half precision, so that a base stored so (`save_folder(half=True)`) is known again.
    """
    own, digest = own_names(model), hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if name not in own:
            flat = parameter.detach().flatten()
            few = flat[:: max(1, len(flat) // 8)].half().cpu()
            digest.update(f"{name} {tuple(parameter.shape)} ".encode() + few.numpy().tobytes())
    return digest.hexdigest()[:16]


def save_adapter(model: "Piza", folder: str | Path, base: str | Path) -> None:
    """Writes an adapter folder for `piza.load`.

    `base` is the hub name or the folder of the model that was fine-tuned; a relative folder is looked for
    from the adapter folder first, then as `piza.load` would. Raises InputError for the method "full", whose
    weights are all its own: `save_folder` writes those.
    """
    if model.config.method == "full":
        raise InputError(
            "The method 'full' changes every weight, so there is no adapter; save the whole model."
        )
    folder, own, state = Path(folder), own_names(model), model.state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: state[name].detach().cpu().contiguous() for name in state if name in own}
    note = {"base": str(base), "fingerprint": fingerprint(model)}
    with atomic_write(folder / WEIGHTS) as part:
        save_file(weights, part, metadata={"format": "pt"})
    write(model.config, folder / CONFIG)
    with atomic_write(folder / NOTE) as part:
        Path(part).write_text(json.dumps(note, indent=2) + "\n")


def load_adapter(folder: str | Path, device: str = "cpu", base: str | Path | None = None) -> "Piza":
    """Reads an adapter folder around its base, or around the model named by `base` if that has moved.

    Raises InputError if the folder is damaged, if the base is not to be had, has adapters itself, is of other
    sizes, or is of the same sizes but not the one that was fine-tuned.
    """
    from piza.model.piza import Piza, load_folder

    folder = Path(folder)
    missing = [name for name in (WEIGHTS, CONFIG) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is no adapter: it lacks {' and '.join(missing)}.")
    try:
        note = json.loads((folder / NOTE).read_text())
        name, mark = str(note["base"] if base is None else base), note["fingerprint"]
        config = read(PizaConfig, folder / CONFIG)
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{folder} is no adapter that can be read: {reason(error)}.") from None
    try:
        place = folder / name if base is None and name and (folder / name).is_dir() else find_model(name)
        if is_adapter(place):
            raise InputError(f"{place} is an adapter itself")
        around = load_folder(place)
    except (InputError, OSError) as error:
        raise InputError(
            f"The base {name!r} of the adapter {folder} cannot be used: {reason(error)}."
        ) from None
    if around.config.method != "full" or around.config.method_options.get("condition", True):
        raise InputError(
            f"The base {name!r} of the adapter {folder} has adapters itself; a plain model is wanted."
        )
    try:
        model = Piza(around.detector, around.tokenizer, config)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder} is no adapter that can be read: {reason(error)}.") from None
    _put(model, weights, f"The adapter {folder} does not fit its base {name!r}")
    if fingerprint(model) != mark:
        raise InputError(
            f"The adapter {folder} does not fit its base {name!r}: that model has the same sizes but other weights."
        )
    return model.to(device).eval()


def _put(model: "Piza", weights: dict[str, torch.Tensor], complaint: str) -> None:
    """Copies weights into a model; exactly its own ones must be there, in their shapes."""
    own, state = own_names(model), model.state_dict(keep_vars=True)
    misshapen = [name for name in own & weights.keys() if weights[name].shape != state[name].shape]
    for what, names in (
        ("the file lacks", own - weights.keys()),
        ("the base has no place for", weights.keys() - own),
        ("the base has another shape for", misshapen),
    ):
        if names:
            raise InputError(f"{complaint}: {what} {min(names)} ({len(names)} in all).")
    with torch.no_grad():
        for name, tensor in weights.items():
            state[name].copy_(tensor)
