"""Loading makes a model fast where that can be had, and is quiet and whole where it cannot."""

import numpy as np
import pytest
import torch

import piza
from piza.model.accelerate import deformable
from piza.model.io import load_folder, save_folder

PICTURE = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)


def test_a_loaded_model_samples_by_the_kernel_and_answers_the_same(monkeypatch, capfd):
    if deformable._compiled() is None:
        pytest.skip("no C compiler here")
    model, sample, calls = piza.load("mini"), deformable._sample, []
    monkeypatch.setattr(deformable, "_sample", lambda *given: calls.append(given) or sample(*given))
    one = model.locate(PICTURE, "the red sign", greedy=True)
    assert calls
    calls.clear()
    monkeypatch.setattr(deformable, "_compiled", lambda: None)
    other = piza.load("mini").locate(PICTURE, "the red sign", greedy=True)
    assert not calls
    np.testing.assert_allclose(one.path[0].candidate_scores, other.path[0].candidate_scores, atol=1e-4)
    np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=0.05)
    assert capfd.readouterr().err == ""


def test_what_was_loaded_can_be_saved_and_trained(tmp_path):
    model = piza.load("mini")
    save_folder(model, tmp_path / "copy")
    again = load_folder(tmp_path / "copy")
    for (name, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
