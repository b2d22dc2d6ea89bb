"""How far a measured accuracy can be trusted: bootstrap intervals, resampled by image.

Rows of one image are not independent (the same street, the same light, the same look-alikes), so what is drawn with
replacement is images, each with all its rows, as in Efron & Tibshirani, "An Introduction to the Bootstrap", 1993,
section 8.3; the interval is that of the percentiles (section 13.3). Resampling rows would give intervals that are too
narrow wherever a image has many sentences.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from piza.evaluation.metrics import ROUNDING, THRESHOLDS

MIN_IMAGES = 5  # with fewer, an interval says more about the draw than about the model
DRAWS = 2000
LEVEL = 0.95
SEED = 0

Interval = tuple[float, float]


def intervals(
    ious: ArrayLike, images: Sequence[Hashable], draws: int = DRAWS, seed: int = SEED
) -> dict[str, Interval] | None:
    """95 % intervals of "acc50", "acc75" and "macc", in percent; None for fewer than `MIN_IMAGES`.

    ious: (n,) of the answers with their targets. images: (n,) the image that each row is about. The same rows give the
    same interval whatever their order. With few images intervals are still too narrow (in simulations they held the
    truth in 85, 89, 92 and 97 % of cases with 5, 10, 20 and 80 images; resampled by row, in about 75 % with any
    number). Where all rows or none are right, an interval has no width, and means nothing.
    """
    table = _table(np.asarray(ious, dtype=np.float64), images)
    if len(table) < MIN_IMAGES:
        return None
    return _percentiles(_accuracies(_resampled(table, draws, seed)), _accuracies(table.sum(0)))


def difference_intervals(
    ious: ArrayLike,
    others: ArrayLike,
    images: Sequence[Hashable],
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, Interval] | None:
    """95 % intervals of how much better `ious` are than `others`, in points, for two methods on the same rows.

    Both are resampled together, so what is hard for both cancels: far narrower than two separate intervals. The methods
    differ where the interval leaves out 0. Shapes and None as in `intervals`.
    """
    first, second = (_table(np.asarray(values, dtype=np.float64), images) for values in (ious, others))
    if len(first) < MIN_IMAGES:
        return None
    drawn = _accuracies(_resampled(first, draws, seed)) - _accuracies(_resampled(second, draws, seed))
    return _percentiles(drawn, _accuracies(first.sum(0)) - _accuracies(second.sum(0)))


def _table(ious: NDArray[Any], images: Sequence[Hashable]) -> NDArray[np.float64]:
    """(images, 11): rows of a image, and how many of them reach each of the ten thresholds."""
    if len(ious) != len(images):
        raise ValueError(f"{len(ious)} IoUs of {len(images)} images")
    order = {image: place for place, image in enumerate(sorted(set(images), key=str))}
    reached = ious[:, None] >= np.array(THRESHOLDS) - ROUNDING
    table = np.zeros((len(order), 1 + len(THRESHOLDS)))
    np.add.at(table, [order[image] for image in images], np.insert(reached, 0, 1, axis=1))
    return table


def _resampled(table: NDArray[Any], draws: int, seed: int) -> NDArray[np.float64]:
    """(draws, 11): the sums over as many images as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    count = len(table)
    return np.stack([table[rng.integers(0, count, count)].sum(0) for _ in range(draws)])


def _accuracies(sums: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 11) sums -> (..., 3): Acc50, Acc75 and mAcc in percent."""
    shares = 100 * sums[..., 1:] / sums[..., :1]
    at75 = THRESHOLDS.index(0.75)
    return np.stack([shares[..., 0], shares[..., at75], shares.mean(-1)], axis=-1)


def _percentiles(drawn: NDArray[Any], point: NDArray[Any]) -> dict[str, Interval]:
    """The middle 95 % of the draws, widened to hold the point estimate should rounding leave it out."""
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
    low, high = np.minimum(low, point), np.maximum(high, point)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("acc50", "acc75", "macc"))}
