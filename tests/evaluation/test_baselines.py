"""Baselines find what is in the image, wherever it is, and count every tile."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.fake_model import FakeModel

from piza.boxes import iou_xyxy
from piza.config import PathConfig
from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation.baselines import (
    check_options,
    last_progress,
    oracle_first_window,
    sliding_window,
    tile_grid,
)
from piza.evaluation.error_analysis import holds
from piza.evaluation.run import evaluate
from piza.evaluation.tiles import tile_windows
from piza.result import Result
from piza.search.zoom_path import frame_window, plan_windows

FRAME = (500, 300)
NOISE = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)


def asked(*sentences, boxes=None):
    boxes = boxes or [(0.0, 0.0, 1.0, 1.0)] * len(sentences)
    return [
        Row("a.png", box, sentence, number) for number, (sentence, box) in enumerate(zip(sentences, boxes))
    ]


def street(*boxes, size=FRAME):
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1, 0] = 255
    return pixels


@settings(max_examples=15)
@given(st.integers(0, 476), st.integers(0, 276), st.sampled_from([sliding_window, tile_grid]))
def test_an_object_is_found_wherever_it_is(x, y, baseline):
    """Also on the borders between tiles: their overlap of 32 pixels is larger than the object."""
    box = (x, y, x + 24, y + 24)
    (result,) = baseline(FakeModel(), street(box), asked("the red object"), tile=64, overlap=0.5)
    assert isinstance(result, Result) and iou_xyxy(result.box_xyxy, box) > 0.8


def test_a_grid_makes_an_object_larger_than_the_overlap_whole():
    box = (30, 100, 100, 120)  # longer than a tile, and seen in parts by two of a row
    (merged,) = tile_grid(FakeModel(), street(box), asked("the red object"), tile=64, overlap=0.2)
    assert iou_xyxy(merged.box_xyxy, box) > 0.8


def test_every_tile_is_a_look_for_every_sentence():
    model = FakeModel()
    results = tile_grid(model, street((10, 10, 20, 20)), asked("one", "two", "three"), tile=64, overlap=0.25)
    count = len(tile_windows(FRAME, 64, 0.25))
    assert [result.expression for result in results] == ["one", "two", "three"]
    assert {result.num_looks for result in results} == {count} and sum(model.batches) == 3 * count
    assert max(model.batches) == 4 and model.sentences == ["one", "two", "three"]
    assert all(result.milliseconds > 0 and len(result.path) == 1 for result in results)
    assert iou_xyxy(results[0].path[0].candidates_xyxy[0], (10, 10, 20, 20)) > 0.8
    assert 0 < results[0].score <= 1 and results[0].to_dict()["num_looks"] == count


def test_the_tile_is_by_default_as_large_as_the_models_input():
    (result,) = sliding_window(FakeModel(), street((10, 10, 20, 20)), asked("one"))
    assert result.num_looks == len(tile_windows(FRAME, 64, 0.5))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (40, 40)])
def test_a_frame_smaller_than_a_tile_is_one_look(size):
    (result,) = tile_grid(FakeModel(), street((0, 0, 1, 1), size=size), asked("one"), tile=224)
    assert result.num_looks == 1 + (size[1] > 224) and result.score > 0.5


def test_a_tile_is_asked_as_a_last_look():
    """What a path of two looks has been through at its last one is a half; a tile far smaller needs three."""
    config = PathConfig(max_zoom=10)
    assert last_progress(np.array([0.0, 0, 300, 300]), (3000, 2000), config) == pytest.approx(1 / 2)
    assert last_progress(np.array([0.0, 0, 64, 64]), (3000, 2000), config) == pytest.approx(2 / 3)
    assert last_progress(frame_window(FRAME), FRAME, config) == pytest.approx(1 / 2)
    model = FakeModel()
    tile_grid(model, street((10, 10, 20, 20)), asked("one"))
    assert model.progress == {0.5}


def test_the_tile_with_the_best_score_wins():
    near, far = (20, 20, 30, 30), (400, 200, 430, 230)
    (result,) = sliding_window(
        FakeModel(score=lambda area: 0.9 if area > 0.1 else 0.5), street(near, far), asked("one")
    )
    assert iou_xyxy(result.box_xyxy, far) > 0.8


def test_what_cannot_be_asked():
    assert tile_grid(FakeModel(), street(), []) == []
    with pytest.raises(InputError, match="no baseline 'luck'; known are sliding, tiles, oracle"):
        check_options("luck", [])
    with pytest.raises(InputError, match="'tiles' does not take --whole-frame"):
        check_options("tiles", ["tile", "whole_frame"])
    check_options("oracle", ["greedy", "budget", "min_score"])


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 490), st.integers(0, 290), st.integers(1, 200), st.integers(1, 200))
def test_the_oracles_first_window_holds_the_target(tiny_piza, x, y, width, height):
    target = (x, y, min(x + width, 500), min(y + height, 300))
    (result,) = oracle_first_window(tiny_piza, NOISE, asked("the red car", boxes=[target]))
    assert result.windows[0] == (0, 0, *FRAME) and result.num_looks >= 1
    first = result.windows[1] if len(result.windows) > 1 else result.box_xyxy
    assert holds(first, target)
    planned = plan_windows(np.array(target, dtype=float), FRAME, tiny_piza.config.path)[1]
    assert iou_xyxy(first, planned) > 0.5  # the least side and the margin may enlarge it
    assert result.path[0].candidate_scores[0] == pytest.approx(1)


def test_the_oracle_gives_every_sentence_its_own_window(tiny_piza):
    targets = [(20.0, 20, 30, 30), (400.0, 200, 410, 215)]
    sentences = ["the red car", "the blue sign"]
    together = oracle_first_window(tiny_piza, NOISE, asked(*sentences, boxes=targets))
    for sentence, target, result in zip(sentences, targets, together, strict=True):
        (alone,) = oracle_first_window(tiny_piza, NOISE, asked(sentence, boxes=[target]))
        np.testing.assert_allclose(alone.box_xyxy, result.box_xyxy, atol=1e-2)
    (greedy,) = oracle_first_window(tiny_piza, NOISE, asked(sentences[0], boxes=targets[:1]), greedy=True)
    assert greedy.num_looks == len(greedy.path)


def test_a_real_model_looks_at_tiles_alone_and_in_batches_alike(tiny_piza, monkeypatch):
    sentences = ["the red car", "a blue sign left of the car"]
    batched = tile_grid(tiny_piza, NOISE, asked(*sentences), tile=96)
    monkeypatch.setattr("piza.evaluation.baselines.MAX_BATCH_PIXELS", 1)
    for one, other in zip(batched, tile_grid(tiny_piza, NOISE, asked(*sentences), tile=96), strict=True):
        np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=1e-2)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert 0 <= one.box_xyxy[0] <= one.box_xyxy[2] <= 500


@pytest.mark.parametrize("baseline", [sliding_window, tile_grid])
def test_baselines_are_evaluated_like_a_search(baseline, tmp_path):
    from PIL import Image

    box = (100, 60, 120, 80)
    Image.fromarray(street(box)).save(tmp_path / "a.png")
    rows = [Row("a.png", box, "the red object", 1), Row("a.png", (10, 10, 20, 20), "nothing", 2)]
    found = evaluate(FakeModel(), rows, tmp_path, baseline=baseline, tile=80, overlap=0.4)
    assert found.acc50 == 50 and found.mean_steps == len(tile_windows(FRAME, 80, 0.4)) and found.mean_ms > 0
