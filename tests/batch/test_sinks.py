"""Answers about many images in the formats of other programs."""

import csv
import json

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.batch.fake_model import FakeModel, make_image

import piza
from piza.batch.sinks import Written, is_results_path, write
from piza.errors import InputError
from piza.search.locate_many import ImageResults, locate_many

SENTENCES = ["the red zorgle", "the dog"]


@pytest.fixture
def photos(tmp_path):
    """Three images, one of them in a folder, and one file that is none."""
    folder = tmp_path / "photos"
    make_image(folder / "1.png", color=(200, 0, 0))
    make_image(folder / "2.png", size=(80, 40))
    make_image(folder / "more" / "1.png")
    (folder / "3.png").write_bytes(b"no image")
    return folder


def answers(photos, **options):
    return locate_many(FakeModel(), photos, SENTENCES, recursive=True, **options)


def test_json_lines(photos, tmp_path):
    path = tmp_path / "out.jsonl"
    written = piza.write(answers(photos, min_score=0.5), path)
    assert written == Written(images=3, answers=6, failed=1, failure=written.failure)
    assert "3.png" in written.failure
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["image"], line["sentence"]) for line in lines[:4]] == [
        (str(photos / "1.png"), SENTENCES[0]), (str(photos / "1.png"), SENTENCES[1]),
        (str(photos / "2.png"), SENTENCES[0]), (str(photos / "2.png"), SENTENCES[1]),
    ]  # fmt: skip
    assert lines[0] == {
        "image": str(photos / "1.png"), "sentence": "the red zorgle", "box_xyxy": [16, 12, 32, 24], "score": 0.75,
        "found": True, "num_looks": 2, "stopped": "stop", "unknown_words": ["zorgle"], "error": None,
        "frame": None, "timecode": None,
    }  # fmt: skip
    assert lines[1]["found"] is False and lines[1]["score"] == 0.375
    assert lines[4]["image"].endswith("3.png") and "is not an image" in lines[4]["error"]
    assert lines[4].keys() == lines[0].keys() and lines[4]["box_xyxy"] is None
    assert len(lines) == 7


