"""Searching with a model: the looks that the best-first search asks for.

The box history decides about "stop" before a look is taken, so that no backbone runs at the end of a path. A
sentence is encoded once, all sentences about an image share the encoded first windows, and their searches advance
together, so that looks are taken in batches.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.boxes import clip_xyxy, xyxy_to_xywh
from piza.config import SearchConfig, override
from piza.errors import InputError
from piza.image import DecodedImage, ImageArray, ImageReference, ImageSource, cut, decode_image
from piza.result import Result, Step
from piza.search.best_first import search_steps
from piza.search.hypothesis import Hypothesis, Observation, SearchOutcome
from piza.search.protocols import Detections, ZoomModel
from piza.search.region_crops import Detail
from piza.search.zoom_path import first_windows, input_size, next_window

MAX_BATCH_PIXELS = 250_000  # of the inputs of a batch of later windows; larger ones are no faster on a CPU
SENTENCES_IN_STEP = 32  # whose searches go on together
CANDIDATES = 10  # kept of each look, for drawings and for those who want to know what else was seen


def locate(
    model: ZoomModel,
    image: ImageSource,
    expression: str | Sequence[str],
    search: SearchConfig | None = None,
    *,
    budget: int | None = None,
    accept_threshold: float | None = None,
    max_looks: int | None = None,
    min_score: float | None = None,
    greedy: bool = False,
    whole_frame: bool = False,
    keep_image: bool = False,
) -> Result | list[Result]:
    """Finds the one object that each sentence describes.

    Args:
        model: any `ZoomModel`, such as a `Piza`.
        image: the path or the bytes of a file, a PIL image, or an array (height, width, 3) of uint8 RGB.
        expression: a sentence, or several about the same image.
        search: the search's settings; None takes the model's own. The keywords below replace single ones.
        budget: the largest number of looks, over all paths.
        accept_threshold: an answer of this probability ends the search, 0 to 1.
        max_looks: the longest path from the frame to the answer, in looks.
        min_score: an answer with a lower score has `found` False, and its box is only the best guess; 0 to 1.
        greedy: follow the best window only, as published.
        whole_frame: answer from one look at the whole frame.
        keep_image: let results hold the frame's pixels, so that they can be drawn when the image is gone.

    Returns:
        A Result, or a list of them when a list of sentences was given. Boxes are xyxy in frame pixels.

    Raises:
        InputError: for an image that cannot be read, an expression that is no sentence, too long or without words, and for
            settings of a wrong type or out of range.
    """
    sentences = check_sentences(expression)
    config = search_config(
        model.config.search if search is None else search,
        budget=budget,
        accept_threshold=accept_threshold,
        max_looks=max_looks,
        min_score=min_score,
        greedy=greedy,
        whole_frame=whole_frame,
    )
    check_flags(keep_image=keep_image)
    if not sentences:
        return []
    with without_gradients():
        results = _locate(model, image, sentences, config, keep_image)
    return results[0] if isinstance(expression, str) else results


def check_sentences(expression: Any) -> list[str]:
    """The sentences of an expression: one string, or a sequence of them. Raises InputError for anything else."""
    if isinstance(expression, str):
        return [expression]
    if not isinstance(expression, Sequence) or isinstance(expression, (bytes, bytearray)):
        raise InputError(f"expected a sentence or a list of sentences, got {_shown(expression)}")
    for sentence in expression:
        if not isinstance(sentence, str):
            raise InputError(f"expected a list of sentences, got {_shown(sentence)} in it")
    return list(expression)


def check_flags(**flags: object) -> None:
    """Raise InputError, naming it, for a flag that is neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(f"{name}: expected true or false, got {_shown(value)}")


def search_config(
    own: SearchConfig,
    *,
    budget: int | None = None,
    accept_threshold: float | None = None,
    max_looks: int | None = None,
    min_score: float | None = None,
    greedy: bool = False,
    whole_frame: bool = False,
) -> SearchConfig:
    """`own` with some settings replaced; the same names mean the same in Python, on the command line and over HTTP.

    `greedy` follows one window after the other, so its budget is the longest path; `whole_frame` is one look. Raises
    InputError for a value of a wrong type or out of range.
    """
    if not isinstance(own, SearchConfig):
        raise InputError(f"search: expected a SearchConfig, got {_shown(own)}")
    check_flags(greedy=greedy, whole_frame=whole_frame)
    config = override(
        own, budget=budget, accept_threshold=accept_threshold, max_looks=max_looks, min_score=min_score
    )
    if whole_frame:
        config = replace(config, max_looks=1)
    if greedy:
        return replace(config, top_k=1, budget=config.max_looks, num_first_windows=1)
    return replace(config, budget=1, num_first_windows=1) if config.max_looks == 1 else config


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.40}"


