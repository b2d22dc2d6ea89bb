"""Finding with a model: the looks that the best-first search asks for.

"Stop" is asked of the box history before a look, so no backbone runs only to be told that the path is at its end. A
sentence is encoded once, all sentences about a picture share what is known of it from the first look's window, and their
searches go on in step, so that their looks can be taken together.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from piza.boxes import clip_xyxy, cxcywh_to_xyxy, xyxy_to_xywh
from piza.errors import InputError
from piza.image import DecodedImage, ImageArray, ImageSource, cut, decode_image
from piza.result import Result, Step, check_min_score
from piza.search.best_first import Hypothesis, Observation, SearchConfig, SearchOutcome, best_first, searching
from piza.search.zoom_path import first_windows, input_size, next_window

if TYPE_CHECKING:
    from piza.model.grounder import Grounding, TextFeatures
    from piza.model.piza import Piza

WINDOWS_AT_ONCE = 4  # in one batch; larger ones are no faster on a CPU, and need more memory
PIXELS_AT_ONCE = 250_000  # of the inputs of a batch
READ_AT_ONCE = 8  # sentences read against the things of a picture
SENTENCES_AT_ONCE = 32  # whose searches go on in step
CANDIDATES = 10  # kept of each look, for drawings and for those who want to know what else was seen


def locate(
    model: "Piza",
    image: ImageSource,
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
    model: "Piza", image: ImageSource, sentences: list[str], config: SearchConfig, min_score: float | None
) -> list[Result]:
    started = time.perf_counter()
    picture = decode_image(image)
    frame_size = (picture.shape[1], picture.shape[0])
    num_first_windows = first_windows(frame_size, config.num_first_windows)
    first = [
        model.first_features([cut(picture, view, _size(model, view, True))]) for view in num_first_windows
    ]
    answered: list[SearchOutcome] = []
    for start in range(0, len(sentences), SENTENCES_AT_ONCE):
        texts = _texts(model, sentences[start : start + SENTENCES_AT_ONCE])
        looks = [
            ModelLooker(model, picture, text, pooling, first, sentence)
            for (text, pooling), sentence in zip(texts, sentences[start:], strict=False)
        ]
        answered += search_together(looks, config)
    each = (time.perf_counter() - started) * 1000 / len(sentences)
    return [
        Result(
            expression=sentence,
            box_xyxy=_floats(found.answer.boxes[-1]),
            score=found.answer.probability,
            path=found.answer.steps,
            frame_size=frame_size,
            stopped=found.answer.stopped,
            milliseconds=each,
            picture=picture,  # type: ignore[arg-type]  # an array when it is asked for
            looks=len(found.looked),
            detours=[_floats(window) for window in found.looked if not _on(window, found.answer)],
            rejected=[(_floats(other.boxes[-1]), other.probability) for other in found.rejected],
            found=min_score is None or found.answer.probability >= min_score,
        )
        for sentence, found in zip(sentences, answered, strict=True)
    ]


def _texts(model: "Piza", sentences: list[str]) -> "list[tuple[TextFeatures, Any]]":
    """Each sentence encoded, of as many tokens as the longest where the model takes batches."""
    if not _takes_batches(model):
        return [model.encode_text([[sentence]]) for sentence in sentences]
    text, pooling = model.encode_text([[sentence] for sentence in sentences])
    return [(text[[row]], pooling[[row]]) for row in range(len(sentences))]


def _takes_batches(model: Any) -> bool:
    return hasattr(model, "detector")  # an exported model does not


def _lists(model: Any) -> bool:
    """Whether its first look lists things and reads sentences against them."""
    return model.config.num_proposals > 0


def search_config(model: "Piza", most: int, greedy: bool = False) -> SearchConfig:
    """The model's own search, with paths of at most `most` looks; `greedy` follows the best window only."""
    own = model.config.search
    if greedy:
        return replace(own, max_steps=most, top_k=1, budget=most, num_first_windows=1)
    return replace(
        own,
        max_steps=most,
        budget=own.budget if most > 1 else 1,
        num_first_windows=own.num_first_windows if most > 1 else 1,
    )


@dataclass
class ModelLooker:
    """All that `best_first` asks about one sentence and one picture.

    first: `first_features` of the first windows, in order.
    """

    model: "Piza"
    picture: ImageArray | DecodedImage
    text: "TextFeatures"
    pooling: Any  # a tensor, or the array of an exported model
    first: Sequence[Any]
    sentence: str

    def __post_init__(self) -> None:
        self.frame_size = (self.picture.shape[1], self.picture.shape[0])

    def look(self, paths: Sequence[Hypothesis]) -> list[Observation]:
        return look_together([(self, path, number) for number, path in enumerate(paths)])

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

    def search(self, config: SearchConfig) -> SearchOutcome:
        return best_first(self.frame_size, self.look, self.at_end, self.window_of, config)


