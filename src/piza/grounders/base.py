"""The search with any grounder: anything that answers an image and a sentence with boxes and scores, without training.

A grounder that was not taught to zoom says neither how far along the search is nor when to stop, so both follow from
sizes: a box is looked at closer in a window of `context` times its side, and where that window would be no smaller than
the present one, the box is the answer. As such a grounder may see nothing at all in a large frame, the quarters of a
window are hypotheses too, with a small prior: a tree of windows with a way back, as in ZoomEye (arXiv 2411.16044).
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from piza.boxes import area_xyxy, clip_xyxy, iou_xyxy
from piza.config import LastLookEvidence, SearchConfig, ZoomPolicy
from piza.devices import AUTO
from piza.errors import InputError, reason
from piza.grounders.transformers import transformers_grounder
from piza.grounders.vlm import chat_grounder
from piza.image import ImageArray, ImageReference, ImageSource, cut, open_image
from piza.result import Result, Step
from piza.search.best_first import SAME_WINDOW, SHRINK, best_first
from piza.search.hypothesis import Hypothesis, Observation, SearchOutcome
from piza.search.locate_many import ImageResults, locate_many
from piza.search.predictor import as_floats, check_flags, check_sentences, result_of, search_config
from piza.search.zoom_path import first_windows, frame_window, side, square_window
from piza.sources.images import Source

Grounder: TypeAlias = Callable[[NDArray[np.uint8], str], tuple[NDArray[Any], NDArray[Any]]]
"""(image of a window, uint8 RGB (h, w, 3); sentence) -> boxes (n, 4) xyxy in pixels of that image, and scores (n,)
in [0, 1]; in any order, n may be 0."""

KEPT = 40  # boxes of one look that are hypotheses, the best ones
CANDIDATES = 10  # and of these, kept for drawings
OUTSIDE = 0.05  # a box may leave the image by this share of its sides; what is outside is cut off
KEY = "PIZA_API_KEY"


ZOOM = ZoomPolicy()
SEARCH = SearchConfig(
    budget=12, accept_threshold=0.6, top_k=KEPT + 4, max_looks=5, evidence=LastLookEvidence()
)
"""The search of an untrained grounder: more looks than a trained one needs, and every box of a look may be followed."""


def locate_with(
    grounder: Grounder,
    image: ImageSource,
    expression: str | Sequence[str],
    search: SearchConfig = SEARCH,
    zoom: ZoomPolicy = ZOOM,
    *,
    keep_image: bool = False,
    **options: Any,
) -> Result | list[Result]:
    """Finds the one object that each sentence describes, with any grounder.

    Args:
        grounder: see `Grounder`. It is called at most `search.budget` times a sentence, one window after the other.
        image: see `piza.search.predictor.locate`.
        expression: a sentence, or several about the same image.
        keep_image: see `piza.search.predictor.locate`.
        search: its `accept_threshold` is compared with the probability below.
        zoom: where to look next after a box, and how large an image the grounder is given.
        options: `budget`, `accept_threshold`, `max_looks`, `min_score`, `greedy`, `whole_frame` replace single settings of
            the search. `greedy` follows the best box only, and a quarter only where no box scored more than its prior.

    Returns:
        A Result, or a list of them for a list of sentences; boxes are xyxy in frame pixels. `score` is the answer's share
        among all hypotheses and "none of them", each weighted by the odds of its last look: the grounder's own score where
        there is no other hypothesis, and no better calibrated than that. `num_looks` counts the calls of the grounder. Steps
        hold 0 for progress and stop, which nobody knows here. If no look saw a box, the answer is the frame with score 0,
        stopped by "nothing".

    Raises:
        InputError: for an image that cannot be read, an expression that is no sentence, settings out of range, or a
            grounder that answers with something else than boxes and scores. What the grounder raises itself comes through.
    """
    sentences = check_sentences(expression)
    for sentence in sentences:
        if not sentence.strip():
            raise InputError(f"expected a sentence that says what to find, got {sentence!r:.60}")
    config = search_config(search, **options)
    check_flags(keep_image=keep_image)
    if not isinstance(zoom, ZoomPolicy):
        raise InputError(f"zoom: expected a ZoomPolicy, got {type(zoom).__name__} {zoom!r:.60}")
    pixels = open_image(image)
    source = ImageReference(pixels if keep_image else image, keep=keep_image)
    results = [_locate_one(grounder, pixels, source, sentence, config, zoom) for sentence in sentences]
    return results[0] if isinstance(expression, str) else results


def _locate_one(
    grounder: Grounder,
    pixels: ImageArray,
    source: ImageReference,
    sentence: str,
    config: SearchConfig,
    zoom: ZoomPolicy,
) -> Result:
    started = time.perf_counter()
    looker = GrounderLooker(grounder, pixels, sentence, config, zoom)
    outcome = best_first(looker, config)
    # A quarter is no answer. And when the looks are used up, a box of the last ones may be worth more than any answer.
    answer, rejected = outcome.answer, outcome.rejected
    boxes = [path for path in outcome.open if not looker.is_quarter(path.boxes[-1])]
    best = max(boxes, key=lambda path: path.evidence, default=None)
    if answer.steps and looker.is_quarter(answer.boxes[-1]):
        frame = frame_window(looker.frame_size)
        answer = best or Hypothesis([frame], frame, looker.steps[:1], stopped="nothing")
    elif best and len(outcome.looked) >= config.budget and config.top_k > 1:
        if answer.stopped == "nothing" or best.evidence > answer.evidence:
            rejected = [answer, *rejected] if answer.stopped != "nothing" else rejected
            answer = best
    answer.stopped = answer.stopped or "budget"
    # Windows that two boxes led to are looked at once.
    looked = [np.array(step.window_xyxy) for step in looker.steps]
    outcome = SearchOutcome(answer, rejected, outcome.open, looked)
    milliseconds = (time.perf_counter() - started) * 1000
    return result_of(sentence, outcome, looker.frame_size, source, milliseconds, config)


@dataclass
class GrounderLooker:
    """A grounder that looks for one sentence in one image: the `Looker` of `best_first`.

    steps: the calls of the grounder so far, in order.
    """

    grounder: Grounder
    image: ImageArray
    expression: str
    config: SearchConfig
    zoom: ZoomPolicy
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._quarters: set[tuple[float, ...]] = set()

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def first_windows(self) -> list[NDArray[Any]]:
        """See `Looker.first_windows`."""
        return first_windows(self.frame_size, self.config.num_first_windows)

    def look(self, paths: Sequence[Hypothesis]) -> list[Observation]:
        """See `Looker.look`: one call of the grounder a window."""
        return [self._one(path) for path in paths]

    def _one(self, path: Hypothesis) -> Observation:
        window = path.window
        size = input_size_of(window, self.zoom)
        if self._was_looked_at(window):  # two boxes led here; what was seen is a hypothesis already
            nothing = np.zeros((0, 4))
            return Observation(
                Step(as_floats(window), size, 0.0, 0.0, nothing, nothing[:, 0]), nothing, nothing[:, 0]
            )
        answer = self.grounder(cut(self.image, window, size), self.expression)
        boxes, scores = checked(answer, size)
        boxes = boxes * np.tile((window[2:] - window[:2]) / size, 2) + np.tile(window[:2], 2)
        boxes = clip_xyxy(boxes, window)
        best = np.argsort(-scores, kind="stable")[:KEPT]
        boxes, scores = boxes[best], scores[best]
        step = Step(as_floats(window), size, 0.0, 0.0, boxes[:CANDIDATES], scores[:CANDIDATES])
        self.steps.append(step)
        here = {as_floats(window), *(before.window_xyxy for before in path.steps)}
        elsewhere = [other.window_xyxy for other in self.steps if other.window_xyxy not in here]
        new = np.array([not self._leads_back(box, window, elsewhere) for box in boxes], dtype=bool)
        boxes, scores = boxes[new], scores[new]
        if self.zoom.quarters and len(path.steps) + 1 < self.config.max_looks:
            quarters = quarters_of(window, self.zoom)
            self._quarters.update(as_floats(quarter) for quarter in quarters)
            boxes = np.concatenate([boxes, quarters])
            scores = np.concatenate([scores, np.full(len(quarters), self.zoom.prior)])
        order = np.argsort(-scores, kind="stable")
        return Observation(step, boxes[order], scores[order])

    def at_end(self, path: Hypothesis, boxes: NDArray[Any]) -> list[bool]:
        """See `Looker.at_end`."""
        return [False] * len(boxes)  # no model says stop: paths end where there is no closer window

    def window_of(self, box: NDArray[Any], window: NDArray[Any]) -> NDArray[Any]:
        """See `Looker.window_of`: the quarter itself, or a window of `context` times the side of the box."""
        if self.is_quarter(box):
            return np.asarray(box, dtype=np.float64)
        center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        longest = float(max(box[2] - box[0], box[3] - box[1]))  # so that a long thin object is in it, too
        length = max(self.zoom.context * side(box), 1.25 * longest, self.zoom.min_side)
        return square_window(center, length, self.frame_size)

    def is_quarter(self, box: NDArray[Any]) -> bool:
        """Whether a hypothesis' box was not seen, but is a quarter of a window."""
        return as_floats(box) in self._quarters

    def _was_looked_at(self, window: NDArray[Any]) -> bool:
        return any(step.window_xyxy == as_floats(window) for step in self.steps)

    def _leads_back(
        self, box: NDArray[Any], window: NDArray[Any], elsewhere: Sequence[Sequence[float]]
    ) -> bool:
        """Whether a box in a window asks for a closer look that was taken already, coming from elsewhere."""
        inner = self.window_of(box, window)
        if side(inner) > SHRINK * side(window):
            return False
        return any(iou_xyxy(inner, other) >= SAME_WINDOW for other in elsewhere)