def without_gradients() -> AbstractContextManager[Any]:
    """An exported model runs without torch: where nothing has imported it, there are no gradients to do without."""
    torch = sys.modules.get("torch")
    return torch.inference_mode() if torch else nullcontext()


def _locate(
    model: ZoomModel, image: ImageSource, sentences: list[str], config: SearchConfig, keep_image: bool
) -> list[Result]:
    started = time.perf_counter()
    picture = decode_image(image)
    windows = first_windows((picture.shape[1], picture.shape[0]), config.num_first_windows)
    frames = [
        model.encode_frame(cut(picture, window, _size(model, window, True)), Detail(picture, window))
        for window in windows
    ]
    outcomes: list[SearchOutcome] = []
    for start in range(0, len(sentences), SENTENCES_IN_STEP):
        texts = model.encode_text(sentences[start : start + SENTENCES_IN_STEP])
        lookers = [ModelLooker(model, picture, text, windows, frames) for text in texts]
        outcomes += search_in_step(lookers, config)
    milliseconds = (time.perf_counter() - started) * 1000 / len(sentences)
    source = ImageReference(picture if keep_image else image, keep=keep_image)
    return [
        result_of(
            sentence,
            outcome,
            (picture.shape[1], picture.shape[0]),
            source,
            milliseconds,
            config,
            model.unknown_words(sentence),
        )
        for sentence, outcome in zip(sentences, outcomes, strict=True)
    ]


def result_of(
    expression: str,
    outcome: SearchOutcome,
    frame_size: tuple[int, int],
    source: ImageReference,
    milliseconds: float,
    config: SearchConfig,
    unknown_words: Sequence[str] = (),
) -> Result:
    """The outcome of a search as a `Result`. unknown_words: those of the sentence that the model was never taught."""
    answer = outcome.answer
    on_path = {step.window_xyxy for step in answer.steps}
    looked = [as_floats(window) for window in outcome.looked]
    return Result(
        expression=expression,
        box_xyxy=as_floats(answer.boxes[-1]),
        score=answer.probability,
        path=answer.steps,
        frame_size=frame_size,
        stopped=answer.stopped,
        milliseconds=milliseconds,
        source=source,
        num_looks=len(looked),
        detours=[window for window in looked if window not in on_path],
        rejected=[(as_floats(other.boxes[-1]), other.probability) for other in outcome.rejected],
        found=answer.stopped != "nothing" and answer.probability >= config.min_score,
        unknown_words=list(unknown_words),
    )


@dataclass
class ModelLooker:
    """A model that looks for one sentence in one image: the `Looker` of `best_first`.

    text: from `ZoomModel.encode_text`. first_windows: xyxy in frame pixels; frames: `ZoomModel.encode_frame` of each.
    """

    model: ZoomModel
    image: ImageArray | DecodedImage
    text: Any
    first_windows: Sequence[NDArray[Any]]
    frames: Sequence[Any]

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def look(self, paths: Sequence[Hypothesis]) -> list[Observation]:
        """See `Looker.look`."""
        return look_in_batches([(self, path) for path in paths])

    def at_end(self, path: Hypothesis, boxes: NDArray[Any]) -> list[bool]:
        """See `Looker.at_end`: what the box history says of each box."""
        before = self.history(path)
        stops = _read_history(self.model, [[*before, box] for box in boxes])[1]
        return [bool(stop >= self.model.config.stop_at) for stop in stops]

    def window_of(self, box: NDArray[Any], window: NDArray[Any]) -> NDArray[Any]:
        """See `Looker.window_of`."""
        return next_window(box, window, self.frame_size, self.model.config.path)

    def history(self, path: Hypothesis) -> list[NDArray[Any]]:
        """The boxes that the box-history encoder reads before a look, xyxy in frame pixels: the frame, and the boxes
        predicted since; where looks answer with objects, the windows laid around them."""
        if self.model.config.path.answers != "object" or not path.steps:
            return path.boxes
        windows = [*(np.array(step.window_xyxy) for step in path.steps), path.window]
        return [path.boxes[0], *windows[1:]]


