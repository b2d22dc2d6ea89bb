import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piza.evaluation.intervals import difference_intervals, intervals
from piza.evaluation.metrics import accuracy, mean_accuracy

rows = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8)), min_size=2, max_size=40)


@settings(max_examples=40)
@given(rows)
def test_the_point_estimate_lies_inside(sample):
    ious, images = zip(*sample)
    found = intervals(ious, images, draws=50)
    if len(set(images)) < 5:
        assert found is None
        return
    points = {"acc50": accuracy(ious, 0.5), "acc75": accuracy(ious, 0.75), "macc": mean_accuracy(ious)}
    assert set(found) == set(points)
    for name, (low, high) in found.items():
        assert -1e-9 <= low <= points[name] + 1e-9 and points[name] - 1e-9 <= high <= 100 + 1e-9


def width(found, name="acc50"):
    return found[name][1] - found[name][0]


def test_more_images_make_it_narrower_by_the_root_law():
    rng = np.random.default_rng(1)
    few, many = (intervals(rng.uniform(0, 1, n), range(n)) for n in (50, 800))
    assert width(few) / width(many) == pytest.approx(4, rel=0.25)
    assert width(many) == pytest.approx(2 * 1.96 * 50 / np.sqrt(800), rel=0.15)


def test_rows_of_one_image_are_not_counted_as_if_independent():
    """Twenty sentences an image that are all right or all wrong count no more than one."""
    right = np.arange(40) % 2.0
    single = intervals(right, range(40))
    repeated = intervals(np.repeat(right, 20), np.repeat(range(40), 20))
    assert all(repeated[name] == pytest.approx(single[name]) for name in single)
    assert width(repeated) > 3 * width(intervals(np.repeat(right, 20), range(800)))


def test_the_same_rows_give_the_same_interval_in_any_order():
    rng = np.random.default_rng(2)
    ious, images = rng.uniform(0, 1, 60), rng.integers(0, 12, 60)
    order = rng.permutation(60)
    first, second = intervals(ious, images), intervals(ious[order], images[order])
    for name in first:
        assert first[name] == pytest.approx(second[name])
    assert intervals(ious, images, seed=1) != first


def test_a_difference_is_known_better_than_its_parts():
    rng = np.random.default_rng(3)
    images = np.repeat(range(60), 5)
    worse = rng.uniform(0, 1, 300)
    better = np.where(rng.uniform(0, 1, 300) < 0.1, 1.0, worse)
    low, high = difference_intervals(better, worse, images)["acc50"]
    assert 0 < low <= accuracy(better, 0.5) - accuracy(worse, 0.5) <= high
    assert high - low < width(intervals(better, images))
    assert difference_intervals(worse, worse, images)["macc"] == (0, 0)


def test_every_row_has_an_image():
    with pytest.raises(ValueError, match="3 IoUs of 2"):
        intervals([1, 1, 1], [1, 2])
