"""Boxes in another format are noticed by the sizes of their images and read as an option says."""

import json

import numpy as np
import pytest
from PIL import Image

from piza.data.box_formats import BoxFormat, read_rows_with_boxes, read_values_with_boxes
from piza.errors import InputError

SIZE = (640, 480)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("boxes")
    for name in "ab":
        Image.new("RGB", SIZE).save(place / f"{name}.png")
    return place


@pytest.fixture(scope="module")
def boxes_xywh():
    """Small boxes all over the image, some near its right and lower edges."""
    rng = np.random.default_rng(0)
    sides = rng.integers(8, 40, (40, 2))
    corners = (rng.random((40, 2)) * (np.array(SIZE) - sides)).astype(int)
    corners[:3] = np.array(SIZE) - sides[:3]
    return np.hstack([corners, sides]).astype(float)


def written(boxes_xywh, name, normalized):
    x, y, w, h = boxes_xywh.T
    boxes = {
        "xywh": [x, y, w, h],
        "xyxy": [x, y, x + w, y + h],
        "cxcywh": [x + w / 2, y + h / 2, w, h],
    }[name]
    return np.stack(boxes, 1) / (np.tile(SIZE, 2) if normalized else 1)


def write(place, boxes):
    rows = [
        {"image": "ab"[n % 2] + ".png", "bbox": box.tolist(), "ref": "a sign", "id": n}
        for n, box in enumerate(boxes)
    ]
    (place / "rows.json").write_text(json.dumps(rows))
    return place / "rows.json"


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("name", ["xywh", "xyxy", "cxcywh"])
def test_another_format_is_named_and_its_option_reads_it(name, normalized, place, boxes_xywh):
    rows = write(place, written(boxes_xywh, name, normalized))
    if name != "xywh" or normalized:
        with pytest.raises(InputError) as refused:
            read_rows_with_boxes(rows, place)
        options = f"--box-format {name}" if name != "xywh" else ""
        options += " --normalized" if normalized else ""
        assert f"which {options.strip()} reads" in str(refused.value)
        assert "of 40 boxes" in str(refused.value) and "\n" not in str(refused.value)
    found = read_rows_with_boxes(rows, place, BoxFormat(name, normalized))
    xyxy = np.hstack([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]])
    np.testing.assert_allclose([row.box_xyxy for row in found], xyxy, atol=1e-9)


def test_how_many_and_the_first_row_are_named(place):
    boxes = np.array([[10, 10, 20, 20], [600, 10, 90, 20], [10, 10, 0.5, 20], [10, 470, 20, 90.0]])
    with pytest.raises(InputError, match=r"of 4 boxes 2 leave their image and 1 are under a pixel \(row 2: "):
        read_rows_with_boxes(write(place, boxes), place)


def test_a_hands_error_at_the_edge_is_fine_and_more_needs_to_be_said(place):
    near = np.array([[10, 10, 20, 20], [600, 10, 41.5, 20]] * 10)
    assert len(read_rows_with_boxes(write(place, near), place)) == 20
    far = np.vstack([near, [[600, 10, 80, 20]]])
    with pytest.raises(InputError, match="--box-format xywh to cut"):
        read_rows_with_boxes(write(place, far), place)
    assert len(read_rows_with_boxes(write(place, far), place, BoxFormat("xywh"))) == 21


def test_only_the_rows_that_are_used_are_looked_at(place):
    rows = write(place, np.array([[10, 10, 20, 20], [600, 10, 90, 20.0]]))
    assert len(read_rows_with_boxes(rows, place, limit=1)) == 1


def test_corners_in_the_wrong_order_are_refused(place):
    rows = write(place, np.array([[100, 10, 20, 20.0]]))
    with pytest.raises(InputError, match=r"row 1: 'bbox' should be corners"):
        read_rows_with_boxes(rows, place, BoxFormat("xyxy"))


def test_fractions_need_images(place):
    rows = write(place, np.array([[0.1, 0.1, 0.2, 0.2]]))
    with pytest.raises(InputError, match="--images"):
        read_values_with_boxes(rows, None, BoxFormat(normalized=True))


def test_whole_numbers_stay_whole(place):
    rows = [{"image": "a.png", "bbox": [10, 12, 30, 40], "ref": "a sign", "id": 1}]
    (place / "whole.json").write_text(json.dumps(rows))
    found = read_values_with_boxes(place / "whole.json", place, BoxFormat("xyxy"))
    assert found[0]["bbox"] == [10, 12, 20, 28] and all(isinstance(v, int) for v in found[0]["bbox"])


def test_faulty_rows_are_still_named(place):
    (place / "bad.json").write_text(json.dumps([{"image": "a.png", "bbox": [1, 2, 3], "ref": "x", "id": 1}]))
    for boxes in (BoxFormat(), BoxFormat("xyxy")):
        with pytest.raises(InputError, match="row 1"):
            read_rows_with_boxes(place / "bad.json", place, boxes)
