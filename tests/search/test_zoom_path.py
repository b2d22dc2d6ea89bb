"""Windows: inside the frame, holding the target, shrinking, never too small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piza.config import PathConfig
from piza.search.zoom_path import (
    first_windows,
    frame_window,
    input_size,
    jitter_window,
    next_window,
    plan_windows,
    side,
    square_window,
)


@st.composite
def frame_and_target(draw):
    width, height = draw(st.integers(1, 6000)), draw(st.integers(1, 6000))
    w = draw(st.floats(min_value=min(1.0, width), max_value=width))
    h = draw(st.floats(min_value=min(1.0, height), max_value=height))
    x, y = draw(st.floats(0, 1)) * (width - w), draw(st.floats(0, 1)) * (height - h)
    return (width, height), np.array([x, y, min(x + w, width), min(y + h, height)])


def holds(window, box, slack=1e-6):
    return (window[:2] <= box[:2] + slack).all() and (window[2:] >= box[2:] - slack).all()


@given(frame_and_target())
def test_planned_windows_hold_the_target_and_shrink(case):
    frame_size, target = case
    windows = plan_windows(target, frame_size, PathConfig())
    assert len(windows) >= 2
    frame = frame_window(frame_size)
    for before, after in zip(windows, windows[1:], strict=False):
        assert holds(frame, after) and holds(after, target)
        assert side(after) <= side(before) + 1e-6


@given(frame_and_target(), st.integers(0, 2**32 - 1))
def test_jittered_windows_hold_the_target_inside_the_frame(case, seed):
    frame_size, target = case
    for window in plan_windows(target, frame_size, PathConfig())[1:]:
        jittered = jitter_window(window, target, frame_size, np.random.default_rng(seed))
        assert holds(frame_window(frame_size), jittered) and holds(jittered, target)


def test_jitter_puts_the_target_off_the_middle():
    target, rng = np.array([1000.0, 600.0, 1025.0, 625.0]), np.random.default_rng(0)
    last = plan_windows(target, (2048, 1152), PathConfig())[-1]
    places = []
    for _ in range(200):
        window = jitter_window(last, target, (2048, 1152), rng)
        places.append((1012.5 - window[0]) / (window[2] - window[0]))
    assert min(places) < 0.3 and max(places) > 0.7


def test_the_path_of_a_small_target_is_geometric_and_square():
    target = np.array([2000.0, 1000.0, 2010.0, 1010.0])
    windows = plan_windows(target, (6000, 4000), PathConfig(min_side=1.0))
    assert len(windows) == 4 - 1  # 4899 -> 80: a factor of 61 needs two jumps of at most 20
    sides = [side(window) for window in windows]
    assert np.isclose(sides[1] / sides[0], sides[2] / sides[1])
    assert all(np.isclose(w[2] - w[0], w[3] - w[1]) for w in windows[1:])
    assert np.isclose(sides[-1], 80)


@given(frame_and_target())
def test_the_next_window_is_inside_the_frame_and_not_too_small(case):
    frame_size, box = case
    config = PathConfig(margin=1.3)
    window = next_window(box, frame_window(frame_size), frame_size, config)
    assert holds(frame_window(frame_size), window) and holds(window, box)
    assert (window[2:] - window[:2] >= np.minimum(config.min_side, frame_size) - 1e-6).all()


@given(frame_and_target())
def test_a_thing_is_looked_at_in_the_windows_of_its_path(case):
    frame_size, target = case
    config = PathConfig(answers="object")
    planned = plan_windows(target, frame_size, config)
    window = planned[0]
    for step in range(1, len(planned)):
        window = next_window(target, window, frame_size, config)
        assert np.allclose(window, planned[step])
    assert np.allclose(next_window(target, window, frame_size, config), planned[-1])


def test_windows_keep_fractions_of_pixels():
    window = square_window((100.25, 80.5), 41.5, (1000, 1000))
    assert np.allclose(window, [79.5, 59.75, 121.0, 101.25])


@given(frame_and_target())
def test_input_sizes_are_multiples_and_keep_the_area(case):
    (width, height), _ = case
    size = input_size(frame_window((width, height)), True, 480, 224)
    assert all(v % 32 == 0 and v >= 32 for v in size)
    if 0.3 < width / height < 3:
        assert 0.8 < size[0] * size[1] / 480**2 < 1.25
        assert 0.85 < (size[0] / size[1]) / (width / height) < 1.18


@given(st.tuples(st.integers(1, 6000), st.integers(1, 6000)), st.sampled_from([1, 2, 4]))
def test_first_windows_cover_the_frame(size, num_first_windows):
    windows = first_windows(size, num_first_windows)
    assert len(windows) == num_first_windows
    corners = np.array(windows)
    np.testing.assert_allclose(corners[:, :2].min(0), 0, atol=1e-6)
    np.testing.assert_allclose(corners[:, 2:].max(0), size)
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    assert areas.sum() >= size[0] * size[1] * (1 - 1e-9)


def test_answers_of_no_kind_are_refused():
    with pytest.raises(ValueError, match="things"):
        PathConfig(answers="things")
