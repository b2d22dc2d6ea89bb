"""Where a training starts and what it leaves: the model around a base, its box-history encoder, the files of the result."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import piza
from piza.config import PathConfig, SearchConfig, override
from piza.errors import InputError, reason
from piza.files import atomic_write
from piza.hub import find_model
from piza.methods import METHODS
from piza.model import adapter_io
from piza.model.piza import Piza, merge_method, save_folder
from piza.training.box_history import train_progress
from piza.training.box_sequences import HistorySample, draw_history
from piza.training.samples import Rows
from piza.training.settings import TrainConfig


@dataclass
class Base:
    """Where a training starts. name: as an adapter should remember it; None where the result is a whole model. piza: it
    is a model of ours, with a box-history encoder, and `path` is its own."""

    name: str | None
    piza: bool
    path: PathConfig

    def has_history(self, path: PathConfig) -> bool:
        return self.piza and path == self.path


def prepare(config: TrainConfig) -> tuple[Piza, set[str], Base]:
    """The model to train, on the CPU, the names of the parameters to train, and its base.

    A base without adapters gets fresh ones. One that has them is trained on with its own method; where it is a whole
    model whose own adapters carry the zoom ("mini"), these alone can be trained with "adapter_plus". A first look that lists
    things ("mini") is trained with every method, as there are no adapters for it; around a base without the zoom it is left out.

    Raises InputError when the base cannot be had, or has adapters that do not fit the method.
    """
    place = find_model(config.base)
    start = piza.load(config.base)
    own = start.config
    conditioned = own.method_options.get("condition", True)
    base = Base(_name(config, place), (place / "piza.json").is_file(), own.path)
    changes: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("first_pixels", "later_pixels", "pooling")
        if getattr(config, name) is not None
    }
    if not base.piza and config.later_pixels is None:
        changes["later_pixels"] = 800  # as published: the shorter side of a crop, and crops are square
    if config.answers is not None:
        changes["path"] = override(own.path, answers=config.answers)
    if config.plain:
        changes["search"] = replace(own.search, budget=1, max_looks=1)
    elif own.search.max_looks == 1:
        changes["search"] = SearchConfig()
    if own.method == "full" and not conditioned:
        options = {"condition": not config.plain, **config.options}
        torch.manual_seed(config.seed)
        try:
            model = Piza(
                start.detector,
                start.tokenizer,
                replace(
                    own,
                    method=config.method,
                    method_options=options,
                    num_proposals=0,
                    num_attributes=0,
                    **changes,
                ),
            )
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"the method {config.method!r} cannot be built with the options {config.options}: {reason(error)}"
            ) from None
        model.history.load_state_dict(start.history.state_dict())
        if model.relations is not None and start.relations is not None:
            model.relations.load_state_dict(start.relations.state_dict())
        if config.method == "full":
            base.name = None
        return model, METHODS[config.method].trained_names(model), base
    if config.options:
        raise InputError(f"the base {config.base!r} has adapters already; their options cannot be changed")
    if config.plain == conditioned or config.method not in (
        {own.method} | ({"adapter_plus"} if own.method == "full" else set())
    ):
        form = own.method if conditioned else f"{own.method} --plain"
        raise InputError(
            f"the base {config.base!r} has adapters already and can only be trained on with --method {form}"
            + (" or adapter_plus" if own.method == "full" else "")
            + "; for others give a base without, such as a GroundingDINO"
        )
    start.config = replace(own, **changes)
    names = METHODS[config.method].trained_names(start)
    names |= {name for name, _ in start.named_parameters() if name.startswith(("proposals.", "matcher."))}
    if own.method == "full":
        base.name = None
    return start, names, base


def _name(config: TrainConfig, place: Path) -> str:
    """How an adapter should name its base: a folder by the way to it from the adapter, so that both can be moved."""
    if adapter_io.is_adapter(place):  # trained on: the base is that adapter's
        name = str(json.loads((place / adapter_io.NOTE).read_text())["base"])
        place = place / name if (place / name).is_dir() else Path(name)
        if not place.is_dir():
            return name
    elif not Path(config.base).expanduser().is_dir():
        return config.base  # "mini" or a hub name
    return os.path.relpath(place.resolve(), Path(config.out).resolve())


def check_sentences(model: Piza, rows: Rows) -> None:
    """Raises InputError for a sentence that is too long or holds no words, before hours of training find it."""
    for image, said in rows.said.items():
        for sentence, _, _ in said:
            try:
                model.prompter([[sentence]])
            except InputError as error:
                raise InputError(f"a row about the picture {image!r} cannot be used: {error}") from None


def train_history(rows: Rows, path: PathConfig, steps: int, seed: int, file: Path) -> None:
    """Trains a box-history encoder on the paths to the rows' targets and writes its weights."""
    targets = rows.targets()

    def sampler(rng: np.random.Generator) -> HistorySample:
        target, size = targets[int(rng.integers(len(targets)))]
        return draw_history(target, size, path, rng)

    history = train_progress(sampler, steps=steps, seed=seed)
    with atomic_write(file) as part:
        save_file(history.state_dict(), part)


def read_history(model: Piza, file: Path) -> None:
    """Puts the weights that `train_history` wrote into the model. Raises InputError when they cannot be read."""
    try:
        model.history.load_state_dict(load_file(file))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(
            f"{str(file)!r} cannot be read ({reason(error)}); delete it to train it anew"
        ) from None


def write_result(model: Piza, base: Base, config: TrainConfig) -> None:
    """Writes the adapter, or the whole model where all weights are its own or were merged."""
    model.eval()
    if config.merge:
        merge_method(model)
    if config.merge or base.name is None:
        save_folder(model, config.out)
    else:
        adapter_io.save_adapter(model, config.out, base.name)
