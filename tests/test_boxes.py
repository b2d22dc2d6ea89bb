import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piza import boxes

coordinate = st.floats(-10_000, 10_000, allow_nan=False)
side = st.floats(1e-3, 10_000)


@st.composite
def xyxy(draw):
    x, y, w, h = draw(coordinate), draw(coordinate), draw(side), draw(side)
    return np.array([x, y, x + w, y + h])


@given(xyxy())
def test_formats_round_trip(box):
    assert np.allclose(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(box)), box, rtol=0, atol=1e-9)
    assert np.allclose(boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(box)), box, rtol=0, atol=1e-9)


@given(xyxy(), xyxy())
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    forth, back = boxes.iou_xyxy(a, b), boxes.iou_xyxy(b, a)
    assert forth == back
    assert 0 <= forth <= 1


@given(xyxy())
def test_iou_of_a_box_with_itself_is_1(box):
    assert boxes.iou_xyxy(box, box) == 1


@given(xyxy(), xyxy(), st.floats(0.1, 10), coordinate)
def test_iou_does_not_change_when_both_boxes_move_and_scale(a, b, scale, shift):
    moved = boxes.iou_xyxy(a * scale + shift, b * scale + shift)
    assert moved == pytest.approx(boxes.iou_xyxy(a, b), abs=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (2, 2, 7, 7), 0.25),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0),  # touching
        ((0, 0, 10, 10), (20, 20, 30, 30), 0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0),  # nothing to share
        ((10, 10, 0, 0), (0, 0, 10, 10), 0),  # inverted: no area
    ],
)
def test_iou_by_hand(a, b, iou):
    assert boxes.iou_xyxy(a, b) == pytest.approx(iou)


@given(st.lists(xyxy(), min_size=1, max_size=4), st.lists(xyxy(), min_size=1, max_size=4))
def test_iou_matrix_holds_every_pair(a, b):
    matrix = boxes.iou_matrix_xyxy(a, b)
    assert matrix.shape == (len(a), len(b))
    assert all(matrix[i, j] == boxes.iou_xyxy(a[i], b[j]) for i in range(len(a)) for j in range(len(b)))


def test_iou_matrix_of_no_boxes():
    assert boxes.iou_matrix_xyxy(np.zeros((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)


@given(xyxy())
def test_clipped_boxes_lie_in_the_frame_and_clipping_twice_changes_nothing(box):
    frame = (-100, -50, 640, 480)
    clipped = boxes.clip_xyxy(box, frame)
    assert clipped[0] >= -100 and clipped[1] >= -50 and clipped[2] <= 640 and clipped[3] <= 480
    assert clipped[0] <= clipped[2] and clipped[1] <= clipped[3]
    assert np.array_equal(boxes.clip_xyxy(clipped, frame), clipped)


def test_functions_keep_leading_shapes():
    many = np.tile(np.array([1.0, 2.0, 5.0, 10.0]), (2, 3, 1))
    assert boxes.area_xyxy(many).tolist() == [[32.0] * 3] * 2
    assert boxes.xyxy_to_cxcywh(many).shape == (2, 3, 4)
    assert boxes.xyxy_to_cxcywh(many)[1, 2].tolist() == [3, 6, 4, 8]
    assert boxes.xyxy_to_xywh(many)[0, 0].tolist() == [1, 2, 4, 8]


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        boxes.area_xyxy([1, 2, 3])