def quarters_of(window: NDArray[Any], zoom: ZoomPolicy) -> NDArray[Any]:
    """The 2 x 2 parts of a window, (4, 4) xyxy in frame pixels, or (0, 4) where they would be below `min_quarter`.

    Two neighbors overlap by `overlap` of their side s, so that 2 s - overlap s is the window's side.
    """
    size = (window[2:] - window[:2]) / (2 - zoom.overlap)
    if math.sqrt(size[0] * size[1]) < zoom.min_quarter:
        return np.zeros((0, 4))
    left_top, right_bottom = window[:2], window[2:] - size
    corners = [[x, y] for y in (left_top[1], right_bottom[1]) for x in (left_top[0], right_bottom[0])]
    return np.array([[x, y, x + size[0], y + size[1]] for x, y in corners]).clip(
        np.tile(window[:2], 2), np.tile(window[2:], 2)
    )


def input_size_of(window: NDArray[Any], zoom: ZoomPolicy) -> tuple[int, int]:
    """(width, height) of the image of a window that a grounder is given: its own pixels, unless they are more than
    `max_pixels` or fewer than `min_pixels`."""
    width, height = float(window[2] - window[0]), float(window[3] - window[1])
    area = width * height
    scale = math.sqrt(min(max(area, zoom.min_pixels), zoom.max_pixels) / area)
    return max(1, math.floor(width * scale + 1e-6)), max(1, math.floor(height * scale + 1e-6))