def test_csv(photos, tmp_path):
    write(answers(photos), tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert len(rows) == 7 and [float(rows[2][name]) for name in ("x1", "y1", "x2", "y2")] == [20, 10, 40, 20]
    assert (
        rows[0]["unknown_words"] == "zorgle"
        and rows[4]["sentence"] == rows[4]["x1"] == ""
        and rows[4]["error"]
    )


def test_parquet_in_groups(photos, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("piza.batch.sinks.GROUP_ROWS", 2)
    write(answers(photos), tmp_path / "out.parquet")
    write(answers(photos), tmp_path / "out.jsonl")
    read = parquet.ParquetFile(tmp_path / "out.parquet")
    assert read.num_row_groups > 1
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert read.read().to_pylist() == lines


def test_coco(photos, tmp_path):
    write(answers(photos, min_score=0.5), tmp_path / "out.coco.json")
    content = json.loads((tmp_path / "out.coco.json").read_text())
    assert [(i["id"], i["file_name"], i["width"], i["height"]) for i in content["images"]] == [
        (1, "1.png", 64, 48), (2, "2.png", 80, 40), (3, "more/1.png", 64, 48)
    ]  # fmt: skip
    assert [(a["id"], a["image_id"], a["caption"]) for a in content["annotations"]] == [
        (n, n, "the red zorgle") for n in (1, 2, 3)
    ]
    assert content["annotations"][1]["bbox"] == [20, 10, 20, 10]
    assert {a["category_id"] for a in content["annotations"]} <= {c["id"] for c in content["categories"]}
    (failed,) = content["info"]["failed"]
    assert failed["file_name"] == str(photos / "3.png")
    write(locate_many(FakeModel(), [photos, photos / "more"], "the dog"), tmp_path / "two.coco.json")
    content = json.loads((tmp_path / "two.coco.json").read_text())
    assert [i["file_name"] for i in content["images"]] == ["1.png", "2.png", str(photos / "more/1.png")]


def test_label_studio(photos, tmp_path):
    write(answers(photos), tmp_path / "out.labelstudio.json")
    tasks = json.loads((tmp_path / "out.labelstudio.json").read_text())
    assert len(tasks) == 6 and tasks[0]["data"] == {"image": str(photos / "1.png"), "text": "the red zorgle"}
    assert tasks[0]["predictions"][0]["result"][0]["value"]["x"] == 25
    write(iter(()), tmp_path / "none.labelstudio.json")
    assert json.loads((tmp_path / "none.labelstudio.json").read_text()) == []


def test_yolo(photos, tmp_path):
    folder = tmp_path / "yolo"
    write(answers(photos, min_score=0.5), folder)
    assert files(folder) == ["classes.txt", "data.yaml", "labels/1.txt", "labels/2.txt", "labels/more/1.txt"]
    assert (folder / "classes.txt").read_text().splitlines() == SENTENCES
    assert yaml.safe_load((folder / "data.yaml").read_text()) == {
        "train": "images", "val": "images", "nc": 2, "names": SENTENCES
    }  # fmt: skip
    assert (folder / "labels/1.txt").read_text() == "0 0.375000 0.375000 0.250000 0.250000\n"
    write(answers(photos, min_score=0.9), tmp_path / "sure.yolo")
    assert (tmp_path / "sure.yolo/labels/1.txt").read_text() == ""


def test_drawings_and_crops(photos, tmp_path):
    write(answers(photos), tmp_path / "drawings")
    assert files(tmp_path / "drawings") == [
        "1-1.png", "1-2.png", "2-1.png", "2-2.png", "more/1-1.png", "more/1-2.png"
    ]  # fmt: skip
    write(answers(photos, min_score=0.5), tmp_path / "my.crops")
    assert files(tmp_path / "my.crops") == ["1-1.png", "2-1.png", "more/1-1.png"]
    with Image.open(tmp_path / "my.crops" / "1-1.png") as crop:  # 16 x 12 at 16, 12, three times as large
        assert crop.size == (49, 37) and set(map(tuple, np.asarray(crop).reshape(-1, 3))) == {(200, 0, 0)}


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_never_mixed_up_and_stay_in_their_folder(tmp_path):
    (tmp_path / "out").mkdir()
    places = ["a/b.jpg", "a/b.png", "a/B.PNG", "../../c.jpg", "..", "a:b\n?.jpg", ".e"]
    alone = ["https://x/y/d.jpg", "x/f.jpg"]
    found = [*(ImageResults(place, inside=place) for place in places), *map(ImageResults, alone)]
    write(found, tmp_path / "out" / "yolo")
    assert files(tmp_path / "out" / "yolo" / "labels") == sorted(
        [
            "a/b.txt",
            "a/b.png.txt",
            "a/B.PNG-2.txt",
            "c.txt",
            "image.txt",
            "f.txt",
            "a_b__.txt",
            "d.txt",
            ".e.txt",
        ]
    )


@pytest.mark.parametrize(
    "name", ["out.json", "out", "out.txt", "gone/out.jsonl", "full.yolo", "file.crops", "dir.csv"]
)
def test_a_place_that_cannot_be_written_to(photos, tmp_path, name):
    (tmp_path / "full.yolo").mkdir()
    (tmp_path / "full.yolo" / "a.txt").touch()
    (tmp_path / "file.crops").touch()
    (tmp_path / "dir.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    taken = []
    with pytest.raises(InputError) as caught:
        write((taken.append(f) or f for f in answers(photos)), tmp_path / name)
    assert "\n" not in str(caught.value) and not taken and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    ["o.jsonl", "o.csv", "o.parquet", "o.coco.json", "o.labelstudio.json", "yolo", "crops", "drawings"],
)
def test_half_a_file_is_never_left(photos, tmp_path, name):
    def interrupted():
        if "." not in name:  # of a folder, files that are whole stay
            raise KeyboardInterrupt
        yield next(answers(photos))
        raise KeyboardInterrupt

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        write(interrupted(), tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_sentences_and_names_in_any_script(tmp_path):
    make_image(tmp_path / "photos" / "漢字 é.png")
    odd = ImageResults("caf\udce9.jpg", error="gone")  # a name of a file that is no text
    sentence = 'the "red", car\nand 👩'
    for name in ("o.jsonl", "o.csv", "o.parquet", "o.coco.json", "o.labelstudio.json", "yolo"):
        write([*locate_many(FakeModel(), tmp_path / "photos", sentence), odd], tmp_path / name)
    record = json.loads((tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert record["sentence"] == sentence and record["image"].endswith("漢字 é.png")
    (row, _) = csv.DictReader((tmp_path / "o.csv").open(newline="", encoding="utf-8"))
    assert row["sentence"] == sentence
    names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert names == ['the "red", car and 👩']
    assert (tmp_path / "yolo" / "classes.txt").read_text(encoding="utf-8") == 'the "red", car and 👩\n'


@pytest.mark.parametrize("given", [None, 5, [5], ["the dog"]])
def test_what_is_no_answer_is_refused(given, tmp_path):
    with pytest.raises(InputError, match="expected the answers of locate_many"):
        write(given, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, b"out.jsonl"])
def test_what_is_no_name_is_refused(path):
    with pytest.raises(InputError, match="expected the name of a file or folder"):
        write([], path)


def test_names_of_results():
    assert all(
        is_results_path(name) for name in ("a.JSONL", "x/a.coco.json", "yolo", "monday.yolo/", "crops/")
    )
    assert not any(is_results_path(name) for name in ("a.json", "a.png", "myyolo", "drawing", "a"))


def test_supervision_reads_what_was_written(photos, tmp_path):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    (photos / "3.png").unlink()
    found = list(locate_many(FakeModel(), photos, SENTENCES, min_score=0.5))
    write(found, tmp_path / "yolo")
    write(found, tmp_path / "o.coco.json")
    places = {
        "annotations_directory_path": str(tmp_path / "yolo/labels"),
        "data_yaml_path": str(tmp_path / "yolo/data.yaml"),
    }
    yolo = supervision.DetectionDataset.from_yolo(str(photos), **places)
    coco = supervision.DetectionDataset.from_coco(str(photos), str(tmp_path / "o.coco.json"))
    assert yolo.classes == SENTENCES and coco.classes == ["target"]
    for read in (yolo, coco):
        boxes = {path[-5:]: found.xyxy.tolist() for path, _, found in read}
        assert boxes == {"1.png": [[16, 12, 32, 24]], "2.png": [[20, 10, 40, 20]]}


def test_pycocotools_reads_what_was_written(photos, tmp_path):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    write(answers(photos), tmp_path / "o.coco.json")
    read = coco.COCO(str(tmp_path / "o.coco.json"))
    assert read.getImgIds() == [1, 2, 3] and len(read.getAnnIds(imgIds=[2])) == 2
    assert read.loadAnns(read.getAnnIds(imgIds=[2]))[0]["bbox"] == [20, 10, 20, 10]


@pytest.mark.parametrize("name", ["out.yolo", "drawings", "crops"])
def test_a_folder_that_was_interrupted_is_begun_anew(photos, tmp_path, name):
    def until_the_second(sentences):
        for number, found in enumerate(locate_many(FakeModel(), photos, sentences)):
            if number == 2:
                raise KeyboardInterrupt
            yield found

    out = tmp_path / name
    with pytest.raises(KeyboardInterrupt):
        write(until_the_second(["the cat", "the dog", "the man"]), out)
    left = set(files(out))
    assert left and len(left) > 1  # what was finished is there
    write(answers(photos), out)
    write(answers(photos), tmp_path / f"fresh.{name.rpartition('.')[2]}")
    assert files(out) == files(tmp_path / f"fresh.{name.rpartition('.')[2]}")  # and nothing of the first run
    with pytest.raises(InputError, match="new or an empty folder"):
        write(answers(photos), out)


def test_files_of_others_in_an_unfinished_folder_are_kept(photos, tmp_path):
    out = tmp_path / "drawings"
    out.mkdir()
    (out / ".piza-unfinished").write_text('"../photos/1.png"\n"a.png"\n')
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="new or an empty folder"):
        write(answers(photos), out)
    (out / "notes.txt").unlink()
    write(answers(photos), out)
    assert (photos / "1.png").is_file()
