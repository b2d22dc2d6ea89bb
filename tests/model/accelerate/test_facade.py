"""All short cuts together leave the answers as they are: of both families, and of the embedded model at its own sizes."""

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

import piza
from piza.hub import find_model
from piza.model.accelerate.facade import use_fast_forward
from piza.model.piza import load_folder


@pytest.mark.parametrize("family", ["mm", "gd"])
@torch.no_grad()
def test_a_detector_answers_as_before(family):
    detector = tiny_detector(family)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 96, 128, generator=generator)
    ids = torch.tensor([[101, 7, 8, 1012, 102], [101, 9, 7, 1012, 102]])
    given = dict(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids))
    before, names = detector(**given), list(detector.state_dict())
    use_fast_forward(detector)
    use_fast_forward(detector)
    after = detector(**given)
    torch.testing.assert_close(after.pred_boxes, before.pred_boxes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.logits[..., :5], before.logits[..., :5], atol=1e-3, rtol=1e-3)
    assert list(detector.state_dict()) == names


@torch.no_grad()
def test_the_embedded_model_answers_as_it_is_written():
    stock, fast = load_folder(find_model("mini")), piza.load("mini")
    picture = np.random.default_rng(0).integers(0, 255, (448, 768, 3), dtype=np.uint8)
    sentences = ["the round sign with a red border", "the car left of a tree"]
    read = [model.match(sentences, model.encode_frame(picture)) for model in (stock, fast)]
    window = np.ascontiguousarray(picture[100:324, 200:424])
    for model in (stock, fast):
        text, pooling = model.encode_prompts([sentences[:1]])
        read.append(model.ground(text, pooling, model.encode_images([window]), [0.5]))
    for want, got in (read[:2], read[2:]):
        torch.testing.assert_close(got.boxes[-1], want.boxes[-1], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(got.logits[-1], want.logits[-1], atol=1e-2, rtol=1e-2)
