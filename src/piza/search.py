"""The search: look, zoom to what was predicted, look again, and come back to the next best window when nothing is there.

The windows still to be looked at wait in a queue, the most promising first. Greedy search, as published, is this with
one window kept a look: a wrong first window is then never recovered. "Stop" is asked of the box history before a look,
so no backbone runs only to be told that the path is at its end. A sentence is encoded once, and all sentences about a
picture share the features of its first look.
"""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from piza.boxes import clip_xyxy, cxcywh_to_xyxy, iou_xyxy, xyxy_to_xywh
from piza.errors import InputError
from piza.model.grounder import Grounding, PictureFeatures
from piza.model.piza import Piza
from piza.path import frame_window, input_size, next_window, side
from piza.picture import Picture, PictureSource, cut, open_picture
from piza.result import Result, Step

CANDIDATES = 10  # kept of each look, for drawings and for those who want to know what else was seen
SAME_WINDOW = 0.3  # two windows with at least this IoU are one hypothesis
SHRINK = 0.95  # a window must be smaller than the one before by this factor of its side


@dataclass
class Hypothesis:
    """A path so far: the boxes predicted (the frame first), the looks taken, and what the last look thought of it."""

    boxes: list[NDArray]
    steps: list[Step]
    score: float
    stopped: str = ""


@torch.inference_mode()
def locate(
    model: Piza,
    image: PictureSource,
    expression: str | Sequence[str],
    max_steps: int | None = None,
    whole_frame: bool = False,
    greedy: bool = False,
) -> Result | list[Result]:
    """Finds the one thing each sentence describes.

    Args:
        image: a path, a PIL picture, or an array (height, width, 3) of uint8 RGB.
        expression: a sentence, or several about the same picture.
        max_steps: the longest path from the frame to the answer, in looks; None takes the model's own limit.
        whole_frame: answer from one look at the whole frame.
        greedy: follow the best window only, as published; otherwise up to the model's `budget` of looks are spent.

    Returns:
        A Result, or a list of them when a list of sentences was given. Boxes are xyxy in frame pixels.

    Raises:
        InputError: for a picture that cannot be read, an empty or over-long sentence, or max_steps below 1.
    """
    single = isinstance(expression, str)
    sentences = [expression] if isinstance(expression, str) else list(expression)
    most = 1 if whole_frame else (model.config.max_steps if max_steps is None else max_steps)
    if most < 1:
        raise InputError(f"max_steps must be at least 1, but {most} was given.")
    if not sentences:
        return []
    started = time.perf_counter()
    picture = open_picture(image)
    texts = [model.encode_text([[sentence]]) for sentence in sentences]
    frame_size = (picture.shape[1], picture.shape[0])
    frame = frame_window(frame_size)
    first = model.encode_pictures([cut(picture, frame, _size(model, frame, True))])
    shared = (time.perf_counter() - started) * 1000 / len(sentences)
    results = []
    for sentence, (text, pooling) in zip(sentences, texts, strict=True):
        started = time.perf_counter()
        best, rejected, looks = _search(model, picture, text, pooling, first, most, greedy)
        results.append(
            Result(
                expression=sentence,
                box_xyxy=tuple(float(v) for v in best.boxes[-1]),
                score=best.score,
                path=best.steps,
                frame_size=frame_size,
                stopped=best.stopped,
                milliseconds=shared + (time.perf_counter() - started) * 1000,
                picture=picture,
                looks=looks,
                rejected=[(tuple(float(v) for v in other.boxes[-1]), other.score) for other in rejected],
            )
        )
    return results[0] if single else results


def _search(
    model: Piza, picture: Picture, text, pooling, first: PictureFeatures, most: int, greedy: bool
) -> tuple[Hypothesis, list[Hypothesis], int]:
    """The best path found, the other finished ones (best first), and how many looks it took."""
    config = model.config
    frame_size = (picture.shape[1], picture.shape[0])
    branch = 1 if greedy else config.branch
    budget = most if greedy else max(config.budget, most)
    frame = frame_window(frame_size)
    count = 0  # breaks ties in the queue by age
    queue: list[tuple[float, int, NDArray, Hypothesis]] = [(-1.0, count, frame, Hypothesis([frame], [], 1.0))]
    finished: list[Hypothesis] = []
    looked: list[NDArray] = []
    while queue and len(looked) < budget:
        _, _, window, path = heapq.heappop(queue)
        seen = (
            first
            if not path.steps
            else model.encode_pictures([cut(picture, window, _size(model, window, False))])
        )
        looked.append(window)
        progress, stop = _read(model, path.boxes)
        grounding = model.ground(text, pooling, seen, torch.tensor([progress], device=model.device))
        boxes, scores = answers(grounding, window)
        step = Step(
            window_xyxy=(float(window[0]), float(window[1]), float(window[2]), float(window[3])),
            input_size=_size(model, window, not path.steps),
            progress=progress,
            stop=stop,
            candidates_xyxy=boxes[:CANDIDATES],
            candidate_scores=scores[:CANDIDATES],
        )
        kept: list[NDArray] = []
        for box, score in zip(boxes, scores, strict=True):
            if len(kept) >= branch:
                break
            longer = Hypothesis([*path.boxes, box], [*path.steps, step], float(score))
            inner = next_window(box, frame_size, config.path)
            if _read(model, longer.boxes)[1] >= config.stop_at:
                longer.stopped = "stop"
            elif len(longer.steps) >= most:
                longer.stopped = "max_steps"
            elif side(inner) > SHRINK * side(window):
                longer.stopped = "no_shrink"
            if longer.stopped:  # the best box of a last look is its answer; its others are not looked into
                finished.append(longer)
                break
            if all(iou_xyxy(inner, other) < SAME_WINDOW for other in [*kept, *looked[1:]]) or not kept:
                kept.append(inner)
                count += 1
                heapq.heappush(queue, (-longer.score, count, inner, longer))
        if finished and max(path.score for path in finished) >= config.enough:
            break
    if not finished:  # the budget ended on the way: the most promising window is the answer
        path = queue[0][3]
        path.stopped = "budget"
        finished = [path]
    finished.sort(key=lambda path: -path.score)
    return finished[0], finished[1:], len(looked)


def _size(model: Piza, window: NDArray, first: bool) -> tuple[int, int]:
    return input_size(window, first, model.config.first_pixels, model.config.later_pixels)


def _read(model: Piza, boxes: list[NDArray]) -> tuple[float, float]:
    """Progress and stop probability after these boxes."""
    progress, stop = model.history.read([xyxy_to_xywh(np.array(boxes))], model.config.progress_step)
    return float(progress[0]), float(stop[0])


def answers(grounding: Grounding, window: NDArray) -> tuple[NDArray, NDArray]:
    """The boxes of one look (batch of 1), best first: (queries, 4) xyxy in frame pixels, and their scores in [0, 1]."""
    scores = grounding.logits[-1, 0].max(-1)[0].sigmoid().cpu().numpy()
    order = np.argsort(-scores, kind="stable")
    relative = cxcywh_to_xyxy(grounding.boxes[-1, 0].cpu().double().numpy())
    size = np.tile(window[2:] - window[:2], 2)
    return clip_xyxy(np.tile(window[:2], 2) + relative * size, window)[order], scores[order]
