"""What a search over windows is made of: what a look saw, the paths that follow from it, and the outcome."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from piza.result import Step


@dataclass
class Observation:
    """What one look saw.

    step: the look, to be recorded. boxes: (n, 4) xyxy in frame pixels. scores: (n,) in [0, 1], best first.
    """

    step: Step
    boxes: NDArray[Any]
    scores: NDArray[Any]


@dataclass(eq=False)
class Hypothesis:
    """A path so far.

    boxes: the frame and the boxes predicted since, xyxy in frame pixels. window: where to look next, xyxy in frame pixels.
    steps: the looks taken. score: the last look's, for its last box. log_odds: of every look's score, the first look's
    first. evidence: what they are worth together. stopped: why the path is at its end, or "". probability: that it is right.
    """

    boxes: list[NDArray[Any]]
    window: NDArray[Any]
    steps: list[Step] = field(default_factory=list)
    score: float = 1.0
    log_odds: list[float] = field(default_factory=list)
    evidence: float = 0.0
    stopped: str = ""
    probability: float = 0.0


@dataclass
class SearchOutcome:
    """How a search ended.

    answer: the best hypothesis. rejected: the other answers, best first. open: hypotheses that were not looked into.
    looked: the windows looked at, in order, xyxy in frame pixels.
    """

    answer: Hypothesis
    rejected: list[Hypothesis]
    open: list[Hypothesis]
    looked: list[NDArray[Any]]
