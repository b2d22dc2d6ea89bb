import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piza.boxes import iou_xyxy
from piza.evaluation.metrics import THRESHOLDS, accuracy, mean_accuracy

ious = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_by_hand():
    assert accuracy([0.2, 0.5, 0.74, 0.9], 0.5) == 75
    assert accuracy([0.2, 0.5, 0.74, 0.9], 0.75) == 25
    assert mean_accuracy([1.0, 1.0]) == 100
    assert mean_accuracy([0.0, 1.0]) == 50
    assert mean_accuracy([0.72]) == pytest.approx(50)  # 0.50, 0.55, 0.60, 0.65, 0.70 of ten


@pytest.mark.parametrize("hundredths", range(50, 100, 5))
def test_an_overlap_of_exactly_a_threshold_reaches_it(hundredths):
    """`hundredths` of a box of 100 x 1, moved to where floats are coarse."""
    for shift in (0.0, 1 / 3, 4321.1):
        target = np.array([0.0, 0, 100, 1]) + shift
        box = np.array([0.0, 0, hundredths, 1]) + shift
        assert accuracy(iou_xyxy(target, box), hundredths / 100) == 100
        just_less = np.array([0.0, 0, hundredths - 0.01, 1]) + shift
        assert accuracy(iou_xyxy(target, just_less), hundredths / 100) == 0


def test_thresholds_are_the_ten_of_coco():
    assert np.allclose(
        THRESHOLDS, [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95], rtol=0, atol=1e-15
    )


@given(ious)
def test_stricter_is_never_more(values):
    falling = [accuracy(values, threshold) for threshold in THRESHOLDS]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] - 1e-9 <= mean_accuracy(values) <= falling[0] + 1e-9


def test_nothing_has_no_accuracy():
    assert math.isnan(accuracy([], 0.5)) and math.isnan(mean_accuracy([]))
