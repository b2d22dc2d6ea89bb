"""The box-history encoder: from the boxes of a search so far, how far along it is and whether to stop.

Implemented after the paper's section on box-history encoding; the outputs equal those of the published modules. The
learnable Fourier features are Li et al., "Learnable Fourier Features for Multi-Dimensional Spatial Positional
Encoding", 2021.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from piza.errors import InputError

PROGRESS_STEP = 0.05  # published: progress is used as a multiple of this
_TINY = 1e-8  # as published, the smallest area divided by; also keeps boxes without area free of NaN


@dataclass(frozen=True)
class BoxHistoryConfig:
    """Sizes of the encoder; the defaults are the published ones."""

    hidden: int = 32  # numbers a box; a multiple of 4 (a quarter for each Fourier group) and of `heads`
    fourier_area: int = 16  # Fourier numbers of the 1-D positions (the two area ratios)
    fourier_shape: int = 8  # Fourier numbers of the 2-D positions (size and center)
    fourier_hidden: int = 32  # hidden units of the two Fourier MLPs
    heads: int = 4
    ffn: int = 2048
    out: int = 16  # size of the L2-normalized summary of a history
    head_hidden: int = 16  # hidden units of the stop and progress heads


class BoxHistoryOutput(NamedTuple):
    """What a batch of histories is encoded to."""

    features: Tensor  # (B, out), L2-normalized
    stop_logit: Tensor  # (B,)
    progress: Tensor  # (B,), raw: trained towards [0, 1] but not clamped

    @property
    def stop(self) -> Tensor:
        """(B,) probability that the search is over."""
        return self.stop_logit.sigmoid()


class FourierFeatures(nn.Module):
    """Positions (..., G groups, `positions` numbers) -> (..., G * `out`): a learned frequency matrix, cosines
    and sines divided by sqrt(`fourier`), then a two-layer MLP shared by the groups, whose outputs are
    concatenated.
    """

    def __init__(self, positions: int, fourier: int, hidden: int, out: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(fourier // 2, positions))
        self.mlp = nn.Sequential(nn.Linear(fourier, hidden), nn.GELU(), nn.Linear(hidden, out))

    def forward(self, x: Tensor) -> Tensor:
        """(..., groups, positions) -> (..., groups * out)."""
        angles = x @ self.frequencies.T
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1) / math.sqrt(2 * self.frequencies.shape[0])
        features: Tensor = self.mlp(waves).flatten(-2)
        return features


def box_features(boxes_xywh: Tensor, mask: Tensor) -> Tensor:
    """The six numbers that describe each box of a history.

    `boxes_xywh` (B, T, 4), frame pixels, the first box of each history being the frame; `mask` (B, T), True
    where a box is real. Returns (B, T, 6): area / area of the first box; area / area of the box before (1 for
    the first); w / W; h / H; center x / W; center y / H. Padding gives zeros; boxes without area give finite
    numbers.
    """
    x, y, w, h = boxes_xywh.unbind(-1)
    area = w * h
    before = torch.cat([area[:, :1], area[:, :-1]], dim=1)
    to_before = area / (before + _TINY)
    to_before = torch.cat([torch.ones_like(to_before[:, :1]), to_before[:, 1:]], dim=1)
    frame_w, frame_h = w[:, :1].clamp(min=_TINY), h[:, :1].clamp(min=_TINY)
    features = [
        area / area[:, :1].clamp(min=_TINY),
        to_before,
        w / frame_w,
        h / frame_h,
        (x + w / 2) / frame_w,
        (y + h / 2) / frame_h,
    ]
    return torch.stack(features, dim=-1).masked_fill(~mask[..., None], 0.0)


def pad_histories(
    histories: Sequence[np.ndarray | Tensor | Sequence[Sequence[float]]],
) -> tuple[Tensor, Tensor]:
    """Histories of n boxes each (n, 4), xywh in frame pixels -> (boxes (B, T, 4) float32, mask (B, T) True
    where real).

    Raises InputError for no histories, an empty history or one that is not (n, 4).
    """
    rows = [torch.as_tensor(history, dtype=torch.float32) for history in histories]
    if not rows:
        raise InputError("expected at least one box history, got none")
    for row in rows:
        if row.ndim != 2 or row.shape[1] != 4 or row.shape[0] == 0:
            raise InputError(
                f"expected a box history of shape (n, 4) with n >= 1, as x, y, w, h, got {tuple(row.shape)}"
            )
    boxes = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows], device=boxes.device)
    return boxes, torch.arange(boxes.shape[1], device=boxes.device) < lengths[:, None]


def round_progress(progress: Tensor, step: float = PROGRESS_STEP) -> Tensor:
    """To the nearest multiple of `step`, halves to even, as published."""
    return (progress / step).round() * step + 0.0  # never -0


def _head(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class BoxHistoryEncoder(nn.Module):
    """One transformer layer over the boxes of a history, averaged; two heads on the average: stop and
    progress.

    139,986 parameters at the published sizes. (The published checkpoint holds the transformer layer twice,
    the second copy never used; it is not built here.)
    """

    def __init__(self, config: BoxHistoryConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or BoxHistoryConfig()
        group = config.hidden // 4
        self.area = FourierFeatures(1, config.fourier_area, config.fourier_hidden, group)
        self.shape = FourierFeatures(2, config.fourier_shape, config.fourier_hidden, group)
        self.layer = nn.TransformerEncoderLayer(config.hidden, config.heads, config.ffn, batch_first=True)
        self.project = nn.Linear(config.hidden, config.out)
        self.stop_head = _head(config.out, config.head_hidden)
        self.progress_head = _head(config.out, config.head_hidden)

    def forward(self, boxes_xywh: Tensor, mask: Tensor) -> BoxHistoryOutput:
        """`boxes_xywh` (B, T, 4) in frame pixels, first the frame; `mask` (B, T), True where real (one at
        least a row).
        """
        numbers = box_features(boxes_xywh, mask).to(self.project.weight.dtype)
        areas = self.area(numbers[..., :2, None])
        shapes = self.shape(numbers[..., 2:].unflatten(-1, (2, 2)))
        hidden = self.layer(torch.cat([areas, shapes], dim=-1), src_key_padding_mask=~mask)
        summed = self.project(hidden).masked_fill(~mask[..., None], 0.0).sum(dim=1)
        features = F.normalize(summed / mask.sum(dim=1, keepdim=True), dim=-1)
        return BoxHistoryOutput(features, self.stop_head(features)[:, 0], self.progress_head(features)[:, 0])

    @torch.no_grad()
    def read(
        self,
        histories: Sequence[np.ndarray | Tensor | Sequence[Sequence[float]]],
        step: float | None = PROGRESS_STEP,
    ) -> tuple[Tensor, Tensor]:
        """Histories (n, 4) of any lengths -> (progress (B,), stop probability (B,)).

        Progress is clamped to [0, 1], and rounded to multiples of `step` where that is no None.
        """
        boxes, mask = pad_histories(histories)
        device = self.project.weight.device
        output = self(boxes.to(device), mask.to(device))
        progress = output.progress.float()
        if step is not None:
            progress = round_progress(progress, step)
        return progress.clamp(0.0, 1.0), output.stop
