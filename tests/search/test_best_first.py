"""The search by itself, with looks that are told: it ends, it comes back, it never looks twice at one window."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piza.boxes import iou_xyxy
from piza.config import Evidence, PathConfig, SearchConfig
from piza.result import Step
from piza.search.best_first import best_first
from piza.search.hypothesis import Observation
from piza.search.zoom_path import first_windows, next_window, side

SIZE = (1000, 600)


def window_of(box, window):
    return next_window(box, window, SIZE, PathConfig())


def search(answers, config, last_side=100.0):
    """`answers(path) -> boxes, scores`; a path ends when its box is smaller than `last_side`."""
    seen_windows = []

    def look(paths):
        found = []
        for path in paths:
            seen_windows.append(path.window)
            boxes, scores = (np.asarray(v, float) for v in answers(path))
            window = tuple(float(v) for v in path.window)
            found.append(Observation(Step(window, (64, 64), 0.0, 0.0, boxes, scores), boxes, scores))
        return found

    def at_end(path, boxes):
        return [bool(side(box) < last_side) for box in boxes]

    looker = SimpleNamespace(
        frame_size=SIZE,
        first_windows=first_windows(SIZE, config.num_first_windows),
        look=look,
        at_end=at_end,
        window_of=window_of,
    )
    return best_first(looker, config), seen_windows


THING = np.array([700.0, 300.0, 720.0, 325.0])
WRONG, RIGHT = np.array([50.0, 50.0, 250.0, 250.0]), np.array([600.0, 220.0, 800.0, 420.0])


def wrong_once(path):
    """The best first window holds nothing, the second best the thing."""
    if not path.steps:
        return [WRONG, RIGHT], [0.9, 0.5]
    window = path.window
    here = (window[:2] <= THING[:2]).all() and (window[2:] >= THING[2:]).all()
    center = (window[:2] + window[2:]) / 2
    return ([THING], [0.8]) if here else ([np.concatenate([center - 10, center + 10])], [0.05])


def test_it_comes_back_from_a_wrong_first_window():
    found, _ = search(wrong_once, SearchConfig())
    np.testing.assert_allclose(found.answer.boxes[-1], THING)
    assert len(found.looked) == 3 and len(found.answer.steps) == 2
    assert [path.score for path in found.rejected] == [0.05]


def test_the_published_search_does_not_come_back():
    found, _ = search(wrong_once, SearchConfig(top_k=1))
    assert len(found.looked) == 2 and found.answer.score == 0.05 and found.rejected == []


def test_probable_enough_ends_the_search():
    surer = Evidence(first=0.2)  # a first look that is worth little
    assert len(search(wrong_once, SearchConfig(accept_threshold=0.6, evidence=surer))[1]) == 3
    assert len(search(wrong_once, SearchConfig(accept_threshold=0.0))[1]) == 2


def test_probabilities_are_shared_among_hypotheses_and_none():
    found, _ = search(wrong_once, SearchConfig())
    total = found.answer.probability + sum(path.probability for path in found.rejected)
    assert 0 < total < 1
    doubt, _ = search(wrong_once, SearchConfig(evidence=Evidence(none=5.0)))
    assert doubt.answer.probability < found.answer.probability


def test_a_budget_of_one_answers_from_the_frame():
    found, windows = search(wrong_once, SearchConfig(budget=1))
    assert len(found.looked) == len(windows) == 1 and found.answer.stopped == "budget"
    np.testing.assert_allclose(found.answer.boxes[-1], WRONG)


def test_answers_that_overlap_are_one():
    def twice(path):
        if not path.steps:  # two windows around the thing, apart enough to be two hypotheses
            return [RIGHT + [-90, 0, -90, 0], RIGHT + [90, 0, 90, 0]], [0.6, 0.5]
        return [THING], [0.7]

    found, windows = search(twice, SearchConfig())
    assert len(windows) == 3 and found.rejected == []


@pytest.mark.parametrize("windows_per_batch", [1, 2, 4])
def test_looking_at_several_together_keeps_the_budget(windows_per_batch):
    found, windows = search(wrong_once, SearchConfig(budget=3, windows_per_batch=windows_per_batch))
    assert len(windows) == len(found.looked) <= 3
    np.testing.assert_allclose(found.answer.boxes[-1], THING)


def test_first_windows_count_to_the_budget():
    found, windows = search(wrong_once, SearchConfig(budget=1, num_first_windows=4))
    assert len(windows) == len(found.looked) == 1


def test_looks_that_see_nothing():
    def nothing(path):
        return np.zeros((0, 4)), np.zeros(0)

    found, windows = search(nothing, SearchConfig())
    assert len(windows) == 1 and found.answer.stopped == "nothing" and found.answer.probability == 0

    def nothing_closer(path):
        return ([WRONG, RIGHT], [0.9, 0.5]) if not path.steps else nothing(path)

    found, windows = search(nothing_closer, SearchConfig())
    assert len(windows) == 3 and found.answer.stopped == "nothing"


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([1, 2, 10]),
    st.integers(1, 3),
    st.floats(0, 1),
)
def test_it_always_ends_within_its_limits(
    seed, budget, max_looks, top_k, windows_per_batch, accept_threshold
):
    rng = np.random.default_rng(seed)

    def anything(path):
        corner = rng.uniform(0, 1, (6, 2)) * SIZE
        boxes = np.concatenate([corner, corner + rng.uniform(0, 400, (6, 2))], 1)
        window = np.asarray(path.window)
        boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
        return boxes, np.sort(rng.uniform(0, 1, 6))[::-1]

    config = SearchConfig(budget, accept_threshold, top_k, max_looks, windows_per_batch)
    found, windows = search(anything, config)
    assert 1 <= len(found.looked) == len(windows) <= budget
    assert found.answer.stopped in ("stop", "max_looks", "no_shrink", "budget")
    assert 1 <= len(found.answer.steps) <= max_looks
    assert 0 <= found.answer.probability <= 1
    assert all(path.probability <= found.answer.probability + 1e-9 for path in found.rejected)
    for i, one in enumerate(windows):
        assert all(iou_xyxy(one, other) < 0.999 for other in windows[:i])
    sides = [side(np.array(step.window_xyxy)) for step in found.answer.steps]
    assert all(after < before for before, after in zip(sides, sides[1:], strict=False))


def another_object_nearby(path):
    """The first look is right; the later one prefers an object beside it, and sees the right one less surely."""
    if not path.steps:
        return [THING], [0.6]
    beside = THING + np.array([60.0, 0.0, 60.0, 0.0])
    return [beside, THING + 1], [0.9, 0.3]


def test_a_later_look_may_be_kept_to_the_object_that_led_to_it():
    free, _ = search(another_object_nearby, SearchConfig(), last_side=0.0)
    kept, _ = search(another_object_nearby, SearchConfig(same_object_iou=0.5), last_side=0.0)
    np.testing.assert_allclose(kept.answer.boxes[-1], THING + 1)
    assert not np.allclose(free.answer.boxes[-1], THING + 1)


def test_a_box_that_no_later_look_confirms_stays():
    def elsewhere(path):
        return ([THING], [0.6]) if not path.steps else ([WRONG, THING - 400], [0.9, 0.1])

    kept, _ = search(elsewhere, SearchConfig(same_object_iou=0.5), last_side=0.0)
    np.testing.assert_allclose(kept.answer.boxes[-1], THING)
    assert kept.answer.score == 0.1


def test_an_unsure_later_look_leaves_the_box_as_it_was():
    config = SearchConfig(same_object_iou=0.5, refine_score=0.5)
    kept, _ = search(another_object_nearby, config, last_side=0.0)
    np.testing.assert_allclose(kept.answer.boxes[-1], THING)
    assert kept.answer.score == 0.3
