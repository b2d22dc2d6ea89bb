"""The fast fusion gives the library's numbers, and steps aside where it would not."""

import pytest
import torch
from tests.conftest import tiny_detector

from piza.model.accelerate import fusion
from piza.model.accelerate.fusion import FUSION_ATTENTION

torch.manual_seed(0)
CELLS, WORDS = torch.randn(2, 50, 32), torch.randn(2, 7, 32)
NO_CELL = torch.arange(50) >= torch.tensor([[50], [40]])
NO_WORD = torch.arange(7) >= torch.tensor([[5], [7]])


def attention_of(detector):
    return detector.model.encoder.layers[0].fusion_layer.attn


def flat(sides):
    return [answer for answer, _ in sides]


@pytest.fixture(params=["mm", "gd"])
def detector(request):
    return tiny_detector(request.param)


@pytest.mark.parametrize("masks", [(None, None), (NO_CELL, NO_WORD), (NO_CELL, None)])
@torch.no_grad()
def test_it_gives_the_library_s_numbers(detector, masks, monkeypatch):
    attention = attention_of(detector)
    before, names = flat(attention(CELLS, WORDS, *masks)), list(detector.state_dict())
    used = []
    monkeypatch.setattr(
        fusion, "attend", lambda *given, attend=fusion.attend: used.append(1) or attend(*given)
    )
    FUSION_ATTENTION.apply(detector)
    FUSION_ATTENTION.apply(detector)
    after = flat(attention(CELLS, WORDS, *masks))
    assert used and list(detector.state_dict()) == names
    for got, want in zip(after, before, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_training_is_the_library_s(detector, monkeypatch):
    FUSION_ATTENTION.apply(detector)
    monkeypatch.setattr(fusion, "attend", None)  # calling it would raise
    attention = attention_of(detector)
    (cells, _), (words, _) = attention(CELLS, WORDS)
    assert cells.requires_grad and words.requires_grad
    with torch.no_grad():
        attention.train()(CELLS, WORDS)


@torch.no_grad()
def test_what_is_adapted_is_computed_as_it_is(detector, monkeypatch):
    FUSION_ATTENTION.apply(detector)
    monkeypatch.setattr(fusion, "attend", None)
    attention = attention_of(detector)
    attention.vision_proj = torch.nn.Sequential(attention.vision_proj, torch.nn.Tanh())
    assert attention(CELLS, WORDS)[0][0].shape == CELLS.shape
