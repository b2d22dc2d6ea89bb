"""All accelerations together: answers stay as they are, and `undo` gives back the plain model, whichever were on."""

import copy

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

import piza
from piza.hub import find_model
from piza.model import accelerate
from piza.model.accelerate import ACCELERATIONS, linear
from piza.model.load import load_plain

IDS = torch.tensor([[101, 7, 8, 1012, 102], [101, 9, 7, 1012, 102]])
PIXELS = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small_layers_too(monkeypatch):
    monkeypatch.setattr(linear, "MIN_WEIGHTS", 0)


@pytest.fixture(params=["mm", "gd"])
def detector(request):
    return tiny_detector(request.param)


@torch.no_grad()
def answer(detector):
    found = detector(pixel_values=PIXELS, input_ids=IDS, attention_mask=torch.ones_like(IDS))
    return found.pred_boxes, found.logits[..., :5]


def classes(model):
    return [type(module) for module in model.modules()]


def fast_classes():
    return {fast for one in ACCELERATIONS for fast in one.classes.values()}


def available():
    return [one for one in ACCELERATIONS if one.is_available("cpu")]


def test_a_detector_answers_as_before(detector):
    before, names = answer(detector), list(detector.state_dict())
    assert accelerate.apply(detector) == [one.name for one in available()]
    for got, want in zip(answer(detector), before, strict=True):
        torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)
    assert list(detector.state_dict()) == names
    assert fast_classes() & set(classes(detector))


def test_undo_gives_back_the_plain_model(detector):
    before, plain = answer(detector), classes(detector)
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    accelerate.apply(detector)
    accelerate.apply(detector)
    fast = classes(detector)
    answer(detector)
    accelerate.undo(detector)
    accelerate.undo(detector)
    assert classes(detector) == plain
    assert detector.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())
    for got, want in zip(answer(detector), before, strict=True):
        assert torch.equal(got, want)
    accelerate.apply(detector)
    assert classes(detector) == fast


@pytest.mark.parametrize("one", ACCELERATIONS, ids=lambda one: one.name)
def test_undo_where_only_one_is_on(one, detector):
    plain = classes(detector)
    one.apply(detector)
    accelerate.undo(detector)
    assert classes(detector) == plain


def test_training_turns_on_only_what_has_gradients(detector):
    names = accelerate.apply(detector, training=True)
    assert names == [one.name for one in available() if one.in_training]
    on = {fast for one in ACCELERATIONS if one.in_training for fast in one.classes.values()}
    assert fast_classes() & set(classes(detector)) <= on


def test_on_another_device_only_what_runs_there_is_on(detector):
    accelerate.apply(detector, "cuda:1")
    on = fast_classes() & set(classes(detector))
    assert on and on <= {
        fast for one in ACCELERATIONS if one.is_available("cuda") for fast in one.classes.values()
    }


def test_a_copy_stays_accelerated(detector):
    accelerate.apply(detector)
    again = copy.deepcopy(detector)
    assert classes(again) == classes(detector)
    assert all(torch.equal(a, b) for a, b in zip(answer(again), answer(detector), strict=True))


@torch.no_grad()
def test_the_embedded_model_answers_as_it_is_written():
    plain, fast = load_plain(find_model("mini")), piza.load("mini")
    assert not fast_classes() & set(classes(plain)) and fast_classes() & set(classes(fast))
    image = np.random.default_rng(0).integers(0, 255, (448, 768, 3), dtype=np.uint8)
    window = np.ascontiguousarray(image[100:324, 200:424])
    sentences = ["the round sign with a red border", "the car left of a tree"]
    found = []
    for model in (plain, fast):
        texts = model.encode_text(sentences)
        first = model.first_look(texts, model.encode_frame(image), 0.0)
        found.append([*first, *model.refine(texts[:1], [window], [0.5])])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got.boxes[0], want.boxes[0], atol=1e-4)
        np.testing.assert_allclose(got.scores, want.scores, atol=1e-3)
