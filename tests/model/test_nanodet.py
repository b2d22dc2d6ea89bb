"""The pretrained backbone against the file that its weights come from, and the list that is read off it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from piza.model.nanodet import BINS, NanoDet, NanoDetAnswers, distances
from piza.model.nanodet_proposals import choose, patches

RECIPES = Path(__file__).parents[2] / "recipes"
ONNX = Path(__file__).parents[2].parent / "shared" / "weights" / "nanodet_g.onnx"


def test_levels_have_strides_8_16_32() -> None:
    with torch.no_grad():
        seen = NanoDet()(torch.zeros(1, 3, 64, 96))
        answers = NanoDetAnswers()(seen.head)
    assert [tuple(a.shape) for a in answers] == [(1, 124, 8, 12), (1, 124, 4, 6), (1, 124, 2, 3)]
    assert [tuple(s.shape[1:]) for s in seen.stages] == [(128, 8, 12), (256, 4, 6), (512, 2, 3)]


@pytest.mark.skipif(not ONNX.exists(), reason="needs ../shared/weights/nanodet_g.onnx")
def test_same_answers_as_the_onnx_file(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.syspath_prepend(str(RECIPES))
    from piza.training.from_scratch.proposals.nanodet_weights import load_nanodet

    pixels = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    eye, answers = load_nanodet(ONNX)
    with torch.no_grad():
        found = answers(eye(pixels).head)
    expected = onnxruntime.InferenceSession(str(ONNX)).run(None, {"input_1": pixels.flip(1).numpy()})
    for level, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(level.permute(0, 2, 3, 1).numpy(), other, atol=1e-4)


def test_distances_are_means_of_their_distributions() -> None:
    logits = torch.full((1, 4, BINS), -50.0)
    logits[0, 0, 3] = 50.0
    logits[0, 1, [2, 3]] = 50.0
    logits[0, 2:, 10] = 50.0
    assert distances(logits.flatten(1))[0].tolist() == pytest.approx([3.0, 2.5, 10.0, 10.0])


def test_duplicates_are_listed_last() -> None:
    boxes = torch.tensor(
        [[[0.5, 0.5, 0.2, 0.2], [0.5, 0.51, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]]
    )
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    assert choose(scores, boxes, 3)[0].tolist() == [0, 2, 3]
    assert choose(scores, boxes, 4)[0].tolist() == [0, 2, 3, 1]


def test_a_box_suppressed_by_a_duplicate_is_kept() -> None:
    # The second is a duplicate of the first, the third of the second only.
    boxes = torch.tensor([[[0.50, 0.5, 0.2, 0.2], [0.54, 0.5, 0.2, 0.2], [0.58, 0.5, 0.2, 0.2]]])
    assert choose(torch.tensor([[3.0, 2.0, 1.0]]), boxes, 2)[0].tolist() == [0, 2]


def test_patches_are_the_pixels_of_the_box() -> None:
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[:, 0, :, 16:] = 1.0
    found = patches(pixels, torch.tensor([[[0.75, 0.5, 0.2, 0.2], [0.25, 0.5, 0.2, 0.2]]])).view(2, 3, -1)
    assert found[0, 0].min() > 0.99 and found[1].max() == 0.0 and found[0, 1:].max() == 0.0
