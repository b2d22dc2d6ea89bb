"""The fast sampling is the library's sampling, where it runs and where it steps aside."""

import copy
import pickle

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import MultiScaleDeformableAttention

from piza.model import deformable, grounder
from piza.model.deformable import FastSampling, use_fast_sampling, use_library_sampling


@pytest.fixture
def sampling():
    holder = torch.nn.ModuleList([MultiScaleDeformableAttention()])
    if not use_fast_sampling(holder):
        pytest.skip("no C compiler here")
    return holder[0]


def given(batch=2, queries=7, heads=3, width=8, shapes=((5, 4), (3, 7), (1, 1)), points=2, reach=1.6, seed=0):
    torch.manual_seed(seed)
    value = torch.randn(batch, sum(h * w for h, w in shapes), heads, width)
    places = 0.5 + reach * (torch.rand(batch, queries, heads, len(shapes), points, 2) - 0.5)
    weights = torch.randn(batch, queries, heads, len(shapes), points)
    return [value, torch.tensor(shapes), list(shapes), torch.tensor([0]), places, weights, 64]


@pytest.mark.parametrize("width", [1, 8, 24, 32, 33])
@pytest.mark.parametrize("reach", [0.9, 1.6, 40.0])  # inside, over the rim, mostly far outside
def test_it_samples_as_the_library(sampling, width, reach):
    inputs = given(width=width, reach=reach)
    torch.testing.assert_close(sampling(*inputs), sampling.portable(*inputs), atol=1e-5, rtol=1e-5)


def test_rims_corners_and_what_is_no_number(sampling):
    inputs = given(batch=1, queries=8, heads=1, points=1, shapes=((3, 2),))
    edges = [0.0, 1.0, 0.25, 0.75, -0.25, 1.25, 1e9, -1e9]
    inputs[4] = torch.tensor([[x, y] for x, y in zip(edges, reversed(edges))]).view(1, 8, 1, 1, 1, 2)
    torch.testing.assert_close(sampling(*inputs), sampling.portable(*inputs), atol=1e-5, rtol=1e-5)
    inputs[4] = torch.full_like(inputs[4], torch.nan)
    assert sampling(*inputs).isfinite().all()


def test_threads_and_strides_change_nothing(sampling, monkeypatch):
    inputs = given(queries=40)
    want = sampling.portable(*inputs)
    monkeypatch.setattr(deformable, "LEAST_ROWS", 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(sampling(*inputs), want, atol=1e-5, rtol=1e-5)
    inputs[0] = inputs[0].transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(sampling(*inputs), want, atol=1e-5, rtol=1e-5)


def test_levels_that_are_not_those_of_the_value_are_refused(sampling):
    inputs = given()
    inputs[2] = [(5, 4), (3, 7), (9, 9)]
    with pytest.raises(ValueError, match="cells"):
        sampling(*inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_gradients_are_wanted_they_are_the_librarys(sampling, dtype):
    found = []
    for module in (sampling, sampling.portable):
        inputs = given()
        leaves = [inputs[at].to(dtype).requires_grad_() for at in (0, 4, 5)]
        inputs[0], inputs[4], inputs[5] = leaves
        module(*inputs).square().sum().backward()
        found.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
    inputs = [
        value.double() if torch.is_tensor(value) and value.is_floating_point() else value for value in given()
    ]
    assert sampling(*inputs).dtype == torch.float64


def test_a_detector_answers_the_same_and_keeps_its_names():
    detector = tiny_detector()
    torch.manual_seed(0)
    pixels, ids = torch.randn(2, 3, 96, 128), torch.tensor([[101, 6, 8, 1012, 102]] * 2)

    def look():
        with torch.no_grad():
            text = grounder.encode_text(detector, ids, torch.ones_like(ids))
            return grounder.ground(detector, text, grounder.encode_picture(detector, pixels))

    want, names = look(), list(detector.state_dict())
    if not use_fast_sampling(detector):
        pytest.skip("no C compiler here")
    assert use_fast_sampling(detector)  # twice is once
    replaced = [module for module in detector.modules() if isinstance(module, FastSampling)]
    assert len(replaced) == 4  # two encoder and two decoder layers
    assert not any(isinstance(module.portable, FastSampling) for module in replaced)
    assert list(detector.state_dict()) == names
    got = look()
    np.testing.assert_allclose(got.boxes.numpy(), want.boxes.numpy(), atol=1e-4)
    np.testing.assert_allclose(got.logits.numpy(), want.logits.numpy(), atol=1e-3)
    assert any(isinstance(module, FastSampling) for module in copy.deepcopy(detector).modules())
    again = pickle.loads(pickle.dumps(replaced[0]))  # a kernel is not sent to another process
    assert type(again) is type(replaced[0].portable)
    use_library_sampling(detector)
    assert not any(isinstance(module, FastSampling) for module in detector.modules())
    assert (look().boxes == want.boxes).all()


def test_without_a_compiler_nothing_changes(monkeypatch, tmp_path):
    deformable._compiled.cache_clear()
    monkeypatch.setenv("CC", "/nowhere/cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        holder = torch.nn.ModuleList([MultiScaleDeformableAttention()])
        assert not use_fast_sampling(holder)
        assert isinstance(holder[0], MultiScaleDeformableAttention)
    finally:
        deformable._compiled.cache_clear()
