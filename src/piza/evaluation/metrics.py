"""The numbers SOREC reports: the share of sentences whose first answer overlaps its target enough, in percent."""

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
