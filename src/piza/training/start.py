"""Where a training starts and what it leaves: the model around a base, its box-history encoder, the files of the result."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from piza.config import PathConfig, PizaConfig, SearchConfig, TrainConfig
from piza.errors import InputError, reason
from piza.hub import find_model
from piza.methods import METHODS
from piza.model import adapter_io
from piza.model.io import save_folder
from piza.model.load import load_plain
from piza.model.piza import Piza, merge_method
from piza.training.box_history import train_progress
from piza.training.box_sequences import HistorySample, draw_history
from piza.training.samples import AnnotatedImages
from piza.training.tensor_files import load_tensors, save_tensors

PUBLISHED_CROP_PIXELS = 800  # the shorter side of a crop, and crops are square


@dataclass(frozen=True)
class Base:
    """Where a training starts.

    Attributes:
        name: as an adapter should remember its base; None where the result is a whole model.
        is_piza: whether it is a model of this project, with a box-history encoder, and not a plain detector.
        path: the shape of the zoom paths that the encoder knows.
    """

    name: str | None
    is_piza: bool
    path: PathConfig

    def has_history(self, path: PathConfig) -> bool:
        """Whether its box-history encoder fits paths of this shape."""
        return self.is_piza and path == self.path


@dataclass
class Start:
    """A model to train, on the CPU, the names of the parameters to train, and its base."""

    model: Piza
    trained_names: set[str]
    base: Base


def prepare(config: TrainConfig) -> Start:
    """Build the model to train.

    A base without adapters gets fresh ones. One that has them is trained on with its own method; where it is a whole model
    whose own adapters carry the zoom ("mini"), these alone can be trained with "adapter_plus". A first look that lists objects
    ("mini") is trained with every method, as there are no adapters for it; around a base without the zoom it is left out.

    Raises InputError when the base cannot be had, or has adapters that do not fit the method.
    """
    place = find_model(config.base)
    loaded = load_plain(place)
    own = loaded.config
    conditioned = own.method_options.get("condition", True)
    base = Base(_base_name(config, place), (place / "piza.json").is_file(), own.path)
    changed = replace(own, **_changes(config, own, base.is_piza))
    if own.method == "full" and not conditioned:
        return _with_fresh_adapters(config, loaded, changed, base)
    _require_own_method(config, own, conditioned)
    loaded.config = changed
    names = METHODS[config.method].trained_names(loaded)
    names |= {name for name, _ in loaded.named_parameters() if name.startswith(("proposals.", "matcher."))}
    return Start(loaded, names, replace(base, name=None) if own.method == "full" else base)


def _changes(config: TrainConfig, own: PizaConfig, is_piza: bool) -> dict[str, Any]:
    """The fields of a base's config that a training sets."""
    changes: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("first_pixels", "later_pixels", "token_pooling")
        if getattr(config, name) is not None
    }
    if not is_piza and config.later_pixels is None:
        changes["later_pixels"] = PUBLISHED_CROP_PIXELS
    if config.answers is not None:
        changes["path"] = replace(own.path, answers=config.answers)
    if config.plain:
        changes["search"] = replace(own.search, budget=1, max_looks=1)
    elif own.search.max_looks == 1:
        changes["search"] = SearchConfig()
    return changes


def _with_fresh_adapters(config: TrainConfig, loaded: Piza, changed: PizaConfig, base: Base) -> Start:
    """The detector of a base with new adapters of the method; what the base knows beside its detector is kept."""
    options = {"condition": not config.plain, **config.options}
    torch.manual_seed(config.seed)
    try:
        settings = replace(
            changed, method=config.method, method_options=options, num_proposals=0, num_attributes=0
        )
        model = Piza(loaded.detector, loaded.tokenizer, settings)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the method {config.method!r} cannot be built with the options {config.options}: {reason(error)}"
        ) from None
    model.history.load_state_dict(loaded.history.state_dict())
    if model.relations is not None and loaded.relations is not None:
        model.relations.load_state_dict(loaded.relations.state_dict())
    names = METHODS[config.method].trained_names(model)
    return Start(model, names, replace(base, name=None) if config.method == "full" else base)


def _require_own_method(config: TrainConfig, own: PizaConfig, conditioned: bool) -> None:
    """Raise InputError when a base that has adapters is to be trained with others."""
    if config.options:
        raise InputError(f"the base {config.base!r} has adapters already; their options cannot be changed")
    possible = {own.method, "adapter_plus"} if own.method == "full" else {own.method}
    if config.plain == conditioned or config.method not in possible:
        form = own.method if conditioned else f"{own.method} --plain"
        raise InputError(
            f"the base {config.base!r} has adapters already and can only be trained on with --method {form}"
            + (" or adapter_plus" if own.method == "full" else "")
            + "; for others give a base without, such as a GroundingDINO"
        )


def _base_name(config: TrainConfig, place: Path) -> str:
    """How an adapter should name its base: a folder by the way to it from the adapter, so that both can be moved."""
    if adapter_io.is_adapter(place):  # trained on: the base is that adapter's
        name = adapter_io.base_name(place)
        place = place / name if (place / name).is_dir() else Path(name)
        if not place.is_dir():
            return name
    elif not Path(config.base).expanduser().is_dir():
        return config.base  # "mini" or a hub name
    return os.path.relpath(place.resolve(), Path(config.out).resolve())


def check_sentences(model: Piza, images: AnnotatedImages) -> None:
    """Raise InputError for a sentence that is too long or holds no words, before hours of training find it."""
    for image, annotations in images.annotations.items():
        for sentence, _, _ in annotations:
            try:
                model.prompter([[sentence]])
            except InputError as error:
                raise InputError(f"a row about the image {image!r} cannot be used: {error}") from None


def train_history(images: AnnotatedImages, path: PathConfig, steps: int, seed: int, file: Path) -> None:
    """Train a box-history encoder on the paths to the rows' targets and write its weights."""
    targets = images.targets()

    def sampler(rng: np.random.Generator) -> HistorySample:
        target, size = targets[int(rng.integers(len(targets)))]
        return draw_history(target, size, path, rng)

    history = train_progress(sampler, steps=steps, seed=seed)
    save_tensors(history.state_dict(), file, {})


def load_history(model: Piza, file: Path) -> None:
    """Put the weights that `train_history` wrote into the model. Raises InputError when they cannot be read."""
    try:
        tensors, _ = load_tensors(file, "box-history encoder")
        model.history.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{str(file)!r} is of another box-history encoder: {reason(error)}") from None
    except InputError as error:
        raise InputError(f"{error}; delete it to train it anew") from None


def write_result(model: Piza, base: Base, config: TrainConfig) -> None:
    """Write the adapter, or the whole model where all weights are its own or were merged."""
    model.eval()
    if config.merge:
        merge_method(model)
    if config.merge or base.name is None:
        save_folder(model, config.out)
    else:
        adapter_io.save_adapter(model, config.out, base.name)
