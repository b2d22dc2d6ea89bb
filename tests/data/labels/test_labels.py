"""Label files are read into the same boxes whatever their format, and refused in one sentence when they are not sound."""

import json

import pytest
from PIL import Image

from piza.data.labels import LabeledPhoto, guess_format, read_labels, yolo
from piza.data.labels.base import bounded_text
from piza.errors import InputError

SIZE = (200, 100)
CAR = (20.0, 30.0, 60.0, 50.0)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", SIZE).save(folder / name)
    return folder


def coco(changes=None, **annotation):
    content = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100},
            {"id": 2, "file_name": "b.jpg", "width": 200, "height": 100},
        ],
        "categories": [{"id": 7, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 30, 40, 20], **annotation}],
    }
    return {**content, **(changes or {})}


def voc(name="a", box="<xmin>21</xmin><ymin>31</ymin><xmax>60</xmax><ymax>50</ymax>", head=""):
    return (
        f"<?xml version='1.0'?>{head}<annotation><filename>{name}.jpg</filename>"
        "<size><width>200</width><height>100</height><depth>3</depth></size>"
        f"<object><name>car</name><bndbox>{box}</bndbox></object></annotation>"
    )


KITTI = "Car 0.00 1 -1.57 20 30 60 50 1.5 1.6 3.7 1.0 1.7 20.5 -1.6\n"
YOLO = "0 0.2 0.4 0.2 0.2\n"


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))


def refused(path, images, *parts, label_format=None):
    with pytest.raises(InputError) as caught:
        read_labels(path, images, label_format)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("path", "files", "kind"),
    [
        ("c.json", {"c.json": coco()}, "coco"),
        ("voc", {"voc/a.xml": voc()}, "voc"),
        ("yolo", {"yolo/a.txt": YOLO, "yolo/classes.txt": "car\nbus\n"}, "yolo"),
        ("labels", {"labels/a.txt": YOLO, "data.yaml": "names: [car, bus]\n"}, "yolo"),
        ("data.yaml", {"labels/a.txt": YOLO, "data.yaml": "names:\n  0: car\n"}, "yolo"),
        ("kitti", {"kitti/a.txt": KITTI}, "kitti"),
        (
            "l.jsonl",
            {
                "l.jsonl": {
                    "image": "a.jpg",
                    "width": 200,
                    "height": 100,
                    "boxes": [{"xyxy": CAR, "label": "car"}],
                }
            },
            "jsonl",
        ),
    ],
)
def test_all_formats_say_the_same(tmp_path, images, path, files, kind):
    write(tmp_path, files)
    assert guess_format(tmp_path / path) == kind
    first = next(photo for photo in read_labels(tmp_path / path, images) if photo.image == "a.jpg")
    assert isinstance(first, LabeledPhoto)
    assert (first.width, first.height) == SIZE
    assert [(box.category, box.xyxy) for box in first.boxes] == [("car", pytest.approx(CAR))]


def test_photos_without_labels_are_kept(tmp_path, images):
    write(tmp_path, {"c.json": coco(), "yolo/a.txt": YOLO, "yolo/classes.txt": "car"})
    for path in ("c.json", "yolo"):
        assert [len(photo.boxes) for photo in read_labels(tmp_path / path, images)] == [1, 0]


