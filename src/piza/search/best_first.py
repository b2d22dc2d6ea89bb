"""Best-first search over windows, for any way of looking.

Every look proposes boxes with scores. Each box is a hypothesis: either an answer, where its path is at its end, or a window to
look at next. Exactly one hypothesis is right, or none of them, so their scores are evidence for a choice among them:
probability = softmax of the evidence, with a constant for "none". The most probable window is looked at next; a look that finds
nothing takes its hypothesis' evidence away, and the search comes back to the next best one. It ends when an answer is probable
enough, when the budget of looks is spent, or when no window is left.

The published search follows the best box of every look and cannot come back: that is `top_k = 1`. A fixed beam of k first windows
is `accept_threshold = 1` with a budget of k looks more than the first.
"""

import math
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.boxes import iou_xyxy
from piza.config import SearchConfig
from piza.result import Step
from piza.search.hypothesis import Hypothesis, Observation, SearchOutcome
from piza.search.protocols import Looker
from piza.search.zoom_path import frame_window, side

SAME_WINDOW = 0.4  # two windows with at least this IoU are one hypothesis
SAME_BOX = 0.5  # and so are two answers
SHRINK = 0.95  # a window must be smaller than the one before by this factor of its side
WORTHLESS = 1e-4  # a score below this is no hypothesis


def log_odds(score: float) -> float:
    """The logarithm of score / (1 - score), of a score kept a millionth away from 0 and 1."""
    score = min(max(float(score), 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def best_first(looker: Looker, config: SearchConfig) -> SearchOutcome:
    """Searches one image for one sentence.

    If no look sees any box, the answer is the frame, with probability 0 and stopped by "nothing".
    """
    search = search_steps(looker, config)
    paths = next(search)
    while True:
        try:
            paths = search.send(looker.look(paths))
        except StopIteration as end:
            outcome: SearchOutcome = end.value
            return outcome


def search_steps(
    looker: Looker, config: SearchConfig
) -> Generator[list[Hypothesis], list[Observation], SearchOutcome]:
    """`best_first` step by step, for callers that run several searches together.

    Yields the hypotheses whose windows are next, expects to be sent an observation for each, and returns the outcome.
    """
    frame = frame_window(looker.frame_size)
    waiting = [Hypothesis([frame], window) for window in looker.first_windows[: config.budget]]
    first_looks = len(waiting)
    finished: list[Hypothesis] = []
    passed: list[Hypothesis] = []  # seen and not followed; they still share in the probability
    looked: list[NDArray[Any]] = []
    root_steps: list[Step] = []
    while waiting and len(looked) < config.budget:
        waiting.sort(key=lambda path: -path.evidence)
        count = len(waiting) if not looked else min(config.windows_per_batch, config.budget - len(looked))
        now, waiting = waiting[:count], waiting[count:]
        for path, observation in zip(now, (yield now), strict=True):
            root_steps = root_steps or [observation.step]
            looked.append(path.window)
            known = [other.window for other in waiting] + [
                window for window in looked[first_looks:] if not _on_path(window, path)
            ]
            children = _children(path, observation, looker, known, config)
            followed = children[: config.top_k]
            finished += [child for child in followed if child.stopped]
            waiting += [child for child in followed if not child.stopped]
            passed += children[config.top_k :]
        finished = _merged(finished)
        _share([*finished, *waiting, *passed], config.evidence.none)
        if finished and finished[0].probability >= config.accept_threshold:
            break
        if finished and config.top_k == 1:
            break
    if not finished and waiting:  # the budget ended on the way: the most probable window is the answer
        answer = max(waiting, key=lambda path: path.evidence)
        waiting.remove(answer)
        answer.stopped = "budget"
        finished = [answer]
    if not finished:  # no look saw anything
        finished = [Hypothesis([frame], frame, root_steps, 0.0, stopped="nothing")]
    return SearchOutcome(finished[0], finished[1:], waiting + passed, looked)


def _children(
    path: Hypothesis,
    observation: Observation,
    looker: Looker,
    known: list[NDArray[Any]],
    config: SearchConfig,
) -> list[Hypothesis]:
    """The distinct hypotheses that follow from a look, best first; at least one if it saw any box."""
    boxes, scores = observation.boxes, observation.scores
    if path.steps and config.same_object_iou > 0 and len(boxes):
        boxes, scores = _of_same_object(path.boxes[-1], boxes, scores, config)
    worth = [i for i, score in enumerate(scores) if i == 0 or score >= WORTHLESS]
    children: list[Hypothesis] = []
    windows: list[NDArray[Any]] = []
    for i, end in zip(worth, looker.at_end(path, boxes[worth]) if worth else [], strict=True):
        box, score = boxes[i], float(scores[i])
        inner = looker.window_of(box, path.window)
        steps = [*path.steps, observation.step]
        stopped = ""
        if end:
            stopped = "stop"
        elif len(steps) >= config.max_looks:
            stopped = "max_looks"
        elif side(inner) > SHRINK * side(path.window):
            stopped = "no_shrink"
        if stopped:
            if _like(box, [other.boxes[-1] for other in children if other.stopped], SAME_BOX):
                continue
        elif _like(inner, windows + (known if children else []), SAME_WINDOW):
            continue
        else:
            windows.append(inner)
        odds = [*path.log_odds, log_odds(score)]
        evidence = config.evidence.of(odds)
        children.append(Hypothesis([*path.boxes, box], inner, steps, score, odds, evidence, stopped))
    return children


def _of_same_object(
    box: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any], config: SearchConfig
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The boxes (n, 4) of a look, best first, that are of the object whose box led to it, and their scores.

    Where there is none, that box itself, with the lowest score: the look did not confirm it. Where none scores enough to be
    a better box, that box with the best of their scores.
    """
    same = iou_xyxy(boxes, box) >= config.same_object_iou
    if not same.any():
        return box[None], scores[-1:]
    if scores[same][0] < config.refine_score:
        return box[None], scores[same][:1]
    return boxes[same], scores[same]


def _like(box: NDArray[Any], others: list[NDArray[Any]], min_iou: float) -> bool:
    """Whether any of the others has at least this IoU with the box."""
    return bool(others) and bool((iou_xyxy(box, np.stack(others)) >= min_iou).any())


def _on_path(window: NDArray[Any], path: Hypothesis) -> bool:
    return any(np.array_equal(window, step.window_xyxy) for step in path.steps) or window is path.window


def _merged(answers: list[Hypothesis]) -> list[Hypothesis]:
    """Answers by evidence; of those with nearly the same box only the best."""
    kept: list[Hypothesis] = []
    for answer in sorted(answers, key=lambda path: -path.evidence):
        if not _like(answer.boxes[-1], [other.boxes[-1] for other in kept], SAME_BOX):
            kept.append(answer)
    return kept


def _share(hypotheses: list[Hypothesis], none: float) -> None:
    """Sets every hypothesis' probability: the softmax of their evidence and of `none`."""
    evidence = np.array([path.evidence for path in hypotheses] + [none])
    weights = np.exp(evidence - evidence.max())
    for path, weight in zip(hypotheses, weights / weights.sum(), strict=False):
        path.probability = float(weight)