def search_together(looks: Sequence[ModelLooker], config: SearchConfig) -> list[SearchOutcome]:
    """The searches of several sentences, in step: the looks that they ask for next are taken together."""
    searches = [searching(one.frame_size, one.at_end, one.window_of, config) for one in looks]
    asked = {number: next(search) for number, search in enumerate(searches)}
    found: dict[int, SearchOutcome] = {}
    while asked:
        wanted = [(looks[n], path, at) for n, paths in asked.items() for at, path in enumerate(paths)]
        seen = iter(look_together(wanted))
        for n, paths in list(asked.items()):
            try:
                asked[n] = searches[n].send([next(seen) for _ in paths])
            except StopIteration as end:
                found[n] = end.value
                del asked[n]
    return [found[n] for n in range(len(looks))]


def look_together(asked: Sequence[tuple[ModelLooker, Hypothesis, int]]) -> list[Observation]:
    """Looks of one model, each at the window of a path, which is the search's n-th where it is a first one; what each
    saw. Windows of one input size are looked at in batches."""
    groups: dict[tuple[tuple[int, int], int], list[int]] = {}
    for place, (one, path, number) in enumerate(asked):
        key = _size(one.model, path.window, not path.steps), -1 if path.steps else number
        groups.setdefault(key, []).append(place)
    seen: dict[int, Observation] = {}
    for (size, _), places in groups.items():
        most = max(1, min(WINDOWS_AT_ONCE, PIXELS_AT_ONCE // (size[0] * size[1])))
        if _lists(asked[0][0].model) and not asked[places[0]][1].steps:
            most = READ_AT_ONCE
        elif not _takes_batches(asked[0][0].model):
            most = 1
        for part in np.array_split(places, -(-len(places) // most)):  # as even as can be: less memory
            seen.update(zip(part.tolist(), _look([asked[place] for place in part], size), strict=True))
    return [seen[place] for place in range(len(asked))]


def _look(asked: Sequence[tuple[ModelLooker, Hypothesis, int]], size: tuple[int, int]) -> list[Observation]:
    """One batch: first looks at one window, or later ones at any."""
    one, path, number = asked[0]
    model = one.model
    progress, stop = (
        [float(v) for v in values] for values in _read(model, [one.history(path) for one, path, _ in asked])
    )
    if _lists(model) and not path.steps:
        grounding = model.read([one.sentence for one, _, _ in asked], one.first[number])
    else:
        grounding = _ground(asked, size, progress)
    found = []
    for row, (_, path, _) in enumerate(asked):
        boxes, scores = answers(grounding, path.window, row)
        kept = boxes[:CANDIDATES], scores[:CANDIDATES]
        found.append(
            Observation(Step(_floats(path.window), size, progress[row], stop[row], *kept), boxes, scores)
        )
    return found


def _ground(
    asked: Sequence[tuple[ModelLooker, Hypothesis, int]], size: tuple[int, int], progress: list[float]
) -> "Grounding":
    """Looks with the sentences in mind."""
    one, path, number = asked[0]
    model = one.model
    if path.steps:
        features = model.encode_images([cut(one.picture, path.window, size) for one, path, _ in asked])
    else:
        features = one.first[number]  # all first windows are asked for at once
    if len(asked) == 1:
        text, pooling = one.text, one.pooling
    else:
        import torch

        texts, pooling = [one.text for one, _, _ in asked], torch.cat([one.pooling for one, _, _ in asked])
        text = type(texts[0])(
            *(torch.cat([getattr(text, name) for text in texts]) for name in texts[0].__dataclass_fields__)
        )
        if not path.steps:
            features = features[[0] * len(asked)]
    return model.ground(text, pooling, features, progress)


def _floats(box: NDArray) -> tuple[float, float, float, float]:
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _on(window: NDArray, path: Hypothesis) -> bool:
    return any(step.window_xyxy == _floats(window) for step in path.steps)


def _size(model: "Piza", window: NDArray, first: bool) -> tuple[int, int]:
    return input_size(window, first, model.config.first_pixels, model.config.later_pixels)


def _read(model: "Piza", paths: Sequence[list[NDArray]]) -> tuple[Any, Any]:
    """Progress and stop probability, (n,) each, after the boxes of n paths."""
    return model.history.read([xyxy_to_xywh(np.array(boxes)) for boxes in paths], model.config.progress_step)


def answers(grounding: "Grounding", window: NDArray, row: int = 0) -> tuple[NDArray, NDArray]:
    """The boxes of one look of a batch, best first: (queries, 4) xyxy in frame pixels, and their scores in [0, 1]."""
    logits = _array(grounding.logits[-1, row]).max(-1)
    with np.errstate(over="ignore"):  # of a logit far below zero, whose score is then 0
        scores = 1 / (1 + np.exp(-logits))
    order = np.argsort(-scores, kind="stable")
    relative = cxcywh_to_xyxy(_array(grounding.boxes[-1, row]).astype(np.float64))
    size = np.tile(window[2:] - window[:2], 2)
    return clip_xyxy(np.tile(window[:2], 2) + relative * size, window)[order], scores[order]


def _array(values: Any) -> NDArray:
    """A tensor of any device, or an array, as an array."""
    return values.cpu().numpy() if hasattr(values, "cpu") else values
