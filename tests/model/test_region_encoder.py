"""What is cut out around proposals, and that the list has what is seen there."""

from pathlib import Path

import numpy as np
import pytest
import torch

import piza
from piza.image import cut, decode_image
from piza.model.io import load_folder
from piza.model.region_encoder import STATE, RegionEncoder
from piza.search.region_crops import LEAST, SIDE, SURROUNDINGS, Detail, region_crops

MINI = Path(piza.__file__).parent / "weights/mini"


def ramp(height: int, width: int) -> np.ndarray:
    """Across and along, a gray level every pixel."""
    x, y = np.arange(width), np.arange(height)
    return np.stack(np.broadcast_arrays(x[None], y[:, None], 0), -1).astype(np.uint8)


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.2, 0.1), (0.4, 0.6, 0.02, 0.2), (0.4, 0.4, 0.01, 0.01)])
def test_a_crop_is_the_square_around_the_box(box):
    """Its corners lie where SURROUNDINGS of the longer side are, at least LEAST pixels."""
    crops, sizes = region_crops(ramp(200, 250), np.array([box]))
    width, height = box[2] * 250, box[3] * 200
    side = max(SURROUNDINGS * max(width, height), LEAST)
    half = side / 2 * (1 - 1 / SIDE)  # to the center of the last point
    for axis, center in ((0, box[0] * 250 - 0.5), (1, box[1] * 200 - 0.5)):
        assert int(crops[0, 0, 0, axis]) == pytest.approx(center - half, abs=1)
        assert int(crops[0, -1, -1, axis]) == pytest.approx(center + half, abs=1)
    assert sizes[0] == pytest.approx([np.log(width / height), np.log(max(width, height) / SIDE)], abs=1e-5)


@pytest.mark.parametrize("box", [(0.0, 0.5, 0.4, 0.4), (1.0, 1.0, 0.02, 0.02), (0.5, 0.5, 1.0, 1.0)])
def test_the_rim_goes_on_beyond_the_image(box):
    [crop], _ = region_crops(ramp(100, 100), np.array([box]))
    side = max(SURROUNDINGS * 100 * box[2], LEAST)
    for axis in (0, 1):
        along = crop[SIDE // 2, :, 0] if axis == 0 else crop[:, SIDE // 2, 1]
        at = (np.arange(SIDE) + 0.5) / SIDE * side + 100 * box[axis] - side / 2 - 0.5
        assert np.abs(along - np.clip(at, 0, 99)).max() < 2


def test_small_boxes_are_cut_out_of_the_detail_and_large_ones_out_of_the_image(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (400, 800, 3)).astype(np.uint8)
    window = (200.0, 100.0, 600.0, 300.0)
    image = cut(picture, window, (200, 100))
    boxes = np.array([[0.5, 0.5, 0.1, 0.1], [0.5, 0.5, 0.3, 0.3]])  # 20 and 60 pixels of the image
    crops, sizes = region_crops(image, boxes, Detail(picture, window))
    plain, _ = region_crops(image, boxes)
    assert np.array_equal(crops[1], plain[1]) and not np.array_equal(crops[0], plain[0])
    expected, _ = region_crops(picture, np.array([[0.5, 0.5, 0.05, 0.05]]))
    assert np.array_equal(crops[0], expected[0]) and sizes[0, 1] == pytest.approx(np.log(40 / SIDE), abs=1e-5)
    less = Detail(cut(picture, window, (100, 50)), (0, 0, 100, 50))  # has no more to show
    assert np.array_equal(region_crops(image, boxes, less)[0], plain)


def test_a_decoded_file_and_its_pixels_give_the_same_crops(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(1).integers(0, 256, (60, 90, 3)))
    decoded = decode_image(tmp_path / "a.png")
    pixels = np.asarray(decoded.array())
    small, boxes = cut(pixels, (0, 0, 90, 60), (45, 30)), np.array([[0.2, 0.3, 0.2, 0.2]])
    one, other = (region_crops(small, boxes, Detail(of, (0, 0, 90, 60)))[0] for of in (decoded, pixels))
    assert np.abs(one.astype(int) - other).max() <= 1


def test_each_crop_is_seen_by_itself():
    torch.manual_seed(0)
    encoder = RegionEncoder().eval()
    crops, sizes = torch.randn(3, 3, SIDE, SIDE), torch.randn(3, 2)
    with torch.inference_mode():
        together = encoder(crops, sizes)
        assert together.shape == (3, STATE)
        assert torch.allclose(together[1:2], encoder(crops[1:2], sizes[1:2]), atol=1e-4)


def test_the_list_tells_what_is_seen_of_each_object_in_the_detail():
    """What the image has lost is seen where the detail has it, and only there."""
    model = load_folder(MINI)
    model.proposals.half_precision = False
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    image = cut(picture, (0, 0, 512, 512), (256, 256))
    with torch.inference_mode():
        plain = model.encode_frame(image)
        found = model.encode_frame(image, Detail(picture, (0, 0, 512, 512)))
    regions = found.features[0, :, -STATE - 1 : -1]
    assert torch.equal(regions, found.regions[0]) and torch.equal(found.boxes, plain.boxes)
    large = (found.boxes[-1, 0, :, 2:].amax(-1) * 256 * SURROUNDINGS >= SIDE).numpy()
    same = torch.isclose(regions, plain.regions[0], atol=1e-5).all(-1).numpy()
    assert 0 < large.sum() < len(large) and same[large].all() and not same[~large].any()
