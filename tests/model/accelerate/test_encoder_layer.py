"""The fast layers of the encoder give the library's numbers, and step aside where they would not."""

import pytest
import torch
from tests.conftest import tiny_detector

from piza.model.accelerate import encoder_layer
from piza.model.accelerate.encoder_layer import ENCODER_LAYERS

SHAPES = [(8, 12), (4, 6), (2, 3), (1, 2)]
PADDED = torch.arange(128) >= torch.tensor([[128], [100]])


@pytest.fixture(params=["mm", "gd"])
def detector(request):
    return tiny_detector(request.param)


def run(detector, padded, **changes):
    """What the encoder makes of random cells of two pictures, the second of which may be padded."""
    torch.manual_seed(0)
    cells, places, words = torch.randn(2, 128, 32), torch.randn(2, 128, 32), torch.randn(2, 7, 32)
    shapes = torch.tensor(SHAPES)
    ratios = torch.ones(2, 4, 2)
    if padded:
        ratios[1] = 0.8
    found = detector.model.encoder(
        vision_features=cells.requires_grad_(changes.get("learn", False)),
        vision_attention_mask=PADDED if padded else torch.zeros(2, 128, dtype=torch.bool),
        vision_position_embedding=places,
        spatial_shapes=shapes,
        spatial_shapes_list=SHAPES,
        level_start_index=torch.cat((shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1])),
        valid_ratios=ratios,
        text_features=words,
        text_attention_mask=torch.zeros(2, 7, dtype=torch.bool),
        text_self_attention_masks=torch.ones(2, 7, 7, dtype=torch.bool),
        text_position_ids=torch.arange(7).expand(2, -1),
    )
    return found.last_hidden_state_vision, found.last_hidden_state_text


@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_it_gives_the_library_s_numbers(detector, padded, monkeypatch):
    before, names = run(detector, padded), list(detector.state_dict())
    used, attend = [], encoder_layer._attend
    monkeypatch.setattr(
        encoder_layer, "_attend", lambda *given, **more: used.append(1) or attend(*given, **more)
    )
    ENCODER_LAYERS.apply(detector)
    ENCODER_LAYERS.apply(detector)
    after = run(detector, padded)
    assert used and list(detector.state_dict()) == names
    for got, want in zip(after, before, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_training_is_the_library_s(detector, monkeypatch):
    ENCODER_LAYERS.apply(detector)
    monkeypatch.setattr(encoder_layer, "_attend", None)  # calling it would raise
    assert run(detector, True, learn=True)[0].requires_grad
    with torch.no_grad():
        detector.train()
        run(detector, True)
