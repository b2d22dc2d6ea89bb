"""What the methods share: how the zoom embedding reaches the layers, and which parameters fine-tuning may touch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SwinBackbone

from piza.model.box_history import BoxHistoryEncoder
from piza.model.zoom_embedding import ZoomEmbedding


class ZoomContext:
    """Where the conditioned layers of one model read the zoom embedding; not a module, so it is in no state
    dict.

    `embedding` is (B, dim), a row for each window in the encoder's batch (or (1, dim) for all of them), or
    None outside a look. One look at a time: the model must not be run from two threads at once. Copies of a
    model (deepcopy, pickle) share one new, empty context.
    """

    def __init__(self) -> None:
        self.embedding: Tensor | None = None

    def __reduce__(self) -> tuple[type["ZoomContext"], tuple[()]]:
        return ZoomContext, ()

    @contextmanager
    def use(self, embedding: Tensor | None) -> Iterator[None]:
        """The embedding, for the length of a `with` block."""
        before, self.embedding = self.embedding, embedding
        try:
            yield
        finally:
            self.embedding = before


class ZoomProjection(nn.Linear):
    """linear(silu(embedding)): (B, embedding_dim) -> (B, 1, dim), to be added to every cell or token alike."""

    def forward(self, embedding: Tensor | None) -> Tensor:
        if embedding is None:
            raise RuntimeError(
                "a conditioned layer ran without a zoom embedding: set ZoomContext.embedding first"
            )
        return super().forward(F.silu(embedding))[:, None, :]


def idle_modules(root: nn.Module) -> set[nn.Module]:
    """Modules that fine-tuning leaves alone: the box-history encoder (trained on its own, then frozen), and
    the last norm of a Swin backbone (the library computes it and drops the result, so no gradient would
    reach it).
    """
    idle: set[nn.Module] = set()
    for module in root.modules():
        if isinstance(module, BoxHistoryEncoder):
            idle.update(module.modules())
        elif isinstance(module, SwinBackbone):
            idle.add(module.swin.layernorm)
    return idle


def names_with_norms(root: nn.Module, kinds: tuple[type[nn.Module], ...], conditioned: bool) -> set[str]:
    """Names (as in `root.named_parameters()`) of the parameters in modules of these kinds, in all layer norms,
    and in the zoom embedding if it is read: if `root` is `conditioned`, or is nothing but that embedding.
    """
    trained: tuple[type[nn.Module], ...] = (*kinds, nn.LayerNorm)
    if conditioned or isinstance(root, ZoomEmbedding):
        trained += (ZoomEmbedding,)
    idle = idle_modules(root)
    return {
        f"{path}.{name}" if path else name
        for path, module in root.named_modules()
        if isinstance(module, trained) and module not in idle
        for name, _ in module.named_parameters()
    }
