"""Fine-tuning methods: what each adds to a grounder, which parameters it trains, how to save only those."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from piza.errors import InputError
from piza.methods import adapter_plus, coop, full, lora
from piza.methods.adapter_plus import AdapterPlusConfig
from piza.methods.coop import CoopConfig
from piza.methods.full import FullConfig
from piza.methods.lora import LoraConfig


def _no_prefix(base: nn.Module) -> list[int]:
    return []


@dataclass(frozen=True)
class Method:
    """A fine-tuning method, as the rest of the project calls it."""

    config: type  # its dataclass of options
    # (detector, options): changes the detector in place
    apply: Callable[[nn.Module, Any], None]
    # (whole model or a part of it) -> names in its named_parameters()
    trained_names: Callable[[nn.Module], set[str]]
    # (changed grounder) -> token ids that stand in front of every sentence
    prefix_ids: Callable[[nn.Module], list[int]] = _no_prefix
    # (whole model or a part of it): folds the method into the weights, in place
    merge: Callable[[nn.Module], None] | None = None


METHODS = {
    "adapter_plus": Method(AdapterPlusConfig, adapter_plus.apply, adapter_plus.trained_names),
    "full": Method(FullConfig, full.apply, full.trained_names),
    "lora": Method(LoraConfig, lora.apply, lora.trained_names, merge=lora.merge),
    "coop": Method(CoopConfig, coop.apply, coop.trained_names, prefix_ids=coop.prefix_ids),
}


def train_only(root: nn.Module, names: Iterable[str]) -> list[nn.Parameter]:
    """Freeze `root` but for the named parameters, and return these in the model's order."""
    names = set(names)
    parameters = dict(root.named_parameters())
    _refuse_difference(names - parameters.keys(), "the model has no parameter")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)
    return [parameter for name, parameter in parameters.items() if name in names]


def adapter_state(root: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """The named parameters alone, detached copies: an adapter-only checkpoint (tied weights appear once)."""
    names = set(names)
    return {name: p.detach().clone() for name, p in root.named_parameters() if name in names}


def load_adapter_state(root: nn.Module, state: Mapping[str, Tensor], names: Iterable[str]) -> None:
    """Copy `state` into the named parameters of `root`, in place.

    Raises InputError unless `state` holds exactly these names, in the shapes of the model.
    """
    names = set(names)
    _refuse_difference(names - state.keys(), "the checkpoint lacks")
    _refuse_difference(state.keys() - names, "the checkpoint holds an unknown weight")
    parameters = dict(root.named_parameters())
    for name in names:
        if state[name].shape != parameters[name].shape:
            given, needed = tuple(state[name].shape), tuple(parameters[name].shape)
            raise InputError(f"expected {name} of shape {needed} in the checkpoint, got {given}")
    with torch.no_grad():
        for name in names:
            parameters[name].copy_(state[name])


def _refuse_difference(difference: set[str], what: str) -> None:
    if difference:
        first, more = min(difference), len(difference) - 1
        raise InputError(f"{what} {first!r}" + (f" (and {more} more)" if more else ""))


__all__ = [
    "METHODS",
    "AdapterPlusConfig",
    "CoopConfig",
    "FullConfig",
    "LoraConfig",
    "Method",
    "adapter_state",
    "load_adapter_state",
    "train_only",
]
