"""Adapter folders: what fine-tuning added to a base model, a few megabytes, without the base.

An adapter folder holds `adapter.json` (the base's name and fingerprint), `piza.json` (PizaConfig) and
`adapter.safetensors`: the trained weights and all that is not the detector's, that is the zoom embedding, the box-history
encoder and the relations. The base is a GroundingDINO as transformers writes it, or a piza model without adapters, and is not
copied.
"""

import hashlib
import json
from pathlib import Path

from safetensors.torch import save_file

from piza import config as settings
from piza.errors import InputError, reason
from piza.files import replaced_files
from piza.hub import (
    ADAPTER_NOTE,
    CHECKSUMS,
    check_checksums,
    check_kind,
    check_unchanged,
    find_base,
    find_model,
    write_checksums,
)
from piza.methods import METHODS
from piza.model import io
from piza.model.piza import Piza

NOTE, WEIGHTS, CONFIG = ADAPTER_NOTE, "adapter.safetensors", io.PIZA_CONFIG


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, though a damaged one."""
    return (folder / NOTE).is_file() or ((folder / WEIGHTS).is_file() and not (folder / io.WEIGHTS).is_file())


def own_names(model: Piza) -> set[str]:
    """Names in `model.state_dict()` of what the base does not hold or what training changed in it."""
    names = METHODS[model.config.method].trained_names(model)
    for part in ("zoom", "history", "relations"):
        module = getattr(model, part)
        names |= {f"{part}.{name}" for name in module.state_dict()} if module is not None else set()
    return names


def fingerprint(model: Piza) -> str:
    """Sixteen hex digits of what adapters leave frozen: names, shapes and a few values of each weight.

    Values are taken in half precision, so that a base stored in it (`save_folder(half=True)`) has the same
    fingerprint.
    """
    own, digest = own_names(model), hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if name not in own:
            flat = parameter.detach().flatten()
            few = flat[:: max(1, len(flat) // 8)].half().cpu()
            digest.update(f"{name} {tuple(parameter.shape)} ".encode() + few.numpy().tobytes())
    return digest.hexdigest()[:16]


def save_adapter(model: Piza, folder: str | Path, base: str | Path) -> None:
    """Writes an adapter folder for `piza.load`.

    `base` is the hub name or the folder of the model that was fine-tuned; a relative folder is looked for
    from the adapter folder first, then as `piza.load` would. Raises InputError for the method "full", whose
    weights are all its own: `save_folder` writes those; and where the folder holds a whole model or an export.
    """
    if model.config.method == "full":
        raise InputError(
            "The method 'full' changes every weight, so there is no adapter; save the whole model."
        )
    folder, own, state = Path(folder), own_names(model), model.state_dict()
    check_kind(folder, NOTE)
    weights = {name: state[name].detach().cpu().contiguous() for name in state if name in own}
    note = {"base": str(base), "fingerprint": fingerprint(model)}
    with replaced_files(folder, (CHECKSUMS, WEIGHTS, CONFIG, NOTE)) as made:
        save_file(weights, made / WEIGHTS, metadata={"format": "pt"})
        settings.write(model.config, made / CONFIG)
        (made / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        write_checksums(made)


def base_name(folder: Path) -> str:
    """The base that an adapter folder names. Raises InputError for a damaged one."""
    return _read_note(folder)["base"]


def _read_note(folder: Path) -> dict[str, str]:
    note = io.read_json(folder / NOTE)
    for key in ("base", "fingerprint"):
        if not isinstance(note.get(key), str):
            raise InputError(f"{folder / NOTE}: {key}: expected text, got {note.get(key)!r:.60}")
    return note


def load_adapter(folder: str | Path, device: str = "cpu", base: str | Path | None = None) -> Piza:
    """Reads an adapter folder around its base, or around the model named by `base` if that has moved.

    Raises InputError if the folder is damaged, if the base cannot be read, has adapters itself, is of other sizes, or is of
    the same sizes but not the one that was fine-tuned.
    """
    folder = Path(folder)
    sums = check_checksums(folder)
    missing = [name for name in (WEIGHTS, CONFIG, NOTE) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} holds no adapter: it lacks {' and '.join(missing)}")
    note = _read_note(folder)
    name = note["base"] if base is None else str(base)
    config = io.read_config(folder / CONFIG)
    weights = io.read_weights(folder / WEIGHTS)
    around = _load_base(folder, name, base is None)
    if around.config.method != "full" or around.config.method_options.get("condition", True):
        raise InputError(
            f"The base {name!r} of the adapter {folder} has adapters itself: expected a plain model"
        )
    io.check_sizes(config, {**weights, **around.state_dict()}, folder / CONFIG)
    with io.reading(folder / CONFIG):
        model = Piza(around.detector, around.tokenizer, config)
    model.prompter.known_words = around.prompter.known_words
    own, state = own_names(model), model.state_dict(keep_vars=True)
    source = f"{folder / WEIGHTS}, an adapter for {name!r},"
    io.check_fit(weights, {key: state[key] for key in own}, own - weights.keys(), source)
    io.copy_weights(weights, state)
    check_unchanged(folder, sums)
    if fingerprint(model) != note["fingerprint"]:
        raise InputError(
            f"The adapter {folder} does not fit its base {name!r}: that model has the same sizes but other weights."
        )
    return model.to(device).eval()


def _load_base(folder: Path, name: str, relative: bool) -> Piza:
    """The base of the adapter in a folder. relative: a folder of this name beside the adapter comes first."""
    try:
        place = find_base(folder, name) if relative else find_model(name)
        if is_adapter(place):
            raise InputError(f"{place} is an adapter itself")
        return io.load_folder(place)
    except (InputError, OSError, ValueError) as error:
        raise InputError(
            f"The base {name!r} of the adapter {folder} cannot be used: {reason(error)}."
        ) from None
