"""The embedded model: there, small, and finding through the whole chain what it found when it was shipped."""

import numpy as np
import pytest

import piza
from piza.boxes import iou_xyxy
from piza.data.scenes import examples
from piza.hub import WEIGHTS
from piza.image import open_image


@pytest.fixture(scope="module")
def mini():
    return piza.load("mini")


def test_it_is_small(mini):
    assert sum(path.stat().st_size for path in (WEIGHTS / "mini").iterdir()) < 30e6
    assert 2e6 < sum(p.numel() for p in mini.parameters()) < 1.4e7


def test_it_finds_what_it_found_when_it_was_shipped(mini, tmp_path):
    """A regression test, not a measure of accuracy: its rows are some that were right."""
    seed, size = examples.SCENES[1]
    rows = examples.draw_scene(seed, size, tmp_path / "street.jpg")
    row = next(row for row in rows if row.ref.startswith("Locate the red disc with a white stripe"))
    result = mini.locate(tmp_path / "street.jpg", row.ref)
    assert iou_xyxy(result.box_xyxy, row.box_xyxy) > 0.7
    assert len(result.path) == 2 and result.stopped == "stop"
    again = mini.locate(open_image(tmp_path / "street.jpg"), [row.ref, "the red car"])[0]
    # Rounding moves the window by some 1e-5 pixels, and that a gray level here and there.
    np.testing.assert_allclose(again.box_xyxy, result.box_xyxy, atol=0.05)


def test_it_knows_when_to_stop(mini):
    frame, window, box = [0, 0, 2048, 1152], [900, 500, 200, 200], [990, 590, 25, 25]
    progress, stop = mini.history.read(
        [np.array([frame]), np.array([frame, window]), np.array([frame, window, box])]
    )
    assert progress.tolist() == pytest.approx([0, 0.5, 1], abs=0.051)
    assert (stop[:2] < 0.1).all() and stop[2] > 0.95


def test_what_it_does_not_know_is_not_found(mini, tmp_path):
    """Without any option: `found` means something by default, and unknown words are named."""
    seed, size = examples.SCENES[1]
    examples.draw_scene(seed, size, tmp_path / "street.jpg")
    zorgle, german = mini.locate(tmp_path / "street.jpg", ["the zorgle", "das rote Auto"])
    assert not zorgle.found and zorgle.unknown_words == ["zorgle"]
    assert not german.found and "rote" in german.unknown_words
