"""Finding with a model: the looks that the best-first search asks for.

"Stop" is asked of the box history before a look, so no backbone runs only to be told that the path is at its end. A
sentence is encoded once, and all sentences about a picture share the features of its first look.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from piza.best_first import Found, Hypothesis, SearchConfig, Seen, best_first
from piza.boxes import clip_xyxy, cxcywh_to_xyxy, xyxy_to_xywh
from piza.errors import InputError
from piza.path import first_windows, input_size, next_window
from piza.picture import Picture, PictureSource, cut, open_picture
from piza.result import Result, Step, check_min_score

if TYPE_CHECKING:
    from piza.model.grounder import Grounding, PictureFeatures, TextFeatures
    from piza.model.piza import Piza

CANDIDATES = 10  # kept of each look, for drawings and for those who want to know what else was seen


def locate(
    model: "Piza",
    image: PictureSource,
    expression: str | Sequence[str],
    max_steps: int | None = None,
    whole_frame: bool = False,
    greedy: bool = False,
    min_score: float | None = None,
) -> Result | list[Result]:
    """Finds the one thing each sentence describes.

    Args:
        model: what looks.
        image: a path, a PIL picture, or an array (height, width, 3) of uint8 RGB.
        expression: a sentence, or several about the same picture.
        max_steps: the longest path from the frame to the answer, in looks; None takes the model's own limit.
        whole_frame: answer from one look at the whole frame.
        greedy: follow the best window only, as published; otherwise up to the model's budget of looks is spent.
        min_score: a result with a lower score has `found` False, and its box is only the best guess; 0 to 1.

    Returns:
        A Result, or a list of them when a list of sentences was given. Boxes are xyxy in frame pixels.

    Raises:
        InputError: for a picture that cannot be read, an empty or over-long sentence, max_steps below 1, or a min_score
            that is no probability.
    """
    single = isinstance(expression, str)
    sentences = [expression] if isinstance(expression, str) else list(expression)
    most = 1 if whole_frame else (model.config.search.max_steps if max_steps is None else max_steps)
    if most < 1:
        raise InputError(f"max_steps must be at least 1, but {most} was given.")
    check_min_score(min_score)
    if not sentences:
        return []
    with _without_gradients():
        results = _locate(model, image, sentences, search_config(model, most, greedy), min_score)
    return results[0] if single else results


def _without_gradients() -> AbstractContextManager[Any]:
    """An exported model runs without torch: where nothing has imported it, there are no gradients to do without."""
    torch = sys.modules.get("torch")
    return torch.inference_mode() if torch else nullcontext()


def _locate(
    model: "Piza", image: PictureSource, sentences: list[str], config: SearchConfig, min_score: float | None
) -> list[Result]:
    started = time.perf_counter()
    picture = open_picture(image)
    texts = [model.encode_text([[sentence]]) for sentence in sentences]
    frame_size = (picture.shape[1], picture.shape[0])
    views = first_windows(frame_size, config.views)
    first = [model.encode_pictures([cut(picture, view, _size(model, view, True))]) for view in views]
    shared = (time.perf_counter() - started) * 1000 / len(sentences)
    results = []
    for sentence, (text, pooling) in zip(sentences, texts, strict=True):
        started = time.perf_counter()
        found = Looks(model, picture, text, pooling, first).search(config)
        results.append(
            Result(
                expression=sentence,
                box_xyxy=_floats(found.answer.boxes[-1]),
                score=found.answer.probability,
                path=found.answer.steps,
                frame_size=frame_size,
                stopped=found.answer.stopped,
                milliseconds=shared + (time.perf_counter() - started) * 1000,
                picture=picture,
                looks=len(found.looked),
                detours=[_floats(window) for window in found.looked if not _on(window, found.answer)],
                rejected=[(_floats(other.boxes[-1]), other.probability) for other in found.rejected],
                found=min_score is None or found.answer.probability >= min_score,
            )
        )
    return results


def search_config(model: "Piza", most: int, greedy: bool = False) -> SearchConfig:
    """The model's own search, with paths of at most `most` looks; `greedy` follows the best window only."""
    own = model.config.search
    if greedy:
        return replace(own, max_steps=most, branch=1, budget=most, views=1)
    return replace(
        own, max_steps=most, budget=own.budget if most > 1 else 1, views=own.views if most > 1 else 1
    )


