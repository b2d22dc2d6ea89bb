"""The search ends, stays in the frame, and gives each sentence the same answer alone and among others."""

import numpy as np
import pytest

from piza.errors import InputError
from piza.result import Result

PICTURE = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)


def inside(box, size):
    return 0 <= box[0] <= box[2] <= size[0] and 0 <= box[1] <= box[3] <= size[1]


@pytest.mark.parametrize("size", [(500, 300), (300, 500), (40, 900), (64, 64), (3, 2), (1, 1)])
def test_always_ends_inside_the_frame(tiny_piza, size):
    picture = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    result = tiny_piza.locate(picture, "the red car")
    assert isinstance(result, Result)
    assert 1 <= len(result.path) <= tiny_piza.config.max_steps
    assert inside(result.box_xyxy, size) and 0 <= result.score <= 1
    assert result.stopped in ("stop", "max_steps", "no_shrink")
    sides = [
        (s.window_xyxy[2] - s.window_xyxy[0]) * (s.window_xyxy[3] - s.window_xyxy[1]) for s in result.path
    ]
    assert all(after < before for before, after in zip(sides, sides[1:], strict=False))
    assert all(inside(step.window_xyxy, size) for step in result.path)
    assert all((np.diff(step.candidate_scores) <= 0).all() for step in result.path)


def test_several_sentences_equal_each_alone(tiny_piza):
    sentences = ["the red car", "a blue sign left of the car", "the round sign"]
    together = tiny_piza.locate(PICTURE, sentences)
    assert [result.expression for result in together] == sentences
    for sentence, result in zip(sentences, together, strict=True):
        alone = tiny_piza.locate(PICTURE, sentence)
        np.testing.assert_allclose(alone.box_xyxy, result.box_xyxy, atol=1e-2)
        assert len(alone.path) == len(result.path)


def test_step_limits(tiny_piza):
    assert len(tiny_piza.locate(PICTURE, "the car", max_steps=1).path) == 1
    whole = tiny_piza.locate(PICTURE, "the car", whole_frame=True)
    assert [step.window_xyxy for step in whole.path] == [(0, 0, 500, 300)]
    assert tiny_piza.locate(PICTURE, []) == []
    with pytest.raises(InputError):
        tiny_piza.locate(PICTURE, "the car", max_steps=0)


def test_the_first_look_does_not_depend_on_the_limit(tiny_piza):
    one = tiny_piza.locate(PICTURE, "the car", max_steps=1).path[0]
    more = tiny_piza.locate(PICTURE, "the car", max_steps=4).path[0]
    np.testing.assert_allclose(one.candidates_xyxy, more.candidates_xyxy)


def test_stop_is_asked_before_the_look(tiny_piza, monkeypatch):
    looks = []
    encode = tiny_piza.encode_pictures
    monkeypatch.setattr(tiny_piza, "encode_pictures", lambda pictures: looks.append(1) or encode(pictures))
    monkeypatch.setattr(tiny_piza.history, "read", lambda histories, step: (np.array([0.5]), np.array([1.0])))
    result = tiny_piza.locate(PICTURE, "the car")
    assert result.stopped == "stop" and len(result.path) == len(looks) == 1


@pytest.fixture
def branching(tiny_piza, monkeypatch):
    monkeypatch.setattr(tiny_piza.config, "branch", 3)
    monkeypatch.setattr(tiny_piza.config, "budget", 7)
    monkeypatch.setattr(tiny_piza.config, "max_steps", 3)
    return tiny_piza


def test_the_budget_holds_and_no_window_is_seen_twice(branching, monkeypatch):
    seen = []
    encode = branching.encode_pictures
    monkeypatch.setattr(
        branching, "encode_pictures", lambda pictures: seen.append(pictures[0].tobytes()) or encode(pictures)
    )
    result = branching.locate(PICTURE, "the red car")
    assert result.looks == len(seen) == len(set(seen)) <= 7
    assert len(result.path) <= 3 and inside(result.box_xyxy, (500, 300))
    assert all(result.score >= score for _, score in result.rejected)


def test_greedy_is_one_path(branching):
    result = branching.locate(PICTURE, "the red car", greedy=True)
    assert result.looks == len(result.path) and result.rejected == []


def test_a_good_end_ends_the_search(branching, monkeypatch):
    monkeypatch.setattr(branching.config, "enough", 0.0)
    result = branching.locate(PICTURE, "the red car")
    assert result.rejected == [] and result.looks == len(result.path)


def test_the_search_comes_back_from_a_wrong_first_window(tiny_piza, monkeypatch):
    """A grounder that is wrong once: its best first window holds nothing, its second best the thing."""
    thing = np.array([400.0, 200.0, 410.0, 210.0])
    wrong, right = np.array([20.0, 20.0, 100.0, 100.0]), np.array([365.0, 165.0, 445.0, 245.0])

    def told(grounding, window):
        if window[2] - window[0] > 200:
            return np.array([wrong, right]), np.array([0.9, 0.4])
        here = (window[:2] <= thing[:2]).all() and (window[2:] >= thing[2:]).all()
        return np.array([thing if here else window]), np.array([0.8 if here else 0.1])

    monkeypatch.setattr("piza.search.answers", told)
    monkeypatch.setattr(tiny_piza.config, "max_steps", 2)
    monkeypatch.setattr(tiny_piza.config, "budget", 4)
    monkeypatch.setattr(tiny_piza.config, "branch", 1)
    assert tiny_piza.locate(PICTURE, "the car").score == pytest.approx(0.1)
    monkeypatch.setattr(tiny_piza.config, "branch", 2)
    found = tiny_piza.locate(PICTURE, "the car")
    np.testing.assert_allclose(found.box_xyxy, thing)
    assert found.looks == 3 and len(found.path) == 2 and [score for _, score in found.rejected] == [0.1]
