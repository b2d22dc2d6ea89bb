"""What the methods share: how the zoom embedding reaches the layers, and which parameters fine-tuning may touch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SwinBackbone

from piza.model.box_history import BoxHistoryEncoder
from piza.model.zoom_embedding import ZoomEmbedding

_embedding: ContextVar[Tensor | None] = ContextVar("zoom embedding", default=None)


@contextmanager
def zoom_embedding(embedding: Tensor) -> Iterator[None]:
    """Hands the zoom embedding to all conditioned layers that run in this `with` block.

    embedding: (batch, dim), a row for each window in the encoder's batch, or (1, dim) for all of them. It is a context
    variable, so threads do not see each other's.
    """
    token = _embedding.set(embedding)
    try:
        yield
    finally:
        _embedding.reset(token)


def current_embedding() -> Tensor:
    """The embedding of the `zoom_embedding` block around. Raises RuntimeError outside of one."""
    embedding = _embedding.get()
    if embedding is None:
        raise RuntimeError(
            "a conditioned layer ran without a zoom embedding: run it inside zoom_embedding(...)"
        )
    return embedding


class ZoomProjection(nn.Linear):
    """linear(silu(embedding)): (batch, embedding_dim) -> (batch, 1, dim), to be added to every cell or token alike."""

    def forward(self, embedding: Tensor) -> Tensor:
        """embedding: (batch, embedding_dim) -> (batch, 1, dim)."""
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