def search_in_step(lookers: Sequence[ModelLooker], config: SearchConfig) -> list[SearchOutcome]:
    """Runs the searches of several sentences together: each step takes the next looks of all of them in batches."""
    searches = [search_steps(looker, config) for looker in lookers]
    asked = {number: next(search) for number, search in enumerate(searches)}
    outcomes: dict[int, SearchOutcome] = {}
    while asked:
        seen = iter(look_in_batches([(lookers[n], path) for n, paths in asked.items() for path in paths]))
        for n, paths in list(asked.items()):
            try:
                asked[n] = searches[n].send([next(seen) for _ in paths])
            except StopIteration as end:
                outcomes[n] = end.value
                del asked[n]
    return [outcomes[n] for n in range(len(lookers))]


def look_in_batches(asked: Sequence[tuple[ModelLooker, Hypothesis]]) -> list[Observation]:
    """Takes looks with one model, each at the window of a path; returns what each observed, in order.

    First looks at one window are taken together, and so are later windows of one input size.
    """
    groups: dict[tuple[tuple[int, int], int], list[int]] = {}
    for place, (looker, path) in enumerate(asked):
        first = not path.steps
        key = _size(looker.model, path.window, first), _first_number(looker, path) if first else -1
        groups.setdefault(key, []).append(place)
    seen: dict[int, Observation] = {}
    for (size, number), places in groups.items():
        batch_size = len(places)
        if number < 0:
            pixels = size[0] * size[1]
            batch_size = max(1, min(asked[0][0].model.max_windows, MAX_BATCH_PIXELS // pixels))
        for part in np.array_split(places, -(-len(places) // batch_size)):  # as even as can be: less memory
            batch = [asked[place] for place in part]
            seen.update(zip(part.tolist(), _look(batch, size, number), strict=True))
    return [seen[place] for place in range(len(asked))]


def _look(
    asked: Sequence[tuple[ModelLooker, Hypothesis]], size: tuple[int, int], number: int
) -> list[Observation]:
    """One batch: first looks at the window of this number, or (-1) later ones at any."""
    looker, _ = asked[0]
    model, texts = looker.model, [looker.text for looker, _ in asked]
    progress, stop = (
        [float(value) for value in values]
        for values in _read_history(model, [looker.history(path) for looker, path in asked])
    )
    if number >= 0:
        detections = model.first_look(texts, looker.frames[number], progress[0])
    else:
        images = [cut(looker.image, path.window, size) for looker, path in asked]
        detections = model.refine(texts, images, progress)
    found = []
    for row, ((_, path), detected) in enumerate(zip(asked, detections, strict=True)):
        boxes, scores = in_frame(detected, path.window), detected.scores
        kept = boxes[:CANDIDATES], scores[:CANDIDATES]
        step = Step(as_floats(path.window), size, progress[row], stop[row], *kept)
        found.append(Observation(step, boxes, scores))
    return found


def in_frame(detections: Detections, window: NDArray[Any]) -> NDArray[Any]:
    """The boxes of a look at `window` (xyxy in frame pixels): (k, 4) xyxy in frame pixels, inside the window."""
    size = np.tile(window[2:] - window[:2], 2)
    return clip_xyxy(np.tile(window[:2], 2) + detections.boxes * size, window)


def as_floats(box: NDArray[Any]) -> tuple[float, float, float, float]:
    """A box of four numbers as plain floats."""
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _first_number(looker: ModelLooker, path: Hypothesis) -> int:
    return next(n for n, window in enumerate(looker.first_windows) if window is path.window)


def _size(model: ZoomModel, window: NDArray[Any], first: bool) -> tuple[int, int]:
    return input_size(window, first, model.config.first_pixels, model.config.later_pixels)


def _read_history(model: ZoomModel, paths: Sequence[list[NDArray[Any]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Progress and stop probability, (n,) each, after the boxes of n paths."""
    return model.read_history([xyxy_to_xywh(np.array(boxes)) for boxes in paths])
