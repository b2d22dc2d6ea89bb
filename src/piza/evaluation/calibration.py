"""What the scores of a search are worth: looks recorded once, searches replayed at no cost, evidence fitted.

A search asks for looks; which ones depends on its settings, what each one sees does not. So a model looks at every
window that any of several searches asks for once, and the searches are compared on the same looks.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from piza.boxes import iou_xyxy
from piza.config import Evidence, SearchConfig
from piza.data.sorec import Row, find_image
from piza.evaluation.metrics import ROUNDING
from piza.image import cut, open_image
from piza.model.piza import Piza
from piza.search.best_first import best_first
from piza.search.hypothesis import Hypothesis, Observation, SearchOutcome
from piza.search.predictor import ModelLooker
from piza.search.region_crops import Detail
from piza.search.zoom_path import first_windows, input_size, next_window


@dataclass
class Recorder:
    """The looks of one row, each taken once. milliseconds: what each window's look took, the first one's without opening
    the image."""

    row: Row
    looker: ModelLooker
    seen: dict[bytes, Observation] = field(default_factory=dict)
    milliseconds: dict[bytes, float] = field(default_factory=dict)
    ends: dict[bytes, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._frame_size = self.looker.frame_size

    def look(self, paths: Sequence[Hypothesis]) -> list[Observation]:
        """See `Looker.look`; each window is looked at once."""
        keys = [_key(path.window, len(path.steps)) for path in paths]
        if any(key not in self.seen for key in keys):
            begin = time.perf_counter()
            seen = self.looker.look(paths)
            share = 1000 * (time.perf_counter() - begin) / len(paths)
            for key, one in zip(keys, seen, strict=True):
                if key not in self.seen:
                    self.seen[key] = one
                    self.milliseconds[key] = self.milliseconds.get(key, 0.0) + share
        return [self.seen[key] for key in keys]

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._frame_size

    @property
    def first_windows(self) -> Sequence[NDArray[Any]]:
        """See `Looker.first_windows`."""
        return self.looker.first_windows

    def window_of(self, box: NDArray[Any], window: NDArray[Any]) -> NDArray[Any]:
        """See `Looker.window_of`."""
        return next_window(box, window, self.frame_size, self.looker.model.config.path)

    def at_end(self, path: Hypothesis, boxes: NDArray[Any]) -> list[bool]:
        """See `Looker.at_end`; each box is judged once."""
        before = np.concatenate([*path.boxes, path.window]).tobytes()
        keys = [before + box.tobytes() for box in boxes]
        unknown = [number for number, key in enumerate(keys) if key not in self.ends]
        if unknown:
            answers = self.looker.at_end(path, boxes[unknown])
            self.ends |= {keys[number]: end for number, end in zip(unknown, answers, strict=True)}
        return [self.ends[key] for key in keys]

    def search(self, config: SearchConfig) -> SearchOutcome:
        """A search with these settings, over the looks that were recorded and those still to take."""
        return best_first(self, config)

    def forget_image(self) -> None:
        """Frees the image and its features; searches that need no new look still work."""
        self.looker.image = np.zeros((0, 0, 3), np.uint8)
        self.looker.frames = []

    def cost(self, found: SearchOutcome) -> float:
        """Milliseconds of a search's looks."""
        keys = [
            _key(window, int(number >= len(self.looker.first_windows)))
            for number, window in enumerate(found.looked)
        ]
        return sum(self.milliseconds[key] for key in keys)


def _key(window: NDArray[Any], depth: int) -> bytes:
    return np.asarray(window, float).tobytes() + bytes([min(depth, 1)])


def recorders(model: Piza, rows: Sequence[Row], images: str | Path) -> Iterator[Recorder]:
    """One recorder a row. An image is opened and its first look encoded once; every row is charged for the encoding
    alone, as a search for one sentence would be."""
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    with torch.inference_mode():
        for name, asked in by_image.items():
            image = open_image(find_image(images, name))
            windows = first_windows((image.shape[1], image.shape[0]), model.config.search.num_first_windows)
            begin = time.perf_counter()
            sizes = [
                input_size(view, True, model.config.first_pixels, model.config.later_pixels)
                for view in windows
            ]
            frames = [
                model.encode_frame(cut(image, view, size), Detail(image, view))
                for view, size in zip(windows, sizes, strict=True)
            ]
            encoding = 1000 * (time.perf_counter() - begin) / len(windows)
            for row in asked:
                (text,) = model.encode_text([row.expression])
                looker = ModelLooker(model, image, text, windows, frames)
                yield Recorder(row, looker, milliseconds={_key(view, 0): encoding for view in windows})


@dataclass
class Choice:
    """The hypotheses of one row after a search: n lists of log-odds of each one's looks, and whether each is right.

    The search must judge both what is known after the first look and after all of them, so `fit` is given both.
    """

    odds: list[list[float]]
    right: list[bool]

    def after_first_look(self) -> "Choice":
        """The same choice when only the first look's scores are known."""
        return Choice([odds[:1] for odds in self.odds], self.right)


def choice_of(found: SearchOutcome, target: tuple[float, ...]) -> Choice:
    """An answer is right if its IoU with the target is at least 0.5; a window not looked into, if it holds the target."""
    answers = [found.answer, *found.rejected]
    right = [bool(iou_xyxy(path.boxes[-1], target) >= 0.5 - ROUNDING) for path in answers]
    for path in found.open:
        low, high = path.window[:2] <= np.array(target[:2]) + 1, path.window[2:] >= np.array(target[2:]) - 1
        right.append(bool(low.all() and high.all()))
    return Choice([path.log_odds for path in [*answers, *found.open]], right)


def negative_log_likelihood(evidence: Evidence, choices: Sequence[Choice]) -> float:
    """Mean negative log-probability of what is right: one of the hypotheses, or none of them."""
    total = 0.0
    for choice in choices:
        values = np.array([evidence.of(odds) for odds in choice.odds] + [evidence.none])
        right = np.array([*choice.right, not any(choice.right)])
        top = values.max()
        total -= np.log(np.exp(values[right] - top).sum() + 1e-12) - np.log(np.exp(values - top).sum())
    return total / max(1, len(choices))


def fit(choices: Sequence[Choice]) -> Evidence:
    """The evidence under which what is right is most probable, found by Nelder and Mead's simplex."""
    from scipy.optimize import minimize

    def of(values: NDArray[Any]) -> Evidence:
        return Evidence(*(float(v) for v in values))

    start = np.array([1.0, 1.0, 0.0, 0.0])
    # By itself scipy tries steps of 0.00025 from a zero, and is soon content there.
    corners = np.vstack([start, start + np.diag([-0.5, -0.5, 1.0, 1.0])])
    found = minimize(
        lambda values: negative_log_likelihood(of(values), choices) + 1e-3 * float((values[:2] ** 2).sum()),
        start,
        method="Nelder-Mead",
        options={"maxiter": 600, "xatol": 1e-3, "fatol": 1e-5, "initial_simplex": corners},
    )
    return of(np.round(found.x, 4))
