"""The numbers SOREC reports: the share of sentences whose first answer overlaps its target enough, in percent.

And the numbers about scores: how well they tell right from wrong, and how near they are to probabilities.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# Made from whole hundredths: np.arange(0.5, 1, 0.05) drifts, and its 0.6 is larger than 0.6.
THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))

# IoUs carry rounding as well: 6 / 10 of an overlap must count at 0.6 however it was computed.
ROUNDING = 1e-9


def accuracy(ious: ArrayLike, threshold: float) -> float:
    """Percent of the IoUs (n,) of top answers with their targets that reach `threshold`; NaN for n = 0."""
    reached = np.asarray(ious, dtype=np.float64) >= threshold - ROUNDING
    return float(100 * reached.mean()) if reached.size else float("nan")


def mean_accuracy(ious: ArrayLike) -> float:
    """mAcc: `accuracy` averaged over the IoU thresholds 0.50, 0.55 ... 0.95."""
    return float(np.mean([accuracy(ious, threshold) for threshold in THRESHOLDS]))


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """Share of (right, wrong) pairs in which the right one scores higher, ties half; nan without such a pair."""
    values, truth = np.asarray(scores, float), np.asarray(right, bool)
    if truth.all() or not truth.any():
        return float("nan")
    from scipy.stats import rankdata

    ranks = rankdata(values)
    positive = int(truth.sum())
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


class Reliability(NamedTuple):
    """Answers of similar probability: the mean of it, the share of them that is right, and how many there are."""

    probability: float
    right: float
    rows: int


def reliability(probabilities: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[Reliability]:
    """The bins of equal width, over 0 to 1, that hold answers; a reliability diagram draws `right` over `probability`."""
    p, truth = np.asarray(probabilities, float), np.asarray(right, float)
    index = np.clip((p * bins).astype(int), 0, bins - 1)
    return [
        Reliability(float(p[index == b].mean()), float(truth[index == b].mean()), int((index == b).sum()))
        for b in sorted(set(index.tolist()))
    ]


def calibration_error(probabilities: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015): mean distance of probability and accuracy over equal bins, weighted
    by the rows in each; 0 to 1."""
    found = reliability(probabilities, right, bins)
    gaps = [part.rows * abs(part.probability - part.right) for part in found]
    return float(sum(gaps) / max(1, len(probabilities)))
