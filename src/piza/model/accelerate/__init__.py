"""Everything that makes a model cheaper to run and leaves its answers as they are, but for rounding.

`apply(model)` turns all of it on, in place, and `undo(model)` off again. Each acceleration gives modules of the library another
forward: their class becomes a subclass without state of its own, so weights and their names stay. The subclass calls the
library's forward wherever it cannot do better: while gradients are recorded, in other number types, on other devices, in
traces. `piza.load` applies all; training starts from plain modules.
"""

from torch import nn

from piza.model.accelerate.base import Acceleration
from piza.model.accelerate.conv import FUSED_CONVOLUTIONS
from piza.model.accelerate.deformable import DEFORMABLE_SAMPLING
from piza.model.accelerate.encoder_layer import ENCODER_LAYERS
from piza.model.accelerate.fusion import FUSION_ATTENTION
from piza.model.accelerate.linear import ONEDNN_PRODUCTS
from piza.model.accelerate.memory import keep_memory

ACCELERATIONS = (FUSION_ATTENTION, ENCODER_LAYERS, DEFORMABLE_SAMPLING, ONEDNN_PRODUCTS, FUSED_CONVOLUTIONS)

__all__ = ["ACCELERATIONS", "Acceleration", "apply", "undo"]


def apply(model: nn.Module, device: str = "cpu", training: bool = False) -> list[str]:
    """Turns on every acceleration that is available, in place; idempotent.

    model: a `Piza` or a detector of the library's, or any part of one. device: where it is. training: only what also makes
    training cheaper, forward and backward. Returns the names of those that are on.

    On a CPU this also tells the C library to keep memory between looks (`memory.keep_memory`), for the whole process; `undo`
    does not take that back.
    """
    kind = device.split(":")[0]
    if kind == "cpu":
        keep_memory()
    chosen = [one for one in ACCELERATIONS if one.is_available(kind) and (one.in_training or not training)]
    for one in chosen:
        one.apply(model)
    return [one.name for one in chosen]


def undo(model: nn.Module) -> None:
    """Turns every acceleration off again, in place, whichever are on: all modules are of their plain classes again."""
    for one in ACCELERATIONS:
        one.undo(model)
