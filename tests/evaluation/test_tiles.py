"""Tiles cover every pixel and are SAHI's; what is seen at a border does not become the answer unseen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piza.errors import InputError
from piza.evaluation.tiles import TileDetections, best_merged, best_single, ends_at_inner_border, tile_windows

# (width, height, tile, overlap): left edges, top edges. Recorded from sahi 0.12.8, sahi.slicing.get_slice_bboxes(
# height, width, tile, tile, False, overlap, overlap), whose slices were all pairs of these, row by row.
SAHI = {
    (1000, 700, 512, 0.2): ([0, 410, 488], [0, 188]),
    (2048, 1152, 512, 0.25): ([0, 384, 768, 1152, 1536], [0, 384, 640]),
    (1024, 512, 512, 0.0): ([0, 512], [0]),
    (300, 200, 512, 0.2): ([0], [0]),
    (640, 640, 320, 0.5): ([0, 160, 320], [0, 160, 320]),
    (1001, 333, 333, 0.1): ([0, 300, 600, 668], [0]),
    (513, 1300, 512, 0.2): ([0, 1], [0, 410, 788]),
    (500, 90, 100, 0.33): ([0, 67, 134, 201, 268, 335, 400], [0]),
    (97, 61, 10, 0.9): (list(range(88)), list(range(52))),
}


@pytest.mark.parametrize("case", SAHI)
def test_the_slices_of_sahi(case):
    width, height, tile, overlap = case
    lefts, tops = SAHI[case]
    expected = [(x, y, min(x + tile, width), min(y + tile, height)) for y in tops for x in lefts]
    assert tile_windows((width, height), tile, overlap).tolist() == [list(map(float, w)) for w in expected]


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
    st.integers(1, 150),
    st.floats(0, 1, exclude_max=True),
)
def test_every_pixel_is_covered_once_at_least(size, tile, overlap):
    try:
        windows = tile_windows(size, tile, overlap)
    except InputError:  # too many
        assert tile - int(overlap * tile) == 1
        return
    seen = np.zeros(size[::-1], dtype=int)
    for x0, y0, x1, y1 in windows.astype(int):
        assert 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]
        assert (x1 - x0, y1 - y0) == (min(tile, size[0]), min(tile, size[1]))
        seen[y0:y1, x0:x1] += 1
    assert seen.min() >= 1
    assert len({tuple(window) for window in windows}) == len(windows)


@settings(max_examples=40)
@given(st.integers(20, 60), st.floats(0, 0.8), st.data())
def test_an_object_no_larger_than_the_overlap_is_whole_in_some_tile(tile, overlap, data):
    size = (173, 131)
    longest = int(overlap * tile)
    x, y = (data.draw(st.integers(0, side - longest)) for side in size)
    windows = tile_windows(size, tile, overlap)
    whole = (windows[:, :2] <= [x, y]).all(1) & (windows[:, 2:] >= [x + longest, y + longest]).all(1)
    assert whole.any()


@pytest.mark.parametrize(
    ("tile", "overlap", "says"), [(0, 0.2, "at least 1"), (8, 1.0, "below 1"), (8, -0.1, "at least 0"),
                                  (8, float("nan"), "at least 0"), (1, 0.0, "at most 10000")]
)  # fmt: skip
def test_tiles_that_cannot_be(tile, overlap, says):
    with pytest.raises(InputError, match=says):
        tile_windows((2000, 1000), tile, overlap)


def test_an_overlap_is_rounded_and_not_cut_to_whole_pixels():
    assert tile_windows((300, 100), 100, 0.29)[1, 0] == 71  # 0.29 * 100 is 28.999...


def test_only_borders_inside_the_frame_cut():
    window, frame = np.array([0.0, 0, 100, 100]), (150, 100)
    boxes = np.array([[0, 40, 20, 60], [40, 80, 60, 100], [80, 40, 99, 60], [40, 40, 60, 60.0]])
    assert ends_at_inner_border(boxes, window, frame).tolist() == [False, False, True, False]


def seen(*views):
    """Views (tile, cut, score, box)."""
    return TileDetections(
        boxes=np.array([view[3] for view in views], dtype=float),
        scores=np.array([view[2] for view in views]),
        tile=np.array([view[0] for view in views]),
        cut=np.array([view[1] for view in views]),
    )


WINDOWS = np.array([[0, 0, 100, 100], [80, 0, 180, 100], [280, 0, 380, 100], [20, 0, 120, 100.0]])


def test_a_whole_view_beats_a_cut_one_unless_that_is_twice_as_sure():
    half, whole = (80, 10, 100, 30), (80, 10, 120, 30)
    assert best_single(seen((0, True, 0.9, half), (1, False, 0.6, whole)), WINDOWS)[0].tolist() == list(whole)
    assert best_single(seen((0, True, 0.9, half), (1, False, 0.4, whole)), WINDOWS)[0].tolist() == list(half)


def test_an_object_cut_by_a_border_is_made_whole():
    views = seen(
        (0, True, 0.9, (40, 10, 100, 30)),
        (1, True, 0.8, (80, 11, 150, 31)),  # agrees in 80 to 100
        (2, True, 0.8, (280, 10, 300, 30)),  # elsewhere
        (3, True, 0.2, (38, 10, 120, 31)),  # not sure
        (3, True, 0.8, (90, 0, 120, 90)),  # another object, over this one
        (0, True, 0.8, (40, 10, 100, 90)),  # of the same tile: another reading of it, not another part
    )
    box, best = best_merged(views, WINDOWS)
    assert box.tolist() == [40, 10, 150, 31] and best == 0


def test_two_views_of_a_whole_object_are_not_united():
    views = seen((0, False, 0.8, (60, 10, 90, 30)), (3, False, 0.9, (62, 12, 91, 33)))
    box, best = best_merged(views, WINDOWS)
    assert box.tolist() == [62, 12, 91, 33] and best == 1


def test_tiles_that_share_nothing_unite_nothing():
    views = seen((0, True, 0.9, (60, 10, 100, 30)), (2, True, 0.8, (280, 10, 300, 30)))
    assert best_merged(views, WINDOWS)[0].tolist() == [60, 10, 100, 30]