def test_boxes_are_cut_at_the_rim_but_not_far_outside(tmp_path, images):
    write(tmp_path, {"c.json": coco(bbox=[-1, 30, 40, 71])})
    assert read_labels(tmp_path / "c.json", images)[0].boxes[0].xyxy == (0, 30, 39, 100)
    write(tmp_path, {"c.json": coco(bbox=[20, 30, 400, 20])})
    refused(tmp_path / "c.json", images, "c.json", "annotation 1", "reaches out of its photo of 200 x 100")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ([1], ("no COCO file", "a list")),
        ({"images": []}, ("'categories'",)),
        ({"images": [], "categories": [None], "annotations": []}, ("category 1", "an object", "null")),
        (coco(category_id=8), ("annotation 1", "category_id", "8")),
        (coco(image_id=[1]), ("annotation 1", "image_id")),
        (coco(bbox=[1, 2, 3]), ("annotation 1", "bbox", "[x, y, width, height]")),
        (coco(bbox=[20, 30, 0, 20]), ("annotation 1", "no area")),
        (coco(bbox=[20, 30, True, 20]), ("annotation 1", "number")),
        (
            coco({"images": [{"id": 1, "file_name": "../a.jpg", "width": 2, "height": 2}]}),
            ("image 1", "file_name"),
        ),
        (coco({"images": []}), ("image_id",)),
        ("{", ("not valid JSON", "line 1")),
        ('{"images": [' * 3000, ("JSON",)),
    ],
)
def test_bad_coco(tmp_path, images, content, parts):
    write(tmp_path, {"c.json": content})
    refused(tmp_path / "c.json", images, "c.json", *parts)


def test_numbers_that_are_none(tmp_path, images):
    text = json.dumps(coco(bbox=[20, 30, float("nan"), 20]))
    assert "NaN" in text
    write(tmp_path, {"c.json": text})
    refused(tmp_path / "c.json", images, "annotation 1", "finite")
    write(tmp_path, {"k/a.txt": KITTI.replace(" 60 ", " inf ")})
    refused(tmp_path / "k", images, "a.txt", "line 1", "finite")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("5 0.2 0.4 0.2 0.2", ("a.txt", "line 2", "class 5")),
        ("0 0.2 0.4 0.2", ("line 2", "expected 'class")),
        ("car 0.2 0.4 0.2 0.2", ("line 2", "number of a class")),
        ("0 20 40 30 20", ("line 2", "shares")),
        ("0 0.99 0.4 0.2 0.2", ("line 2", "reaches out")),
        ("0 0.2 nan 0.2 0.2", ("line 2", "finite")),
    ],
)
def test_bad_yolo(tmp_path, images, line, parts):
    write(tmp_path, {"y/a.txt": YOLO + line, "y/classes.txt": "car"})
    refused(tmp_path / "y", images, *parts)


def test_yolo_needs_names_and_photos(tmp_path, images):
    write(tmp_path, {"y/z/w/a.txt": YOLO})
    refused(tmp_path / "y/z/w", images, "class names")
    write(tmp_path, {"y/z/w/lost.txt": YOLO, "y/z/w/classes.txt": "car"})
    refused(tmp_path / "y/z/w", images, "lost.txt", "no photo")
    write(tmp_path, {"data.yaml": "names: {car: 0}", "labels/a.txt": YOLO})
    refused(tmp_path / "data.yaml", images, "data.yaml", "names")
    write(tmp_path, {"data.yaml": "names: [&a [*a"})
    refused(tmp_path / "data.yaml", images, "data.yaml", "YAML")


def test_a_blank_line_among_classes_keeps_the_numbers_of_those_behind(tmp_path):
    (tmp_path / "classes.txt").write_text("car\n\nbus\n")
    assert yolo._names(tmp_path / "classes.txt") == {0: "car", 2: "bus"}


def test_yolo_outlines_become_boxes(tmp_path, images):
    write(tmp_path, {"y/a.txt": "0 0.1 0.3 0.3 0.3 0.2 0.5", "y/classes.txt": "car"})
    assert read_labels(tmp_path / "y", images)[0].boxes[0].xyxy == pytest.approx(CAR)


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{"&" + a + ";"}{"&" + a + ";"}">' for a, b in zip("abcdefgh", "bcdefghi"))
    + "]>"
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (voc(head=BOMB), ("entities",)),
        (voc(head='<!DOCTYPE a SYSTEM "file:///etc/passwd">'), ("entities",)),
        (voc()[:-5], ("not valid XML",)),
        ("<html></html>", ("expected <annotation>", "<html>")),
        (voc(box="<xmin>21</xmin>"), ("object 1", "ymin", "missing")),
        (
            voc(box="<xmin>21</xmin><ymin>31</ymin><xmax>600</xmax><ymax>50</ymax>"),
            ("object 1", "reaches out"),
        ),
        (
            voc(box="<xmin>x</xmin><ymin>31</ymin><xmax>60</xmax><ymax>50</ymax>"),
            ("object 1", "xmin", "number"),
        ),
        (voc().replace("<width>200</width>", ""), ("'width'", "missing")),
        (voc().replace("a.jpg", "../../a.jpg"), ("filename", "leads out")),
    ],
)
def test_bad_voc(tmp_path, images, text, parts):
    write(tmp_path, {"v/a.xml": text})
    refused(tmp_path / "v", images, "a.xml", *parts)


