"""The zoom-step embedding: a progress number in [0, 1] -> the vector that conditions the adapters."""

import math

import torch
from torch import Tensor, nn

PUBLISHED_PERIOD = 10_000.0


class ZoomEmbedding(nn.Module):
    """A sinusoid of the progress, then Linear, SiLU, Linear: (B,) -> (B, dim).

    Frequencies run geometrically from `scale` down to `scale / period` over dim / 2 channels, a sine and a
    cosine each.

    `scale=1` (with its period of 10,000) is the published module: its frequencies run from 1 to 1/10,000, so
    over progress in [0, 1] all but a few channels are constant and neighboring steps look alike. The default
    departs from it on purpose: `scale=100` with a period of 100, frequencies from 100 to 1, so that every
    channel varies.
    """

    def __init__(self, dim: int = 256, scale: float = 100.0, period: float | None = None) -> None:
        """`period` None means 10,000 at scale 1, as published, and otherwise `scale`, so that the slowest
        frequency is 1.
        """
        super().__init__()
        self.dim = dim
        self.scale = scale
        self.period = period if period is not None else (PUBLISHED_PERIOD if scale == 1 else scale)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def sinusoid(self, progress: Tensor) -> Tensor:
        """(B,) -> (B, dim): all sines, then all cosines."""
        half = self.dim // 2
        exponents = torch.arange(half, dtype=torch.float32, device=progress.device) / (half - 1)
        angles = progress.float()[:, None] * (self.scale * torch.exp(-math.log(self.period) * exponents))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, progress: Tensor) -> Tensor:
        """(batch,) in [0, 1] -> (batch, dim)."""
        embedding: Tensor = self.mlp(self.sinusoid(progress).to(next(self.parameters()).dtype))
        return embedding
