"""What an acceleration is: another forward for modules that stand in a model already."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn


def is_tracing() -> bool:
    """Whether torch is tracing or compiling what runs: its graph must hold operators that others know."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined,no-untyped-call]


def _always(device: str) -> bool:
    return True


def _every(module: nn.Module) -> bool:
    return True


@dataclass(frozen=True)
class Acceleration:
    """One way of making a model cheaper to run.

    name: for people. classes: the library's class -> a subclass of it with another forward and no state of its own.
    is_available: (kind of device) -> whether it can work here. suits: which modules of these classes gain by it. in_training:
    whether it also computes gradients.
    """

    name: str
    classes: Mapping[type[nn.Module], type[nn.Module]]
    is_available: Callable[[str], bool] = _always
    suits: Callable[[nn.Module], bool] = _every
    in_training: bool = False

    def apply(self, model: nn.Module) -> None:
        """Gives every module that suits its other forward, in place; idempotent. Subclasses of the classes are left alone."""
        for module in model.modules():
            if type(module) in self.classes and self.suits(module):
                module.__class__ = self.classes[type(module)]

    def undo(self, model: nn.Module) -> None:
        """Gives all of them back the library's class."""
        plain = {fast: library for library, fast in self.classes.items()}
        for module in model.modules():
            if type(module) in plain:
                module.__class__ = plain[type(module)]
