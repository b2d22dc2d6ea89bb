"""Box sequences as searches make them, to train the box-history encoder on progress and stop."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from piza.boxes import xyxy_to_xywh
from piza.config import PathConfig
from piza.search.zoom_path import frame_window, jitter_window, plan_windows


@dataclass
class HistorySample:
    """One history and what is to be read from it.

    Attributes:
        boxes_xywh: (n, 4) in pixels of the frame: the frame, then the boxes looked at.
        progress: how far along the search is, 0 to 1.
        stop: whether the last box is the answer, so that no further look is needed.
    """

    boxes_xywh: NDArray[np.float64]
    progress: float
    stop: bool


def draw_history(
    target: NDArray[np.float64], frame_size: tuple[int, int], config: PathConfig, rng: np.random.Generator
) -> HistorySample:
    """The frame of (width, height) and the first boxes of the path to `target` (4,) xyxy in its pixels, each a little wrong.

    The path of n windows, the frame among them, is at progress t / n after t predicted boxes; after n the last one is
    the answer and the search should stop. Where looks answer with objects, half of the histories end with the answer of the
    look at their last window, which is the answer of the search only if that window was the path's last.
    """
    windows = plan_windows(target, frame_size, config)
    done = int(rng.integers(0, len(windows) + 1))
    stop = done == len(windows)
    ends_with_object = stop
    if config.answers == "object" and not stop and rng.random() < 0.5:
        ends_with_object, done = True, done + 1  # one look more than there are windows in the history
        stop = done == len(windows)
    boxes = [frame_window(frame_size)]
    for window in windows[1 : done if ends_with_object else done + 1]:
        boxes.append(jitter_window(window, target, frame_size, rng, shift=0.2))
    if ends_with_object:
        boxes.append(target + rng.normal(0, 0.08, 4) * np.tile(target[2:] - target[:2], 2))
    return HistorySample(xyxy_to_xywh(np.array(boxes)), progress=done / len(windows), stop=stop)