@dataclass
class Looks:
    """All that `best_first` asks about one sentence and one picture; `first`: features of the first windows, in order."""

    model: "Piza"
    picture: Picture
    text: "TextFeatures"
    pooling: Any  # a tensor, or the array of an exported model
    first: "list[PictureFeatures]"

    def __post_init__(self) -> None:
        self.frame_size = (self.picture.shape[1], self.picture.shape[0])

    def look(self, paths: Sequence[Hypothesis]) -> list[Seen]:
        return [self._one(path, number) for number, path in enumerate(paths)]

    def _one(self, path: Hypothesis, number: int) -> Seen:
        model = self.model
        size = _size(model, path.window, not path.steps)
        features = (
            model.encode_pictures([cut(self.picture, path.window, size)])
            if path.steps
            else self.first[number]  # all first windows are asked for at once
        )
        progress, stop = (float(v[0]) for v in _read(model, [self.history(path)]))
        grounding = model.ground(self.text, self.pooling, features, [progress])
        boxes, scores = answers(grounding, path.window)
        step = Step(_floats(path.window), size, progress, stop, boxes[:CANDIDATES], scores[:CANDIDATES])
        return Seen(step, boxes, scores)

    def history(self, path: Hypothesis) -> list[NDArray]:
        """The boxes that the box-history encoder reads before a look: the frame, and the boxes predicted since; where
        looks answer with things, the windows laid around them."""
        if self.model.config.path.answers != "thing" or not path.steps:
            return path.boxes
        windows = [*(np.array(step.window_xyxy) for step in path.steps), path.window]
        return [path.boxes[0], *windows[1:]]

    def at_end(self, path: Hypothesis, boxes: NDArray) -> list[bool]:
        before = self.history(path)
        stops = _read(self.model, [[*before, box] for box in boxes])[1]
        return [bool(stop >= self.model.config.stop_at) for stop in stops]

    def window_of(self, box: NDArray, window: NDArray) -> NDArray:
        return next_window(box, window, self.frame_size, self.model.config.path)

    def search(self, config: SearchConfig) -> Found:
        return best_first(self.frame_size, self.look, self.at_end, self.window_of, config)


def _floats(box: NDArray) -> tuple[float, float, float, float]:
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _on(window: NDArray, path: Hypothesis) -> bool:
    return any(step.window_xyxy == _floats(window) for step in path.steps)


def _size(model: "Piza", window: NDArray, first: bool) -> tuple[int, int]:
    return input_size(window, first, model.config.first_pixels, model.config.later_pixels)


def _read(model: "Piza", paths: Sequence[list[NDArray]]) -> tuple[Any, Any]:
    """Progress and stop probability, (n,) each, after the boxes of n paths."""
    return model.history.read([xyxy_to_xywh(np.array(boxes)) for boxes in paths], model.config.progress_step)


def answers(grounding: "Grounding", window: NDArray) -> tuple[NDArray, NDArray]:
    """The boxes of one look (batch of 1), best first: (queries, 4) xyxy in frame pixels, and their scores in [0, 1]."""
    logits = _array(grounding.logits[-1, 0]).max(-1)
    with np.errstate(over="ignore"):  # of a logit far below zero, whose score is then 0
        scores = 1 / (1 + np.exp(-logits))
    order = np.argsort(-scores, kind="stable")
    relative = cxcywh_to_xyxy(_array(grounding.boxes[-1, 0]).astype(np.float64))
    size = np.tile(window[2:] - window[:2], 2)
    return clip_xyxy(np.tile(window[:2], 2) + relative * size, window)[order], scores[order]


def _array(values: Any) -> NDArray:
    """A tensor of any device, or an array, as an array."""
    return values.cpu().numpy() if hasattr(values, "cpu") else values
