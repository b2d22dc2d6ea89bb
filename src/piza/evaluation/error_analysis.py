"""Where a search goes wrong: every miss is of exactly one class, judged by its windows and boxes.

A miss is an answer with an IoU below 0.5. A window *holds* an object when at least half of the object's area lies in it:
answers are clipped to their window, so no answer from a window that holds less can reach an IoU of 0.5. The IoU of 0.1
between "loose" and "wrong" is the one TIDE draws between a bad box and background (Bolya et al., ECCV 2020).

For answers from tiles, the only window is the tile, and "first_window" means that the wrong tile answered.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from piza.boxes import area_xyxy, clip_xyxy, iou_xyxy
from piza.evaluation.intervals import Interval, intervals
from piza.evaluation.metrics import ROUNDING, accuracy, mean_accuracy
from piza.evaluation.outcome import Outcome
from piza.search.zoom_path import side

RIGHT = 0.5  # IoU from which an answer is right
HELD = 0.5  # share of the object's area a window must hold
BACKGROUND = 0.1  # IoU below which a box is not of the object
WINDOW_SIDES = 3.0  # a box that holds the object and has this many times its side is a window, not an answer

CLASSES = {
    "late": "an earlier look had the right box, and the search went on",
    "first_window": "the first window lost the target",
    "later_window": "a later window lost the target",
    "early": "the search stopped at a window around the target",
    "loose": "the last box was on the target, but loose",
    "wrong": "the last window held the target, the answer was another object",
}

SIZES = (0.0, 0.0001, 0.0003, 0.001, 0.003, math.inf)  # of the target, as a share of the frame's area
LENGTHS = (0, 6, 11, 21, 31, math.inf)  # of the sentence, in words
LOOKS = (0, 2, 3, 4, 5, 7, 11, 31, math.inf)


@dataclass
class Bin:
    """Rows alike in one respect, and how they fared. acc50, macc and the 95 % interval of acc50 in percent."""

    label: str
    rows: int
    acc50: float
    macc: float
    interval: Interval | None


@dataclass
class ErrorAnalysis:
    """rows: all. misses: those below an IoU of 0.5. classes: how many misses of each class, all classes named. by_size,
    by_length: the bins that hold rows."""

    rows: int
    misses: int
    classes: dict[str, int]
    by_size: list[Bin]
    by_length: list[Bin]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""

        def plain(bins: list[Bin]) -> list[dict[str, Any]]:
            return [{**vars(part), "interval": part.interval and list(part.interval)} for part in bins]

        return {**vars(self), "by_size": plain(self.by_size), "by_length": plain(self.by_length)}


def error_analysis(outcomes: Sequence[Outcome]) -> ErrorAnalysis:
    """The classes of all misses, and the accuracy by size of the target and by length of the sentence.

    Outcomes come from `evaluate` or, afterwards, from a file:
    `error_analysis(read_predictions("predictions.jsonl"))`.
    """
    found = [classify(outcome) for outcome in outcomes]
    return ErrorAnalysis(
        rows=len(found),
        misses=sum(name is not None for name in found),
        classes={name: found.count(name) for name in CLASSES},
        by_size=binned(outcomes, _area_share, SIZES, _size_label),
        by_length=binned(outcomes, lambda o: len(o.row.expression.split()), LENGTHS, _length_label),
    )


def classify(outcome: Outcome) -> str | None:
    """The class of a miss, a key of `CLASSES`, or None if the answer is right.

    In this order, the first that holds:

        late          the best box of an earlier look on this path was right
        first_window  the window after the frame does not hold the target
        later_window  one of those after it does not
        early         the answer holds the target, and its side is three times the target's or more
        loose         the answer has an IoU of 0.1 or more with the target
        wrong         all others: the answer is another object in a window that holds the target

    A search that ran out of looks (`stopped` is "budget") answers with the window it would have looked at next, which
    counts among the windows here.
    """
    if outcome.iou >= RIGHT - ROUNDING:
        return None
    target = outcome.row.box_xyxy
    if any(iou_xyxy(box, target) >= RIGHT - ROUNDING for box in outcome.boxes[:-1]):
        return "late"
    unseen = [outcome.box_xyxy] if outcome.stopped == "budget" else []
    for number, window in enumerate([*outcome.windows, *unseen]):
        if not holds(window, target):
            return "first_window" if number <= 1 else "later_window"
    if holds(outcome.box_xyxy, target) and side(np.asarray(outcome.box_xyxy)) >= WINDOW_SIDES * side(
        np.asarray(target)
    ):
        return "early"
    return "loose" if outcome.iou >= BACKGROUND else "wrong"


def holds(window: ArrayLike, target: ArrayLike) -> bool:
    """Whether a window holds half of the target's area or more; both xyxy in one frame of reference."""
    return bool(area_xyxy(clip_xyxy(target, window)) >= HELD * area_xyxy(target) - ROUNDING)


def by_looks(outcomes: Sequence[Outcome]) -> list[Bin]:
    """The accuracy by how many looks were taken, in the bins that hold rows; `LOOK_LABELS` are all of them."""
    return binned(outcomes, lambda o: o.num_looks, LOOKS, _looks_label)


def binned(
    outcomes: Sequence[Outcome],
    measure: Callable[[Outcome], float],
    edges: Sequence[float],
    label: Callable[[float, float], str],
) -> list[Bin]:
    """The bins between neighboring `edges` (the lower one belongs to its bin) that hold rows; `label` names them."""
    bins = []
    for low, high in zip(edges, edges[1:]):
        part = [outcome for outcome in outcomes if low <= measure(outcome) < high]
        if not part:
            continue
        ious = [outcome.iou for outcome in part]
        ranges = intervals(ious, [outcome.row.image for outcome in part])
        bins.append(
            Bin(
                label=label(low, high),
                rows=len(part),
                acc50=accuracy(ious, RIGHT),
                macc=mean_accuracy(ious),
                interval=ranges["acc50"] if ranges else None,
            )
        )
    return bins


def _area_share(outcome: Outcome) -> float:
    width, height = outcome.frame_size
    return float(area_xyxy(outcome.row.box_xyxy)) / max(width * height, 1)


def _size_label(low: float, high: float) -> str:
    if low == 0:
        return f"under {100 * high:g} %"
    return f"{100 * low:g} % and more" if math.isinf(high) else f"{100 * low:g} to {100 * high:g} %"


def _length_label(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} words and more"
    return f"{max(low, 1):g} to {high - 1:g} words"


def _looks_label(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} looks and more"
    first, last = max(low, 1), high - 1
    return f"{first:g} look{'' if first == 1 else 's'}" if first == last else f"{first:g} to {last:g} looks"


LOOK_LABELS = tuple(_looks_label(low, high) for low, high in zip(LOOKS, LOOKS[1:]))
