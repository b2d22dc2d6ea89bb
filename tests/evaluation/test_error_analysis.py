"""Every miss is of one class; the classes are told from a file as well; the page shows what it says."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from piza.boxes import iou_xyxy
from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation.error_analysis import CLASSES, classify, error_analysis
from piza.evaluation.outcome import Outcome, predictions_file, read_predictions
from piza.evaluation.report.page import misses_page, write_page
from piza.evaluation.report.text import error_text

FRAME = (0.0, 0.0, 800.0, 600.0)
TARGET = (400.0, 300.0, 420.0, 320.0)
AROUND, AWAY = (330.0, 230.0, 490.0, 390.0), (0.0, 0.0, 160.0, 160.0)
CLOSER = (370.0, 270.0, 450.0, 350.0)
THING = (380.0, 300.0, 390.0, 310.0)  # another one, near the target


def outcome(
    box, windows, boxes=None, index=0, image="a.png", text="the red car", target=TARGET, stopped="stop"
):
    boxes = [*windows[1:], box] if boxes is None else boxes
    iou = float(iou_xyxy(box, target))
    row = Row(image, target, text, index)
    return Outcome(index, row, box, 0.5, iou, windows, boxes, (800, 600), len(windows), stopped, 1.5)


CASES = {
    "right": outcome(TARGET, [FRAME, AROUND]),
    "late": outcome((402.0, 302.0, 408.0, 308.0), [FRAME, AROUND], [TARGET, (402.0, 302.0, 408.0, 308.0)]),
    "late, and lost": outcome(AWAY, [FRAME, AROUND, AWAY], [AROUND, TARGET, AWAY]),
    "first_window": outcome((50.0, 50.0, 70.0, 70.0), [FRAME, AWAY]),
    "first_window, of three": outcome((50.0, 50.0, 70.0, 70.0), [FRAME, AWAY, (40.0, 40.0, 80.0, 80.0)]),
    "first_window, a tile": outcome((50.0, 50.0, 70.0, 70.0), [AWAY]),
    "later_window": outcome((50.0, 50.0, 70.0, 70.0), [FRAME, AROUND, (330.0, 230.0, 400.0, 300.0)]),
    "first_window, not looked at": outcome(AWAY, [FRAME], stopped="budget"),
    "later_window, not looked at": outcome(THING, [FRAME, AROUND], stopped="budget"),
    "early, not looked at": outcome(AROUND, [FRAME], stopped="budget"),
    "early": outcome(AROUND, [FRAME]),
    "early, after two": outcome(CLOSER, [FRAME, AROUND]),
    "loose": outcome((395.0, 295.0, 430.0, 330.0), [FRAME, AROUND]),
    "wrong": outcome(THING, [FRAME, AROUND]),
    "wrong, in one look": outcome(THING, [FRAME]),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    assert (classify(CASES[case]) or "right") == case.partition(",")[0]


corner = st.tuples(st.floats(0, 799), st.floats(0, 599), st.floats(0.1, 600), st.floats(0.1, 600))
boxes = corner.map(lambda c: (c[0], c[1], min(c[0] + c[2], 800.0), min(c[1] + c[3], 600.0)))


@settings(max_examples=40)
@given(st.lists(st.tuples(boxes, boxes, st.lists(st.tuples(boxes, boxes), max_size=4)), max_size=8))
def test_every_miss_is_of_exactly_one_class(searches):
    outcomes = []
    for number, (target, box, looks) in enumerate(searches):
        windows = [FRAME, *(window for window, _ in looks)]
        best = [*(seen for _, seen in looks), box]
        outcomes.append(outcome(box, windows, best, number, target=target))
    found = error_analysis(outcomes)
    assert found.misses == sum(o.iou < 0.5 - 1e-9 for o in outcomes) == sum(found.classes.values())
    assert list(found.classes) == list(CLASSES)
    assert sum(part.rows for part in found.by_size) == len(outcomes)
    assert sum(part.rows for part in found.by_length) == len(outcomes)
    json.dumps(found.to_dict())


def test_a_window_that_lost_the_target_cannot_answer_right():
    """Why half of the area is where a window begins to hold: the best answer inside it has just that IoU."""
    inside = (400.0, 300.0, 409.9, 320.0)
    assert iou_xyxy(inside, TARGET) < 0.5
    assert classify(outcome(inside, [FRAME, (300.0, 200.0, 409.9, 330.0)])) == "first_window"


def test_bins_of_size_and_length():
    tiny, large = (0.0, 0.0, 5.0, 5.0), (0.0, 0.0, 100.0, 100.0)
    rows = [
        outcome(tiny, [FRAME], target=tiny, image="a.png", text="car"),
        outcome(AWAY, [FRAME], target=tiny, image="b.png", text="one two three four five"),
        outcome(large, [FRAME], target=large, image="b.png", text="word " * 40),
    ]
    found = error_analysis(rows)
    assert [(b.label, b.rows, b.acc50) for b in found.by_size] == [
        ("under 0.01 %", 2, 50), ("0.3 % and more", 1, 100)
    ]  # fmt: skip
    assert [(b.label, b.rows) for b in found.by_length] == [("1 to 5 words", 2), ("31 words and more", 1)]
    assert found.by_size[0].interval is None  # of two images
    many = error_analysis([outcome(TARGET if n % 2 else AWAY, [FRAME], image=f"{n}.png") for n in range(20)])
    low, high = many.by_length[0].interval
    assert 10 < low < 50 < high < 90
    text = error_text(found)
    assert "1 of 3 rows" in text and all(meaning in text for meaning in CLASSES.values())


def test_nothing_missed_and_nothing_asked():
    assert sum(error_analysis([CASES["right"]]).classes.values()) == 0
    assert error_analysis([]).rows == 0 and error_text(error_analysis([]))


def test_a_file_of_predictions_tells_the_same(tmp_path):
    path = tmp_path / "p.jsonl"
    cases = list(CASES.values())
    for index, case in enumerate(cases):
        case.index = index
    with predictions_file(path) as write:
        for case in reversed(cases):  # written by image, not by row
            write(case.to_dict())
    read = read_predictions(path)
    assert error_analysis(read) == error_analysis(cases)
    assert read == cases


def test_two_predictions_of_one_row(tmp_path):
    path = tmp_path / "p.jsonl"
    with predictions_file(path) as write:
        for case in list(CASES.values())[:2]:
            case.index = 3
            write(case.to_dict())
    with pytest.raises(InputError, match="2 predictions of the row with the index 3"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no predictions"),
        ("{", "line 1"),
        ("[]", "line 1"),
        ('{"index": 0, "bbox": [1, 2, 3, 4]}', "frame_size"),
        ('{"index": 0, "bbox": [1, 2, 3]}', "line 1"),
    ],
)
def test_what_is_no_file_of_predictions(tmp_path, text, says):
    (tmp_path / "p.jsonl").write_text(text)
    with pytest.raises(InputError, match=says):
        read_predictions(tmp_path / "p.jsonl")
    with pytest.raises(InputError, match="does not exist"):
        read_predictions(tmp_path / "gone.jsonl")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score", float("nan")),
        ("score", "high"),
        ("iou", None),
        ("bbox", [0, 0, float("inf"), 5]),
        ("box_xyxy", [0, 0, 1]),
        ("windows", []),
        ("image", 5),
        ("ref", None),
        ("frame_size", [float("inf"), 1]),
    ],
)
def test_a_line_that_cannot_be_told_from_is_refused(tmp_path, name, value):
    line = {**CASES["wrong"].to_dict(), name: value}
    (tmp_path / "p.jsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match="line 1"):
        read_predictions(tmp_path / "p.jsonl")


@pytest.fixture
def images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    return tmp_path


def test_the_page_shows_misses_of_every_class_and_escapes_what_it_is_given(images):
    hostile = '<script>alert("x")</script> & the car'
    outcomes = [*CASES.values(), outcome(THING, [FRAME, AROUND], text=hostile)]
    page = misses_page(outcomes, images, count=5)
    assert "<script" not in page and "&lt;script&gt;" in page
    for name in CLASSES:
        assert f'id="{name}"' in page
    assert page.count("<article>") == len(outcomes) - 1  # all but the right one
    assert not re.search(r'(src|href)="(?!#|data:image/jpeg;base64,)', page) and "@import" not in page
    assert "prefers-color-scheme:dark" in page and "width=device-width" in page
    assert misses_page(outcomes, images, count=1).count("<article>") == len(CLASSES)


def test_a_page_without_misses_and_one_of_odd_shapes(images):
    assert "Nothing was missed" in misses_page([CASES["right"]], images)
    edge = outcome(
        (799.5, 599.5, 800.0, 600.0), [FRAME, (799.0, 0.0, 800.0, 600.0)], target=(790.0, 590.0, 800.0, 600.0)
    )
    assert "<svg" in misses_page([edge], images)
    beyond = outcome(AWAY, [FRAME], target=(900.0, 700.0, 950.0, 750.0))  # a row that does not fit its image
    assert "<svg" in misses_page([beyond], images)


def test_a_page_is_written_whole_or_not_at_all(images):
    write_page(images / "page.html", [CASES["wrong"]], images)
    assert (images / "page.html").read_text().startswith("<!doctype html>")
    with pytest.raises(InputError):
        write_page(images / "other.html", [outcome(THING, [FRAME], image="gone.png")], images)
    assert sorted(p.name for p in images.iterdir()) == ["a.png", "page.html"]
