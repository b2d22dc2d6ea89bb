"""Batches of training windows: tensors of one size with their prompts and targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from piza.boxes import iou_xyxy
from piza.data.windows import TrainingWindow
from piza.training.losses import Targets

SAME_TARGET_IOU = 0.85  # of boxes of one object: sentences and phrases round theirs differently


@dataclass
class WindowBatch:
    """Windows of one size with their sentences and targets.

    Attributes:
        images: (batch, height, width, 3) uint8 RGB.
        prompts: for each window its sentences, one a block of the prompt.
        progress: (batch,) how far along each search is, 0 to 1.
        targets: for each window what is to be answered, normalized to the window.
    """

    images: Tensor
    prompts: list[list[str]]
    progress: Tensor
    targets: list[Targets]


def collate(
    windows: Sequence[TrainingWindow], size: tuple[int, int], rngs: Sequence[np.random.Generator] | None
) -> WindowBatch:
    """Cut windows and resize them to (width, height); with `rngs`, one a window, photometrically augmented. Windows without
    sentences are left out."""
    drawn: Sequence[np.random.Generator | None] = rngs or [None] * len(windows)
    pixels = [
        window.pixels(size, rng) for window, rng in zip(windows, drawn, strict=True) if window.sentences
    ]
    windows = [window for window in windows if window.sentences]
    return WindowBatch(
        torch.from_numpy(np.stack(pixels)),
        [window.sentences for window in windows],
        torch.tensor([window.progress for window in windows]),
        [targets_of(window) for window in windows],
    )


def targets_of(window: TrainingWindow) -> Targets:
    """The targets of a window, normalized to it; answers of several sentences that are the same are one target, because one
    query must be free to answer them all."""
    owner: list[int] = []
    kept: list[int] = []
    for i, (answer, target) in enumerate(zip(window.answer, window.target, strict=True)):
        for number, other in enumerate(kept):
            if (
                iou_xyxy(answer, window.answer[other]) > SAME_TARGET_IOU
                and iou_xyxy(target, window.target[other]) > SAME_TARGET_IOU
            ):
                owner.append(number)
                break
        else:
            owner.append(len(kept))
            kept.append(i)
    positive = torch.zeros(len(kept), len(window.sentences))
    for number, block in zip(owner, window.block, strict=True):
        positive[number, block] = 1
    return Targets(
        positive,
        torch.from_numpy(window.normalized([window.answer[i] for i in kept])),
        torch.from_numpy(window.normalized([window.target[i] for i in kept])),
    )
