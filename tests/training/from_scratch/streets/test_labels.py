"""What is known of real photos, put together from labels and a teacher."""

import numpy as np

from piza.training.from_scratch.proposals.crops import UNKNOWN, LabeledFrame, Vocabulary, window
from piza.training.from_scratch.proposals.train import read_words
from piza.training.from_scratch.streets.labels import (
    StreetObject,
    StreetPhoto,
    add_colors,
    add_labels,
    add_teacher,
)


def photo(source: str = "dawn", complete: tuple[str, ...] = ("car", "van")) -> StreetPhoto:
    return StreetPhoto(f"{source}/a.jpg", 640, 480, [], [], list(complete))


def test_teacher_fills_in_what_a_source_does_not_label() -> None:
    known = photo()
    add_teacher(
        known,
        [[0, 0, 10, 30, 0.6, "traffic light"], [50, 50, 90, 80, 0.6, "car"], [9, 90, 20, 99, 0.1, "kite"]],
    )
    assert [o.may[0] for o in known.objects] == ["traffic light"]
    # The source labels all cars, so the teacher's is left open, and so is what it is not sure of.
    assert known.doubtful == [[50, 50, 90, 80], [9, 90, 20, 99]]


def test_teacher_adds_nothing_where_a_label_is() -> None:
    known = photo()
    add_labels(known, [{"label": "car", "xyxy": [10, 10, 50, 40], "extra": {}}], [])
    add_teacher(known, [[11, 10, 50, 41, 0.9, "truck"]])
    assert len(known.objects) == 1 and not known.doubtful


def test_unclear_label_takes_the_teachers_word() -> None:
    labels = [{"label": "sign or light", "xyxy": [0, 0, 10, 30], "extra": {}}]
    sure, unsure = photo("camvid"), photo("camvid")
    add_labels(sure, labels, [[0, 0, 11, 30, 0.3, "traffic light"]])
    add_labels(unsure, labels, [])
    assert sure.objects[0].sure and sure.objects[0].may[0] == "traffic light"
    assert not unsure.objects[0].sure and unsure.objects[0].may[0] == "sign"


def test_label_of_a_lit_lamp_becomes_the_light_around_it() -> None:
    known = photo("tl_china", ())
    label = {
        "label": "traffic light",
        "xyxy": [14, 12, 20, 18],
        "extra": {"state": "yellow", "shape": "left arrow"},
    }
    add_labels(
        known, [label, {**label, "xyxy": [300, 12, 306, 18]}], [[10, 10, 24, 40, 0.4, "traffic light"]]
    )
    assert [o.box for o in known.objects] == [[10, 10, 24, 40]]
    assert known.objects[0].words == ["state=amber", "arrow=left"]
    assert len(known.doubtful) == 1  # no light around the other


def test_colors_go_to_the_same_box_only() -> None:
    known = photo()
    add_labels(known, [{"label": "car", "xyxy": [10, 10, 50, 40], "extra": {}}], [])
    add_colors(known, [[10, 10, 50, 40, "color=red"], [200, 10, 250, 40, "color=blue"]])
    assert known.objects[0].words == ["color=red"] and known.objects[0].groups == ["color"]


def test_what_is_not_known_of_a_real_object_is_left_open() -> None:
    words = Vocabulary(read_words().words)
    car = StreetObject([0, 0, 1, 1], ["car", "van"], True, ["color=red"], ["color"], "car")
    category, attributes = words.of_real(car)
    value = {word: attributes[place] for word, place in words.place.items()}
    assert category[words.category["car"]] == 1 and category[words.category["van"]] == 0.5
    assert (value["category=car"], value["category=bus"], value["category=van"]) == (1, 0, UNKNOWN)
    assert (value["color=red"], value["color=blue"], value["view=rear"]) == (1, 0, UNKNOWN)
    assert value["category=vehicle"] == 1


def test_window_moves_boxes_and_leaves_open_what_is_cut() -> None:
    boxes = np.array([[20.0, 20, 40, 40], [90, 20, 130, 40]])
    told = LabeledFrame(
        np.zeros((100, 200, 3), np.uint8),
        boxes,
        np.ones((2, 3), np.float32),
        np.ones((2, 4), np.float32),
        np.zeros((0, 4)),
    )
    found = window(told, np.array([0.0, 0.0]), 2.0, (200, 100))
    assert found.image.shape == (100, 200, 3)
    assert found.boxes.tolist() == [[40, 40, 80, 80]]
    assert found.doubtful.tolist() == [[180, 40, 200, 80]]
