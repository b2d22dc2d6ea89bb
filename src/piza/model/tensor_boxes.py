"""Boxes as tensors: cxcywh, in any unit; with gradients. `piza.boxes` has them as arrays."""

import torch
from torch import Tensor


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) cxcywh to xyxy."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalized IoU of cxcywh boxes, broadcast over leading axes (Rezatofighi et al. 2019)."""
    a, b = corners(a), corners(b)
    overlap = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    union = area - overlap
    return overlap / union.clamp(min=1e-9) - (hull - union) / hull.clamp(min=1e-9)


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of every box (..., n, 4) with every other (m, 4), both cxcywh: (..., n, m)."""
    a, b = corners(boxes)[..., None, :], corners(others)
    overlap = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    union = boxes[..., None, 2:].prod(-1) + others[:, 2:].prod(-1) - overlap
    return overlap / union.clamp(min=1e-9)
