"""The windows of a search: the whole path, planned for training, and the next window, chosen at inference.

All windows and boxes are xyxy in frame pixels, floats; nothing is rounded between looks. A window is square where the
frame allows, and always inside the frame.
"""

import math

import numpy as np
from numpy.typing import NDArray

from piza.config import PathConfig

Box = NDArray[np.float64]
CLOSER = 0.7  # a window is closer than another if its side is less than this share of the other's


def side(box: Box) -> float:
    """Square root of the area of an xyxy box."""
    return math.sqrt(max(0.0, float(box[2] - box[0])) * max(0.0, float(box[3] - box[1])))


def frame_window(frame_size: tuple[int, int]) -> Box:
    """The whole frame as a window; frame_size is (width, height)."""
    return np.array([0.0, 0.0, frame_size[0], frame_size[1]])


def first_windows(frame_size: tuple[int, int], num_first_windows: int = 1) -> list[Box]:
    """The windows to begin with: the whole frame (1), its two halves along the longer side (2), or its quarters (4).

    Parts overlap by a fifth of their length, so that what is small is whole in one of them.
    """
    across, down = {1: (1, 1), 2: (2, 1) if frame_size[0] >= frame_size[1] else (1, 2), 4: (2, 2)}[
        num_first_windows
    ]
    width, height = (
        limit / (count - 0.2 * (count - 1)) for limit, count in zip(frame_size, (across, down), strict=True)
    )
    corners = [(0.8 * i * width, 0.8 * j * height) for j in range(down) for i in range(across)]
    return [np.array([x, y, x + width, y + height]) for x, y in corners]


def square_window(center: tuple[float, float], length: float, frame_size: tuple[int, int]) -> Box:
    """The square of this side length around `center`, moved inside the frame; cut only where the frame is narrower."""
    width, height = (min(float(length), float(limit)) for limit in frame_size)
    x = min(max(center[0] - width / 2, 0.0), frame_size[0] - width)
    y = min(max(center[1] - height / 2, 0.0), frame_size[1] - height)
    return np.array([x, y, x + width, y + height])


def plan_windows(target: Box, frame_size: tuple[int, int], config: PathConfig) -> list[Box]:
    """The ideal windows from the frame down to the last one, all holding the target; the answer after them is the target.

    Sides shrink geometrically from the frame to `last_zoom` times the target (the published examples fit
    area = frame^(1-a) target^a, which is the same law), each window around the target's center.
    """
    frame = frame_window(frame_size)
    longest = float(max(target[2] - target[0], target[3] - target[1]))
    last = max(config.last_zoom * side(target), config.min_side, 1.25 * longest)
    last = min(last, max(side(frame) / config.first_zoom, 1.25 * longest))
    jumps = max(1, math.ceil(math.log(max(side(frame) / last, 1.0)) / math.log(config.max_zoom)))
    center = ((target[0] + target[2]) / 2, (target[1] + target[3]) / 2)
    lengths = [side(frame) * (last / side(frame)) ** (step / jumps) for step in range(1, jumps + 1)]
    return [frame] + [square_window(center, length, frame_size) for length in lengths]


def jitter_window(
    window: Box, target: Box, frame_size: tuple[int, int], rng: np.random.Generator, shift: float = 0.3
) -> Box:
    """A window as the model might have predicted it: scaled by x0.7 to x1.4 and moved, still holding the target.

    `shift` is the largest movement as a share of the window's side; the target keeps a margin of a tenth of its own
    size where the frame has room for it.
    """
    length = max(window[2] - window[0], window[3] - window[1]) * math.exp(
        rng.uniform(math.log(0.7), math.log(1.4))
    )
    rim = 0.1 * (target[2:] - target[:2])
    low, high = target[:2] - rim, target[2:] + rim
    length = max(length, float((high - low).max()))
    center = (window[:2] + window[2:]) / 2 + rng.uniform(-shift, shift, 2) * length
    center = np.clip(center, high - length / 2, low + length / 2)
    return square_window((float(center[0]), float(center[1])), length, frame_size)


def next_window(box: Box, window: Box, frame_size: tuple[int, int], config: PathConfig) -> Box:
    """The window to look at after predicting `box` in `window`, inside the frame.

    Where looks answer with windows, it is the box made square, with a margin, never below `min_side`; where they answer
    with objects, the next window that `plan_windows` lays around the box, or the last one where none would be much smaller.
    """
    if config.answers == "object":
        planned = plan_windows(box, frame_size, config)[1:]
        return next((inner for inner in planned if side(inner) < CLOSER * side(window)), planned[-1])
    center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    length = max(float(box[2] - box[0]), float(box[3] - box[1])) * config.margin
    return square_window(center, max(length, config.min_side), frame_size)


def input_size(
    window: Box, first: bool, first_pixels: int, later_pixels: int, multiple: int = 32
) -> tuple[int, int]:
    """(width, height) of the tensor a window is resized to: about `pixels` squared in area, both multiples of `multiple`.

    Rounding to multiples changes the aspect by a few per cent and in return nothing is ever padded.
    """
    width, height = float(window[2] - window[0]), float(window[3] - window[1])
    pixels = first_pixels if first else later_pixels
    scale = pixels / math.sqrt(width * height)
    # The shorter side is at least `multiple`; the longer one is bounded, so that no aspect makes the input large.
    limit = max(multiple, pixels * pixels // multiple // multiple * multiple)
    return (
        min(limit, max(multiple, round(width * scale / multiple) * multiple)),
        min(limit, max(multiple, round(height * scale / multiple) * multiple)),
    )
