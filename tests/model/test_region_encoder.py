"""What is cut out around proposals, and that the list has what is seen there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file

import piza
from piza.image import cut, decode_image
from piza.model.io import load_folder
from piza.model.nanodet import normalized
from piza.model.region_encoder import STATE, BoxTightener, RegionEncoder, moved
from piza.model.tensor_boxes import giou
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
        assert [part.shape for part in together] == [(3, STATE), (3, 4)]
        for part, alone in zip(together, encoder(crops[1:2], sizes[1:2]), strict=True):
            assert torch.allclose(part[1:2], alone, atol=1e-4)


@settings(max_examples=200, deadline=None)
@given(
    box=arrays(np.float32, 4, elements=st.floats(0.0625, 0.9375, width=32)),
    moves=arrays(np.float32, 4, elements=st.floats(-3, 3, width=32)),
)
def test_boxes_are_moved_by_shares_of_their_sides_and_stay_in_the_image(box, moves):
    box, moves = torch.from_numpy(box), torch.from_numpy(moves)
    low, high = (moved(box, moves)[:2] + side * moved(box, moves)[2:] / 2 for side in (-1, 1))
    assert (low > -1e-3).all() and (high < 1 + 1e-3).all() and (high > low).all()
    inner = torch.cat([box[:2] * 0.2 + 0.4, box[2:] * 0.1])  # far from the rim
    small = moves.clamp(-0.4, 0.4)
    there = moved(inner, small)
    assert torch.allclose((there[:2] - inner[:2]) / inner[2:], small[:2], atol=1e-3)
    assert torch.allclose((there[2:] / inner[2:]).log(), small[2:], atol=1e-3)
    assert torch.allclose(moved(inner, torch.zeros(4)), inner, atol=1e-6)


def test_the_sides_of_a_box_are_learned_from_crops():
    """Of a bright rectangle on gray ground, boxes that miss it are moved towards it."""
    torch.manual_seed(0)
    tighten, backbone = BoxTightener(), RegionEncoder().backbone
    load = {
        name.removeprefix("proposals.regions.backbone."): t
        for name, t in load_file(MINI / "model.safetensors").items()
    }
    backbone.load_state_dict({name: load[name].float() for name in backbone.state_dict()})
    rng = np.random.default_rng(0)

    def samples(count):
        crops, boxes, wanted = [], [], []
        for _ in range(count):
            image = np.full((100, 100, 3), 90, np.uint8)
            x, y, width, height = rng.integers((30, 30, 15, 15), (45, 45, 30, 30))
            image[y : y + height, x : x + width] = rng.integers(150, 250, 3)
            thing = np.array([x + width / 2, y + height / 2, width, height]) / 100
            box = thing + rng.normal(0, 0.15, 4) * thing[[2, 3, 2, 3]]
            crops.append(region_crops(image, box[None])[0][0])
            boxes.append(box)
            wanted.append(thing)
        return torch.from_numpy(np.stack(crops)), *(
            torch.tensor(np.array(part)).float() for part in (boxes, wanted)
        )

    def seen(crops):
        with torch.inference_mode():
            finest, finer, coarse = backbone.stages_of(normalized(crops.permute(0, 3, 1, 2).float()))
        return [part.clone() for part in (finest, finer, coarse.mean((2, 3)))]

    crops, boxes, wanted = samples(256)
    features, sizes = seen(crops), torch.zeros(256, 2)
    optimizer = torch.optim.Adam(tighten.parameters(), 3e-3)
    for _ in range(60):
        loss = (1 - giou(moved(boxes, tighten(*features, sizes)), wanted)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    crops, boxes, wanted = samples(64)
    better = moved(boxes, tighten(*seen(crops), torch.zeros(64, 2)))
    before, after = giou(boxes, wanted).mean(), giou(better, wanted).mean()
    assert after > before + 0.1, (before, after)


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
    assert torch.equal(regions, found.regions[0]) and torch.equal(found.boxes[:-1], plain.boxes[:-1])
    large = (found.boxes[-2, 0, :, 2:].amax(-1) * 256 * SURROUNDINGS >= SIDE).numpy()
    same = torch.isclose(regions, plain.regions[0], atol=1e-5).all(-1).numpy()
    assert 0 < large.sum() < len(large) and same[large].all() and not same[~large].any()