def checked(answer: Any, size_wh: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a grounder answered about an image of (width, height) pixels -> boxes (n, 4), xyxy in pixels of that image
    and inside it, each with an area, and scores (n,).

    What is slightly outside is cut off, and boxes without an area are left out. Raises InputError for anything else than
    `Grounder` says.
    """
    expected = "expected a grounder that answers with boxes (n, 4) and scores (n,)"
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise InputError(f"{expected}, got {_kind(answer)}")
    try:
        boxes, scores = (np.asarray(part, dtype=np.float64) for part in answer)
    except Exception as error:  # ragged lists, words, tensors on a card: each complains in its own way
        raise InputError(f"{expected}, got something that is no array of numbers: {reason(error)}") from None
    if boxes.size == 0 and scores.size == 0:
        return np.zeros((0, 4)), np.zeros(0)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise InputError(f"{expected}, got shapes {boxes.shape} and {scores.shape}")
    width, height = size_wh
    frame = np.array([0.0, 0.0, width, height])
    of = f"xyxy in pixels of the {width} x {height} image it was given"
    if not np.isfinite(boxes).all():
        raise InputError(
            f"expected a grounder that answers with finite boxes, {of}, got {_first(boxes, ~np.isfinite(boxes))}"
        )
    if not ((scores >= 0) & (scores <= 1)).all():
        odd = scores[~((scores >= 0) & (scores <= 1))][0]
        raise InputError(f"expected a grounder that answers with scores from 0 to 1, got {odd:.4g}")
    inverted = boxes[:, 2:] < boxes[:, :2]
    if inverted.any():
        raise InputError(
            f"expected a grounder that answers with boxes (left, top, right, bottom), {of}, got {_first(boxes, inverted)}"
        )
    outside = np.abs(boxes - clip_xyxy(boxes, frame)) > OUTSIDE * np.tile([width, height], 2)
    if outside.any():
        raise InputError(
            f"expected a grounder that answers with boxes inside the image, {of}, got {_first(boxes, outside)}"
        )
    boxes = clip_xyxy(boxes, frame)
    real = area_xyxy(boxes) > 0
    boxes, scores = boxes[real], scores[real]
    if len(boxes) and boxes.max() <= 1 < min(size_wh):
        raise InputError(f"expected a grounder that answers with boxes {of}, got boxes between 0 and 1 only")
    return boxes, scores


@dataclass(frozen=True)
class GrounderSearch:
    """A grounder with the manners of a model: `locate` as `piza.Piza` has it, by `locate_with`."""

    grounder: Grounder
    config: SearchConfig = SEARCH
    zoom: ZoomPolicy = ZOOM

    def locate(
        self,
        image: ImageSource,
        expression: str | Sequence[str],
        search: SearchConfig | None = None,
        **options: Any,
    ) -> Result | list[Result]:
        """Finds what each sentence describes: see `locate_with`."""
        return locate_with(self.grounder, image, expression, search or self.config, self.zoom, **options)

    def locate_many(
        self, source: Source, sentences: str | Sequence[str], **options: Any
    ) -> Iterator[ImageResults]:
        """The same about many images: see `piza.search.locate_many.locate_many`."""
        return locate_many(self, source, sentences, **options)


def load_grounder(name: str, device: str = "auto") -> GrounderSearch:
    """A grounder by one line of text, as the command line takes it.

    name: a folder or a hub name for `transformers_grounder`; or chat:MODEL@URL for `chat_grounder`, or
    chat-thousandths:MODEL@URL for a model that counts in thousandths of the image; the key, if one is needed, is taken
    from the environment variable PIZA_API_KEY. Raises InputError as these two do.
    """
    if name.startswith(("chat:", "chat-")):
        match = re.fullmatch(r"chat(-thousandths)?:(.+)@(https?://.+)", name)
        if not match:
            raise InputError(  # without quoting it: a URL may hold a password
                "the grounder cannot be understood: expected chat:MODEL@URL, with a URL such as http://localhost:8000/v1"
            )
        if device != AUTO:
            raise InputError(f"a chat model runs where its server is; --device {device} does not reach it")
        unit = "thousandths" if match[1] else "pixels"
        return GrounderSearch(chat_grounder(match[3], match[2], os.environ.get(KEY) or None, unit))
    return GrounderSearch(transformers_grounder(name, device))


def _first(boxes: NDArray[Any], wrong: NDArray[Any]) -> str:
    """The first box with something wrong, to quote."""
    return "(" + ", ".join(f"{v:.5g}" for v in boxes[wrong.any(axis=1)][0]) + ")"


def _kind(answer: Any) -> str:
    return f"{len(answer)} parts" if isinstance(answer, (tuple, list)) else f"a {type(answer).__name__}"
