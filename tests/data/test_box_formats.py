"""Boxes in another format are noticed by the sizes of their images and read as an option says."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from piza.cli.main import main
from piza.data.box_formats import BoxFormat, doubt_of, read_rows_with_boxes, read_values_with_boxes
from piza.errors import InputError, InputWarning

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


# boxes of another format that all lie inside of their images

INSIDE = np.array(
    [[100, 60, 20, 12], [40, 90, 10, 30], [200, 150, 30, 30], [90, 30, 24, 16], [260, 40, 12, 14.0]]
)


@pytest.mark.parametrize(
    ("scale", "name", "said"),
    [
        (None, "xyxy", "look like corners [x1, y1, x2, y2], but"),
        (100, "xywh", "look like percent of the image, left, top, width and height, but"),
        (100, "xyxy", "like percent of the image, corners [x1, y1, x2, y2]"),
    ],
)
def test_another_format_inside_of_the_images_is_doubted(scale, name, said, place):
    boxes = written(INSIDE, name, scale is not None) * (scale or 1)
    with pytest.warns(InputWarning) as seen:
        assert len(read_rows_with_boxes(write(place, boxes), place)) == len(boxes)
    text = str(seen[0].message)
    assert said in text and "all 5 boxes" in text and "row 1: " in text and "\n" not in text
    assert "--box-format xyxy" in text if name == "xyxy" else "divided by 100, --normalized" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whoever says what they are is believed
        read_rows_with_boxes(write(place, boxes), place, BoxFormat("xywh"))


def test_thousandths_are_known_where_images_are_larger(place):
    Image.new("L", (4000, 3000)).save(place / "large.png")
    boxes = np.array(
        [[310, 420, 12, 9], [800, 610, 7, 20], [90, 900, 15, 15], [500, 80, 9, 9], [660, 700, 5, 8]]
    )
    rows = [
        {"image": "large.png", "bbox": box.tolist(), "ref": "a sign", "id": n} for n, box in enumerate(boxes)
    ]
    (place / "large.json").write_text(json.dumps(rows))
    with pytest.warns(
        InputWarning, match=r"thousandths of the image, left, .*divided by 1000, --normalized reads"
    ):
        read_rows_with_boxes(place / "large.json", place)
    leaving = write(place, boxes.astype(float))  # of images of 640 x 480
    with pytest.raises(
        InputError, match=r"look like thousandths of the image, .*divided by 1000, --normalized"
    ):
        read_rows_with_boxes(leaving, place)


def test_corners_that_are_fractions_inside_of_the_images_are_doubted(place):
    with pytest.warns(InputWarning, match="--box-format xyxy --normalized reads"):
        read_rows_with_boxes(write(place, written(INSIDE, "xyxy", True)), place, BoxFormat(normalized=True))


def test_boxes_that_are_what_they_were_taken_for_are_not_doubted(boxes_xywh):
    """Small ones, large ones, few, and the same one many times, such as a thing in the corner of all frames of a film."""
    large = np.array([[40, 30, 500, 400], [100, 20, 420, 440], [200, 100, 300, 300], [0, 0, 640, 480.0]])
    corner = np.array([[10, 8, 60, 40.0]]) + np.arange(200)[:, None] % 3
    for boxes in (boxes_xywh, INSIDE, INSIDE[:1], large.repeat(25, 0), corner):
        rows = [{"image": "a.png", "bbox": box.tolist()} for box in boxes]
        assert doubt_of(rows, {"a.png": SIZE}, "rows.json", BoxFormat()) is None


def test_every_command_that_reads_rows_says_the_doubt(place, tmp_path, capsys):
    rows, images = str(write(place, written(INSIDE, "xyxy", False))), ["--images", str(place)]
    nothing = ["--model", str(tmp_path / "none")]
    page, out = str(tmp_path / "page.html"), str(tmp_path / "out.json")
    for command, code in {
        ("evaluate", rows, *images, *nothing): 2,  # for the model; the doubt comes first
        ("train", rows, *images, "--base", str(tmp_path / "none"), "--out", str(tmp_path / "out")): 2,
        ("data", "stats", rows, *images): 0,
        ("data", "view", rows, *images, "--out", page): 0,
        ("data", "convert", rows, *images, "--from", "sorec", "--to", "coco", "--out", out): 0,
        ("data", "audit", rows, *images, "--language-only"): 0,
    }.items():
        assert main(list(command)) == code, command
        lines = capsys.readouterr().err.splitlines()
        assert sum("look like corners" in line and "--box-format xyxy" in line for line in lines) == 1, (
            command
        )
        assert lines[0].startswith("piza: "), command
    main(["data", "check", rows, *images])
    assert "warning: boxes that look like another format (1)" in capsys.readouterr().out
    assert (
        main(["data", "convert", out, "--from", "coco", "--to", "sorec", "--out", str(tmp_path / "b.json")])
        == 0
    )
    said = capsys.readouterr().err
    assert "look like corners" in said and "--box-format" not in said  # COCO says how its boxes are written


def test_labels_in_coco_that_hold_corners_are_doubted(place):
    from piza.data.labels import read_labels

    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": box.tolist()}
        for n, box in enumerate(written(INSIDE, "xyxy", False))
    ]
    images = [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "sign"}]}
    (place / "labels.json").write_text(json.dumps(content))
    with pytest.warns(InputWarning, match="all 5 boxes look like corners"):
        read_labels(place / "labels.json", place)
