"""Best-first search over windows, for any way of looking.

Every look answers with boxes and scores. Each box is a hypothesis: either an answer, where its path is at its end, or a
window to look at next. Exactly one hypothesis is right, or none of them, so their scores are evidence for a choice among
them: probability = softmax of the evidence, with a constant for "none". The most probable window is looked at next; a
look that finds nothing takes its hypothesis' evidence away, and the search comes back to the next best one. It ends when
an answer is probable enough, when the budget of looks is spent, or when no window is left.

The published search follows the best box of every look and is never able to come back: that is `branch = 1`. A fixed
beam of k first windows is `enough = 1` with a budget of k looks more than the first.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from piza.boxes import iou_xyxy
from piza.result import Step
from piza.search.zoom_path import first_windows, frame_window, side

SAME_WINDOW = 0.4  # two windows with at least this IoU are one hypothesis
SAME_BOX = 0.5  # and so are two answers
SHRINK = 0.95  # a window must be smaller than the one before by this factor of its side
WORTHLESS = 1e-4  # a score below this is no hypothesis


@dataclass(frozen=True)
class Evidence:
    """What a score is worth: log-odds of a look's score, weighted, summed along the path (fitted by `piza.evaluation.calibration`)."""

    first: float = 1.0  # weight of the first look's log-odds
    later: float = 1.0  # weight of every later look's
    bias: float = 0.0  # added at every later look
    none: float = 0.0  # evidence that no hypothesis is right

    def of(self, odds: Sequence[float]) -> float:
        """The evidence of a path whose looks had these log-odds."""
        return self.first * odds[0] + sum(self.later * value + self.bias for value in odds[1:])


@dataclass(frozen=True)
class SearchConfig:
    """The limits of a search, and what the scores of its looks are worth."""

    budget: int = 5  # looks at most, the first ones included
    accept_threshold: float = 1.0  # an answer of this probability ends the search
    top_k: int = 10  # boxes of one look that are followed; 1 is the published greedy search
    max_steps: int = 5  # the longest path, in looks
    windows_per_batch: int = 1  # windows looked at in one batch
    num_first_windows: int = 1  # first looks: 1 at the whole frame, 2 at its halves, 4 at its quarters
    evidence: Evidence = Evidence()  # what scores are worth


@dataclass
class Observation:
    """What one look saw: the step to record, and its boxes (n, 4) xyxy in frame pixels with scores (n,), best first."""

    step: Step
    boxes: NDArray
    scores: NDArray


@dataclass(eq=False)
class Hypothesis:
    """A path so far.

    boxes: the frame and the boxes predicted since, xyxy in frame pixels. window: where to look next. steps: the looks
    taken. score: the last look's for its last box. odds: log-odds of every look's score, the first look's first.
    evidence: what they are worth together. stopped: why the path is at its end, or "". probability: that it is right.
    """

    boxes: list[NDArray]
    window: NDArray
    steps: list[Step] = field(default_factory=list)
    score: float = 1.0
    odds: list[float] = field(default_factory=list)
    evidence: float = 0.0
    stopped: str = ""
    probability: float = 0.0


@dataclass
class SearchOutcome:
    """answer: the best hypothesis. rejected: the other answers, best first. open: hypotheses that were not looked into.
    looked: the windows looked at, in order."""

    answer: Hypothesis
    rejected: list[Hypothesis]
    open: list[Hypothesis]
    looked: list[NDArray]


def log_odds(score: float) -> float:
    score = min(max(float(score), 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def best_first(
    frame_size: tuple[int, int],
    look: Callable[[Sequence[Hypothesis]], list[Observation]],
    at_end: Callable[[Hypothesis, NDArray], list[bool]],
    window_of: Callable[[NDArray, NDArray], NDArray],
    config: SearchConfig,
) -> SearchOutcome:
    """Searches a frame of (width, height) pixels.

    Args:
        frame_size: (width, height) in pixels.
        look: looks at the windows of some hypotheses and says what it saw in each.
        at_end: says of each of the boxes (n, 4) that the look at a hypothesis' window saw whether it is the answer, so that
            no closer look is wanted.
        window_of: the window to look at after a box was seen in a window.
        config: the limits of the search and what scores are worth.

    A look may see no box; if none did, the answer is the frame, with probability 0 and stopped by "nothing".
    """
    search = searching(frame_size, at_end, window_of, config)
    paths = next(search)
    while True:
        try:
            paths = search.send(look(paths))
        except StopIteration as end:
            return end.value


def searching(
    frame_size: tuple[int, int],
    at_end: Callable[[Hypothesis, NDArray], list[bool]],
    window_of: Callable[[NDArray, NDArray], NDArray],
    config: SearchConfig,
) -> Generator[list[Hypothesis], list[Observation], SearchOutcome]:
    """`best_first` step by step, for those who look for several searches at once: yields the hypotheses whose windows are
    to be looked at, is sent what was seen in each, and returns what was found."""
    frame = frame_window(frame_size)
    waiting = [Hypothesis([frame], view) for view in first_windows(frame_size, config.num_first_windows)]
    finished: list[Hypothesis] = []
    passed: list[Hypothesis] = []  # seen and not followed; they still share in the probability
    looked: list[NDArray] = []
    root_steps: list[Step] = []
    while waiting and len(looked) < config.budget:
        waiting.sort(key=lambda path: -path.evidence)
        count = len(waiting) if not looked else min(config.windows_per_batch, config.budget - len(looked))
        now, waiting = waiting[:count], waiting[count:]
        for path, seen in zip(now, (yield now), strict=True):
            root_steps = root_steps or [seen.step]
            looked.append(path.window)
            known = [other.window for other in waiting] + [
                w for w in looked[config.num_first_windows :] if not _on_path(w, path)
            ]
            children = _children(path, seen, at_end, window_of, known, config)
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
    seen: Observation,
    at_end: Callable[[Hypothesis, NDArray], list[bool]],
    window_of: Callable[[NDArray, NDArray], NDArray],
    known: list[NDArray],
    config: SearchConfig,
) -> list[Hypothesis]:
    """The distinct hypotheses that come out of a look, best first; at least one if it saw any box."""
    worth = [i for i, score in enumerate(seen.scores) if i == 0 or score >= WORTHLESS]
    children: list[Hypothesis] = []
    windows: list[NDArray] = []
    for i, end in zip(worth, at_end(path, seen.boxes[worth]) if worth else [], strict=True):
        box, score = seen.boxes[i], float(seen.scores[i])
        inner = window_of(box, path.window)
        steps = [*path.steps, seen.step]
        stopped = ""
        if end:
            stopped = "stop"
        elif len(steps) >= config.max_steps:
            stopped = "max_steps"
        elif side(inner) > SHRINK * side(path.window):
            stopped = "no_shrink"
        if stopped:
            if _like(box, [other.boxes[-1] for other in children if other.stopped], SAME_BOX):
                continue
        elif _like(inner, windows + (known if children else []), SAME_WINDOW):
            continue
        else:
            windows.append(inner)
        odds = [*path.odds, log_odds(score)]
        boxes = [*path.boxes, box]
        children.append(Hypothesis(boxes, inner, steps, score, odds, config.evidence.of(odds), stopped))
    return children


def _like(box: NDArray, others: list[NDArray], least: float) -> bool:
    """Whether any of the others has at least this IoU with the box."""
    return bool(others) and bool((iou_xyxy(box, np.stack(others)) >= least).any())


def _on_path(window: NDArray, path: Hypothesis) -> bool:
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