def test_voc_of_a_renamed_photo(tmp_path, images):
    write(tmp_path, {"v/a.xml": voc(name="old")})
    assert read_labels(tmp_path / "v", images)[0].image == "a.jpg"


def test_files_that_are_too_large_are_not_read(tmp_path):
    write(tmp_path, {"a.xml": voc()})
    with pytest.raises(InputError, match=r"a\.xml.*a VOC file of at most 10"):
        bounded_text(tmp_path / "a.xml", "a VOC file", 10)


def test_kitti(tmp_path, images):
    write(tmp_path, {"k/a.txt": KITTI + "DontCare -1 -1 -10 100 30 160 50 -1 -1 -1 -1000 -1000 -1000 -10\n"})
    boxes = read_labels(tmp_path / "k", images)[0].boxes
    assert [box.category for box in boxes] == ["car", "dontcare"]
    assert boxes[0].extra == {"truncated": 0, "occluded": 1, "distance": 20.5}
    write(tmp_path, {"k/a.txt": "Car 0 0 0 20 30 60 50\n"})
    refused(tmp_path / "k", images, "a.txt", "line 1", "15 fields")
    write(tmp_path, {"k2/lost.txt": KITTI})
    refused(tmp_path / "k2", images, "lost.txt", "no photo")


def test_other_files(tmp_path, images):
    write(tmp_path, {"x.csv": "a,b", "empty/readme.md": "hello"})
    refused(tmp_path / "x.csv", images, "x.csv", "expected")
    refused(tmp_path / "empty", images, "empty", "no folder of labels")
    refused(tmp_path / "none", images, "does not exist")
    refused(tmp_path / "x.csv", tmp_path / "nowhere", "nowhere")
    (tmp_path / "p.jsonl").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path / "p.jsonl", images, "UTF-8")
    (tmp_path / "q.jsonl").write_text('{"image": "a.jpg"}\n')
    refused(tmp_path / "q.jsonl", images, "line 1", "width")
    (tmp_path / "e.jsonl").write_text("")
    refused(tmp_path / "e.jsonl", images, "no photo")


def test_two_entries_about_one_photo(tmp_path, images):
    entries = [{"id": number, "file_name": "a.jpg", "width": 200, "height": 100} for number in (1, 2)]
    line = '{"image": "%s", "width": 200, "height": 100, "boxes": []}\n'
    write(tmp_path, {
        "c.json": coco({"images": entries}), "l.jsonl": line % "a.jpg" + line % "./a.jpg",
        "v/a.xml": voc(), "v/c.xml": voc(),
    })  # fmt: skip
    for name in ("c.json", "l.jsonl", "v"):
        refused(tmp_path / name, images, name, "two entries about one photo", "a.jpg")


def test_numbers_and_names_of_classes_that_are_no_such(tmp_path, images):
    names = "a: &a [x, x]\nnames: [" + ", ".join(["*a"] * 9) + "]\n"
    write(
        tmp_path,
        {
            "y/a.txt": f"{'9' * 5000} 0.2 0.4 0.2 0.2\n",
            "y/classes.txt": "car\n",
            "d/data.yaml": names,
            "d/labels/a.txt": YOLO,
        },
    )
    refused(tmp_path / "y", images, "a.txt", "line 1", "number of a class")
    refused(tmp_path / "d" / "data.yaml", images, "data.yaml", "alias")
