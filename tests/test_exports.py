import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tests.visualize.test_draw import made_up

from piza.errors import InputError


def test_coco():
    entry = made_up(box=(700.0, 400.0, 725.0, 420.0)).to_coco(image_id=7)
    assert entry == {
        "image_id": 7,
        "category_id": 1,
        "bbox": [700, 400, 25, 20],
        "area": 500,
        "iscrowd": 0,
        "score": 0.87,
        "caption": "the red car",
    }
    other = made_up().to_coco(7, category_id=3, annotation_id=12, caption=False)
    assert other["id"] == 12 and other["category_id"] == 3 and "caption" not in other


def test_label_studio_counts_in_percent_of_the_frame():
    task = made_up(size=(1600, 800), box=(400, 200, 800, 300)).to_label_studio("/data/local-files/?d=a.jpg")
    assert task["data"] == {"image": "/data/local-files/?d=a.jpg", "text": "the red car"}
    (prediction,) = task["predictions"]
    (region,) = prediction["result"]
    assert prediction["score"] == region["score"] == 0.87
    assert region["type"] == "rectanglelabels" and (region["from_name"], region["to_name"]) == (
        "label",
        "image",
    )
    assert (region["original_width"], region["original_height"]) == (1600, 800)
    assert region["value"] == {
        "x": 25, "y": 25, "width": 25, "height": 12.5, "rotation": 0, "rectanglelabels": ["target"]
    }  # fmt: skip
    named = made_up().to_label_studio("a.jpg", label="sign", from_name="box", to_name="photo")
    assert named["predictions"][0]["result"][0]["value"]["rectanglelabels"] == ["sign"]


def test_the_same_answer_gets_the_same_id_and_another_one_another():
    ids = [
        made_up(expression=text).to_label_studio("a.jpg")["predictions"][0]["result"][0]["id"]
        for text in ("a", "a", "b")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_exports_are_plain_json_and_stay_inside_the_frame():
    result = made_up(box=tuple(np.array([1590, -3, 1607, 9], np.float32)), score=np.float32(0.5))
    coco = json.loads(json.dumps(result.to_coco(1)))
    assert coco["bbox"] == [1590, 0, 10, 9] and coco["area"] == 90
    value = json.loads(json.dumps(result.to_label_studio("a.jpg")))["predictions"][0]["result"][0]["value"]
    assert value["y"] == 0 and value["x"] + value["width"] == pytest.approx(100)


def test_supervision(monkeypatch):
    fake = ModuleType("supervision")
    fake.Detections = SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", fake)
    found = made_up().to_supervision()
    assert found.xyxy.shape == (1, 4) and found.xyxy.tolist() == [[700, 400, 725, 420]]
    assert found.confidence.tolist() == pytest.approx([0.87]) and found.class_id.tolist() == [0]
    assert found.data["class_name"].tolist() == ["the red car"]


def test_nothing_found_is_no_detection(monkeypatch):
    fake = ModuleType("supervision")
    fake.Detections = SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", fake)
    lost = made_up(found=False)
    assert lost.to_coco(image_id=7, annotation_id=3) == {}
    task = lost.to_label_studio("a.jpg")
    assert task["data"] == {"image": "a.jpg", "text": "the red car"}
    (prediction,) = task["predictions"]
    assert prediction["result"] == [] and prediction["score"] == 0.87
    found = lost.to_supervision()
    assert found.xyxy.shape == (0, 4) and found.confidence.shape == found.class_id.shape == (0,)
    assert found.data["class_name"].shape == (0,)
    assert found.xyxy.dtype == made_up().to_supervision().xyxy.dtype


def test_without_supervision_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        made_up().to_supervision()
