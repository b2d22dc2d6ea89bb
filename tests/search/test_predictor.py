"""The search ends, stays in the frame, and gives each sentence the same answer alone and among others."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from piza.boxes import cxcywh_to_xyxy
from piza.config import SearchConfig
from piza.errors import InputError
from piza.image import cut
from piza.result import Result

PICTURE = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)


def spy(monkeypatch, model, name, what):
    """A list that grows by `what` of every call of this method of the model."""
    seen, inner = [], getattr(model, name)

    def call(*given, **more):
        seen.append(what(*given))
        return inner(*given, **more)

    monkeypatch.setattr(model, name, call)
    return seen


def inside(box, size):
    return 0 <= box[0] <= box[2] <= size[0] and 0 <= box[1] <= box[3] <= size[1]


@pytest.mark.parametrize("answers", ["window", "object"])
@pytest.mark.parametrize("size", [(500, 300), (300, 500), (40, 900), (64, 64), (3, 2), (1, 1)])
def test_always_ends_inside_the_frame(tiny_piza, monkeypatch, size, answers):
    monkeypatch.setattr(tiny_piza.config, "path", replace(tiny_piza.config.path, answers=answers))
    picture = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    result = tiny_piza.locate(picture, "the red car")
    assert isinstance(result, Result)
    assert 1 <= len(result.path) <= tiny_piza.config.search.max_looks
    assert inside(result.box_xyxy, size) and 0 <= result.score <= 1
    assert result.stopped in ("stop", "max_looks", "no_shrink", "budget")
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


def test_looks_of_several_sentences_are_taken_together(tiny_piza, monkeypatch):
    monkeypatch.setattr(tiny_piza.config, "search", SearchConfig(budget=4, max_looks=3))
    sentences = [
        f"the {word}" for word in ("red car", "blue sign left of a car", "number", "round sign", "left")
    ]
    alone = [tiny_piza.locate(PICTURE, sentence) for sentence in sentences]
    batches = spy(monkeypatch, tiny_piza, "encode_images", len)
    for most in (4, 2):
        batches.clear()
        monkeypatch.setattr(type(tiny_piza), "max_windows", most)
        together = tiny_piza.locate(PICTURE, sentences)
        assert 1 < max(batches) <= most and batches[0] == 1  # the frame, once for all
        assert sum(batches) - 1 == sum(result.num_looks - 1 for result in together)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=1e-2)
            np.testing.assert_allclose(one.windows, other.windows, atol=1e-2)
            assert one.score == pytest.approx(other.score, abs=1e-3) and one.stopped == other.stopped


def test_things_are_listed_once_and_each_sentence_is_read_as_if_alone(tiny_listing_piza, monkeypatch):
    sentences = ["the red car", "a blue sign left of a car", "the number", "a car", "the round sign"]
    alone = [tiny_listing_piza.locate(PICTURE, sentence) for sentence in sentences]
    listed = spy(monkeypatch, tiny_listing_piza, "encode_frame", lambda *given: 1)
    read = spy(monkeypatch, tiny_listing_piza.matcher, "forward", lambda ids, *given: ids.shape[1])
    monkeypatch.setattr("piza.model.piza.MAX_MATCHED", 2)
    together = tiny_listing_piza.locate(PICTURE, sentences)
    assert listed == [1] and sum(read) == 5 and max(read) == 2
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=1e-2)
        np.testing.assert_allclose(one.windows, other.windows, atol=1e-2)
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert one.num_looks > 1


def test_one_look_at_the_whole_frame_answers_with_a_listed_thing(tiny_listing_piza):
    result = tiny_listing_piza.locate(PICTURE, "the red car", whole_frame=True)
    step = result.path[0]
    with torch.no_grad():
        found = tiny_listing_piza.encode_frame(cut(PICTURE, np.array(step.window_xyxy), step.input_size))
        best = int(tiny_listing_piza.match(["the red car"], found).logits[0, 0, :, 0].argmax())
    height, width = PICTURE.shape[:2]
    box = cxcywh_to_xyxy(found.boxes[-1, 0, best].double().numpy()) * [width, height, width, height]
    np.testing.assert_allclose(result.box_xyxy, np.clip(box, 0, [width, height] * 2), atol=1e-2)


def test_many_sentences_are_searched_in_groups(tiny_piza, monkeypatch):
    asked = spy(monkeypatch, tiny_piza, "encode_text", len)
    monkeypatch.setattr("piza.search.predictor.SENTENCES_IN_STEP", 2)
    sentences = ["the red car", "a blue sign left of the car", "the number", "a car", "the round sign"]
    found = tiny_piza.locate(PICTURE, sentences)
    assert asked == [2, 2, 1] and [result.expression for result in found] == sentences
    assert len({result.milliseconds for result in found}) == 1


def test_large_inputs_are_looked_at_one_by_one(tiny_piza, monkeypatch):
    batches = spy(monkeypatch, tiny_piza, "encode_images", len)
    monkeypatch.setattr("piza.search.predictor.MAX_BATCH_PIXELS", 100)
    tiny_piza.locate(PICTURE, ["the red car", "a blue sign", "the number"])
    assert set(batches) == {1}


def test_a_file_is_searched_as_its_pixels_are(tiny_piza, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    from_file, from_array = (
        tiny_piza.locate(tmp_path / "a.png", "the car"),
        tiny_piza.locate(PICTURE, "the car"),
    )
    np.testing.assert_allclose(from_file.box_xyxy, from_array.box_xyxy, atol=1)
    assert isinstance(from_file.image, np.ndarray) and np.array_equal(from_file.image, PICTURE)
    assert from_file.image is from_file.image and "source" not in repr(from_file)


def test_step_limits(tiny_piza):
    assert len(tiny_piza.locate(PICTURE, "the car", max_looks=1).path) == 1
    whole = tiny_piza.locate(PICTURE, "the car", whole_frame=True)
    assert [step.window_xyxy for step in whole.path] == [(0, 0, 500, 300)]
    assert tiny_piza.locate(PICTURE, []) == []
    with pytest.raises(InputError):
        tiny_piza.locate(PICTURE, "the car", max_looks=0)


def test_the_first_look_does_not_depend_on_the_limit(tiny_piza):
    one = tiny_piza.locate(PICTURE, "the car", max_looks=1).path[0]
    more = tiny_piza.locate(PICTURE, "the car", max_looks=4).path[0]
    np.testing.assert_allclose(one.candidates_xyxy, more.candidates_xyxy)


def test_stop_is_asked_before_the_look(tiny_piza, monkeypatch):
    looks = []
    encode = tiny_piza.encode_images
    monkeypatch.setattr(tiny_piza, "encode_images", lambda pictures: looks.append(1) or encode(pictures))
    monkeypatch.setattr(
        tiny_piza,
        "read_history",
        lambda histories: (np.full(len(histories), 0.5), np.ones(len(histories))),
    )
    result = tiny_piza.locate(PICTURE, "the car")
    assert result.stopped == "stop" and len(result.path) == len(looks) == 1


@pytest.fixture
def coming_back(tiny_piza, monkeypatch):
    monkeypatch.setattr(tiny_piza.config, "search", SearchConfig(budget=7, max_looks=3))
    return tiny_piza


def test_the_budget_holds_and_no_window_is_seen_twice(coming_back, monkeypatch):
    seen = []
    encode = coming_back.encode_images
    monkeypatch.setattr(
        coming_back,
        "encode_images",
        lambda pictures: seen.append(pictures[0].tobytes()) or encode(pictures),
    )
    result = coming_back.locate(PICTURE, "the red car")
    assert result.num_looks == len(seen) == len(set(seen)) <= 7
    assert len(result.path) <= 3 and inside(result.box_xyxy, (500, 300))
    assert all(result.score >= score for _, score in result.rejected)


def test_greedy_is_one_path(coming_back):
    result = coming_back.locate(PICTURE, "the red car", greedy=True)
    assert result.num_looks == len(result.path) and result.rejected == []


@pytest.mark.parametrize("num_first_windows", [2, 4])
def test_a_search_may_begin_with_parts_of_the_frame(tiny_piza, monkeypatch, num_first_windows):
    monkeypatch.setattr(
        tiny_piza.config,
        "search",
        SearchConfig(budget=num_first_windows + 2, max_looks=3, num_first_windows=num_first_windows),
    )
    together = tiny_piza.locate(PICTURE, ["the red car", "a blue sign"])
    alone = tiny_piza.locate(PICTURE, "a blue sign")
    assert num_first_windows < alone.num_looks <= num_first_windows + 2 and inside(alone.box_xyxy, (500, 300))
    np.testing.assert_allclose(together[1].box_xyxy, alone.box_xyxy, atol=1e-2)
    first = alone.path[0].window_xyxy
    assert 0 < (first[2] - first[0]) * (first[3] - first[1]) < 500 * 300


def test_an_answer_below_the_wanted_score_is_not_found(tiny_piza):
    usual = tiny_piza.locate(PICTURE, "the red car")
    assert usual.found and 0 < usual.score < 1
    just, above = (
        tiny_piza.locate(PICTURE, ["the red car"], min_score=least)[0]
        for least in (usual.score, np.nextafter(usual.score, 1))
    )
    assert just.found and not above.found
    assert (
        above.box_xyxy == usual.box_xyxy and above.score == usual.score and above.num_looks == usual.num_looks
    )
    assert tiny_piza.locate(PICTURE, "the red car", min_score=0).found
    assert not tiny_piza.locate(PICTURE, "the red car", min_score=1.0, greedy=True, whole_frame=True).found


@pytest.mark.parametrize("least", [-0.1, 1.5, float("nan")])
def test_the_wanted_score_is_a_probability(tiny_piza, least):
    with pytest.raises(InputError, match="min_score: expected"):
        tiny_piza.locate(PICTURE, "the red car", min_score=least)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget: expected a number greater than or equal to 1, got 0"),
        ({"budget": "3"}, "budget: expected a valid integer, got '3'"),
        ({"max_looks": 2.5}, "max_looks: expected a valid integer"),
        ({"accept_threshold": 1.5}, "accept_threshold: expected a number less than or equal to 1"),
        ({"greedy": 1}, "greedy: expected true or false, got int 1"),
        ({"keep_image": "no"}, "keep_image: expected true or false, got str 'no'"),
        ({"search": {"budget": 3}}, "search: expected a SearchConfig, got dict {'budget': 3}"),
    ],
)
def test_options_of_a_wrong_type_or_range_are_refused(tiny_piza, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        tiny_piza.locate(PICTURE, "the red car", **options)


@pytest.mark.parametrize("expression", [None, 5, {"a": 1}, b"the red car", ["the red car", None], ""])
def test_what_is_no_sentence_is_refused(tiny_piza, expression):
    with pytest.raises(InputError):
        tiny_piza.locate(PICTURE, expression)


def test_a_search_changes_no_setting_of_the_model(tiny_piza):
    before = replace(tiny_piza.config)
    given = SearchConfig(budget=2, max_looks=2)
    by_value = tiny_piza.locate(PICTURE, "the red car", given)
    by_keyword = tiny_piza.locate(PICTURE, "the red car", search=SearchConfig(), budget=2, max_looks=2)
    assert by_value.num_looks == by_keyword.num_looks <= 2 and by_value.box_xyxy == by_keyword.box_xyxy
    assert tiny_piza.config == before


def test_a_result_is_light_unless_asked(tiny_piza, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    mine = PICTURE.copy()
    light, kept = (tiny_piza.locate(mine, "the car", keep_image=keep) for keep in (False, True))
    from_file = tiny_piza.locate(tmp_path / "a.png", "the car")
    assert light.image is mine and np.array_equal(from_file.image, PICTURE)
    again = pickle.loads(pickle.dumps(from_file))
    assert again.box_xyxy == from_file.box_xyxy and np.array_equal(again.image, PICTURE)
    assert np.array_equal(kept.image, PICTURE)
    del mine, kept
    with pytest.raises(InputError, match="keep_image"):
        _ = light.image
