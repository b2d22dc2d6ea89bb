"""Sentences about labeled photos: true of one object only, even where look-alikes may be there unlabeled."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from piza.cli import main as cli
from piza.data.labels import LabeledBox, LabeledPhoto
from piza.data.scenes.meaning import Facts
from piza.data.sorec import read_rows
from piza.data.streets import MaybeBox, attribute_words, street_objects, street_sentences
from piza.data.streets.colors import clear_color

SIZE = (640, 480)


def photo(*boxes, **extra):
    return LabeledPhoto("a.jpg", *SIZE, tuple(LabeledBox(*box) for box in boxes), extra)


CAR, BUS, FAR_CAR = (100, 200, 160, 240), (300, 180, 380, 240), (500, 210, 540, 236)


def sentences(objects, seed=0, **options):
    return street_sentences(objects, SIZE, np.random.default_rng(seed), 4, **options)[0]


def test_every_sentence_is_true_of_its_object_alone():
    objects = street_objects(
        photo((CAR, "Car"), (BUS, "bus"), (FAR_CAR, "car"), ((20, 210, 34, 250), "pedestrian"))
    )
    facts = Facts(objects, SIZE, rough=True)
    found = [e for seed in range(5) for e in sentences(objects, seed)]
    assert len(found) > 30
    for e in found:
        assert facts.names_only(e.meaning, e.index), e.ref
        assert e.box_xyxy == objects[e.index].box_xyxy


def test_what_may_be_there_forbids_what_it_would_spoil():
    labeled = photo((CAR, "car"), (BUS, "bus"))
    lookalike = MaybeBox((420, 200, 470, 240), 0.3, "car")
    alone = {e.ref for seed in range(5) for e in sentences(street_objects(labeled), seed)}
    assert any("car" in ref.split()[-1] or "only" in ref for ref in alone)
    objects = street_objects(labeled, maybe=[lookalike])
    assert [o.certain for o in objects] == [True, True, False]
    for e in [e for seed in range(8) for e in sentences(objects, seed)]:
        assert e.index != 2
        # Whatever is said of the car must be false of the look-alike if that is a car.
        sure = street_objects(photo((CAR, "car"), (BUS, "bus"), ((420, 200, 470, 240), "car")))
        assert Facts(sure, SIZE, rough=True).all(e.meaning)[2] < 1, e.ref


def test_boxes_of_labeled_objects_are_no_look_alikes():
    near = MaybeBox((102, 202, 158, 238), 0.9, "truck")
    weak = MaybeBox((420, 200, 470, 240), 0.1, "car")
    assert len(street_objects(photo((CAR, "car")), maybe=[near, weak])) == 1


def test_trusted_boxes_become_objects():
    boxes = [
        MaybeBox(CAR, 0.8, "car"),
        MaybeBox((101, 200, 160, 241), 0.6, "truck"),
        MaybeBox(FAR_CAR, 0.3, "car"),
    ]
    found = street_objects(photo(), maybe=boxes, trusted=("car",))
    assert [(o.category, o.certain) for o in found] == [
        ("vehicle", False),
        ("car", False),
    ]  # car or truck: left open
    found = street_objects(photo(), maybe=boxes[:1], trusted=("car",))
    assert [(o.category, o.certain) for o in found] == [("car", True)]


def test_mirrored_photos_have_no_sides():
    objects = street_objects(photo((CAR, "car"), (BUS, "bus"), (FAR_CAR, "car")))
    found = [e.ref for seed in range(6) for e in sentences(objects, seed, sided=False)]
    assert found and not any("left" in ref or "right" in ref.replace("right by", "") for ref in found)


def test_overlapping_rows_are_not_counted():
    row = [((100 + 30 * i, 200, 150 + 30 * i, 240), "car") for i in range(4)]
    words = ("first", "second", "third", "fourth")
    crowded = [e.ref for seed in range(6) for e in sentences(street_objects(photo(*row)), seed)]
    assert not any(word in ref for ref in crowded for word in words)
    apart = [((60 + 130 * i, 200, 110 + 130 * i, 240), "car") for i in range(4)]
    spread = [e.ref for seed in range(6) for e in sentences(street_objects(photo(*apart)), seed)]
    assert any(word in ref for ref in spread for word in words)


def test_labels_without_sentences():
    assert sentences([]) == []
    whole = street_objects(photo(((10, 10, 630, 470), "car"), ((0, 200, 60, 240), "car")))
    assert sentences(whole) == []  # too large, cut off at the rim


def test_states_and_unknown_categories():
    light = ((200, 50, 216, 80), "traffic light", {"state": "yellow", "shape": "left arrow"})
    objects = street_objects(photo(light, (CAR, "Wheelbarrow")))
    assert "state=amber" in attribute_words(objects[0]) and "arrow=left" in attribute_words(objects[0])
    found = [e.ref.lower() for seed in range(4) for e in sentences(objects, seed)]
    assert any("yellow" in ref or "amber" in ref for ref in found) and any(
        "wheelbarrow" in ref for ref in found
    )


def painted(color, background=(120, 120, 120)):
    picture = np.full((SIZE[1], SIZE[0], 3), background, np.uint8)
    x1, y1, x2, y2 = CAR
    picture[y1:y2, x1:x2] = color
    picture[y2 - 8 : y2, x1:x2] = (15, 15, 15)  # tires
    return picture


@pytest.mark.parametrize(
    ("color", "name"),
    [((200, 20, 25), "red"), ((30, 60, 200), "blue"), ((250, 250, 250), "white"), ((8, 8, 8), "black")],
)
def test_clear_colors(color, name):
    assert clear_color(painted(color), CAR, "car")[0] == name


def test_doubtful_colors_are_none():
    assert clear_color(painted((120, 70, 60)), CAR, "car")[0] == ""  # brownish gray
    assert clear_color(painted((200, 20, 25), (190, 30, 30)), CAR, "car")[0] == ""  # red as all around
    assert clear_color(painted((200, 20, 25)), CAR, "bench")[0] == ""
    hazy = (painted((200, 20, 25)) * 0.3 + 170).astype(np.uint8)
    assert clear_color(hazy, CAR, "car")[0] == ""


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def labeled(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(painted((200, 20, 25))).save(tmp_path / "images" / "a.png")
    Image.new("RGB", SIZE).save(tmp_path / "images" / "b.png")
    lines = [
        {"image": "a.png", "width": 640, "height": 480, "boxes": [{"xyxy": CAR, "label": "car"}, {"xyxy": BUS, "label": "bus"}]},
        {"image": "b.png", "width": 640, "height": 480, "boxes": []},
    ]  # fmt: skip
    (tmp_path / "boxes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(folder, *options):
    return cli.main(
        ["data", "sentences", str(folder / "boxes.jsonl"), "--images", str(folder / "images"), "--out", str(folder / "rows.json"), *options]
    )  # fmt: skip


def test_sentences_command(labeled, capsys):
    assert run(labeled) == 0
    out, err = capsys.readouterr()
    assert "about 1 photos" in out and "left out 1 photos without labels" in err
    rows = read_rows(labeled / "rows.json")
    assert 2 <= len(rows) <= 4 and {row.image for row in rows} == {"a.png"}
    first = (labeled / "rows.json").read_bytes()
    assert run(labeled) == 0 and (labeled / "rows.json").read_bytes() == first
    assert run(labeled, "--seed", "1") == 0 and (labeled / "rows.json").read_bytes() != first


def test_no_side_is_said_of_mirrored_photos_in_folders_of_a_folder(labeled):
    (labeled / "images" / "sub").mkdir()
    (labeled / "images" / "a.png").rename(labeled / "images" / "sub" / "a.png")
    text = (labeled / "boxes.jsonl").read_text().replace('"a.png"', '"sub/a.png"')
    (labeled / "boxes.jsonl").write_text(text)

    def said(*options):
        assert run(labeled, "--per-object", "9", *options) == 0
        return " ".join(row.expression for row in read_rows(labeled / "rows.json"))

    sides = re.compile(r"\b(left|right)")
    assert sides.search(said()) and not sides.search(said("--mirrored"))


def test_boxes_of_a_detector_that_cannot_be_used(labeled, capsys):
    box = {"xyxy": [1, 1, 30, 30], "label": "car", "extra": {"score": "high"}}
    line = {"image": "a.png", "width": 640, "height": 480, "boxes": [box]}
    for change, words in (
        ({}, "score: expected 0 to 1, got 'high'"),
        ({"image": "other.png"}, "the labels do not name"),
    ):
        box["extra"]["score"] = "high" if not change else 0.5
        (labeled / "maybe.jsonl").write_text(json.dumps({**line, **change}) + "\n")
        Image.new("RGB", (640, 480)).save(labeled / "images" / "other.png")
        assert run(labeled, "--maybe", str(labeled / "maybe.jsonl")) == 2
        assert words in capsys.readouterr().err


def test_sentences_command_refuses(labeled, capsys):
    assert run(labeled, "--format", "coco") == 2
    assert "is a file of JSON lines, expected a COCO file" in capsys.readouterr().err
    Image.new("RGB", (50, 50)).save(labeled / "images" / "a.png")
    assert run(labeled) == 2
    assert "50 x 50 pixels" in capsys.readouterr().err
    assert not (labeled / "rows.json").exists()
    (labeled / "boxes.jsonl").write_text('{"image": "b.png", "width": 640, "height": 480, "boxes": []}\n')
    assert run(labeled) == 2
    assert "labeled box" in capsys.readouterr().err
