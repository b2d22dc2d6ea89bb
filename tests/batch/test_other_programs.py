"""What is written is read by the programs that it is for, where they are installed."""

import json
import os

import numpy as np
import pytest
from tests.batch.fake_model import FakeModel, make_image

from piza.batch.sinks import write
from piza.search.locate_many import locate_many

SENTENCES = ["the red car", "the dog"]  # the fake model is sure of the first one only


@pytest.fixture
def found(tmp_path):
    make_image(tmp_path / "photos" / "1.png")
    make_image(tmp_path / "photos" / "2.png", (80, 40))
    return list(locate_many(FakeModel(), tmp_path / "photos", SENTENCES, min_score=0.5))


@pytest.fixture
def label_studio():
    return pytest.importorskip("label_studio_sdk.label_interface", reason="label-studio-sdk is not installed")


def test_supervision_takes_and_draws_results(found):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    results = [result for image in found for result in image.results]
    both = supervision.Detections.merge([result.to_supervision() for result in results])
    assert (
        both.xyxy.tolist() == [[16, 12, 32, 24], [20, 10, 40, 20]]
        and both.data["class_name"].tolist() == [SENTENCES[0]] * 2
    )
    scene = np.zeros((48, 80, 3), np.uint8)
    drawn = supervision.BoxAnnotator(thickness=1).annotate(scene.copy(), both)
    drawn = supervision.LabelAnnotator().annotate(drawn, both)
    assert drawn.shape == scene.shape and drawn[24, 16].any()


CONFIG = """<View><Image name="image" value="$image"/><Text name="sentence" value="$text"/>
<RectangleLabels name="label" toName="image"><Label value="target"/></RectangleLabels></View>"""


def test_label_studio_accepts_the_tasks(found, tmp_path, label_studio):
    """By the checks with which Label Studio refuses predictions on import."""
    write(found, tmp_path / "o.labelstudio.json")
    tasks = json.loads((tmp_path / "o.labelstudio.json").read_text())
    interface = label_studio.LabelInterface(CONFIG)
    assert len(tasks) == 4
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [1, 0, 1, 0]
    region = tasks[0]["predictions"][0]["result"][0]
    other = label_studio.LabelInterface(CONFIG.replace("target", "other"))
    assert other.validate_prediction(tasks[0]["predictions"][0], return_errors=True)  # the check can fail
    region["value"]["x"] = "a"
    assert interface.validate_prediction(tasks[0]["predictions"][0], return_errors=True)


def test_label_studios_converter_gives_the_boxes_back(found, tmp_path, label_studio):
    """A prediction that somebody accepted becomes an annotation; the converter writes it as COCO."""
    converter = pytest.importorskip("label_studio_sdk.converter")
    write(found, tmp_path / "o.labelstudio.json")
    tasks = json.loads((tmp_path / "o.labelstudio.json").read_text())
    accepted = [
        {
            "id": number,
            "data": task["data"],
            "annotations": [{"id": number, "result": task["predictions"][0]["result"]}],
        }
        for number, task in enumerate(tasks)
        if task["predictions"][0]["result"]
    ]
    (tmp_path / "accepted.json").write_text(json.dumps(accepted))
    made = converter.Converter(CONFIG, str(tmp_path), download_resources=False)
    made.convert_to_coco(str(tmp_path / "accepted.json"), str(tmp_path / "coco"), is_dir=False)
    coco = json.loads((tmp_path / "coco" / "result.json").read_text())
    assert [a["bbox"] for a in coco["annotations"]] == [[16, 12, 16, 12], [20, 10, 20, 10]]


def test_fiftyone_reads_coco_and_yolo(found, tmp_path):
    """By its importers alone, which need no database server."""
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    pytest.importorskip("fiftyone", reason="fiftyone is not installed")
    from fiftyone.utils.coco import COCODetectionDatasetImporter
    from fiftyone.utils.yolo import YOLOv5DatasetImporter

    write(found, tmp_path / "o.coco.json")
    importer = COCODetectionDatasetImporter(
        data_path=str(tmp_path / "photos"),
        labels_path=str(tmp_path / "o.coco.json"),
        label_types="detections",
    )
    importer.setup()
    read = {os.path.basename(path): labels for path, _, labels in importer}
    assert {name: [d.label for d in labels.detections] for name, labels in read.items()} == {
        "1.png": ["target"], "2.png": ["target"]
    }  # fmt: skip
    assert read["1.png"].detections[0].bounding_box == pytest.approx([0.25, 0.25, 0.25, 0.25])
    write(found, tmp_path / "yolo")
    (tmp_path / "photos").rename(tmp_path / "yolo" / "images")
    importer = YOLOv5DatasetImporter(str(tmp_path / "yolo"), yaml_path="data.yaml", split="train")
    importer.setup()
    read = {os.path.basename(path): labels for path, _, labels in importer}
    assert read["2.png"].detections[0].label == "the red car"
    assert read["2.png"].detections[0].bounding_box == pytest.approx([0.25, 0.25, 0.25, 0.25])
