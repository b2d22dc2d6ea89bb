"""Sentences about absent objects beside others: each image once, the rows' numbers untouched, the table right."""

import json
import math
import sys

import numpy as np
import pytest

from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation import run as evaluating
from piza.evaluation.absent import (
    THRESHOLDS,
    Absent,
    absent_html,
    absent_text,
    check_absent_baseline,
    evaluate_both,
    read_absent,
)
from piza.evaluation.baselines import oracle_first_window, tile_grid
from piza.evaluation.run import evaluate
from piza.result import Result, Step

BOX = (10.0, 10.0, 20.0, 20.0)
AWAY = (30.0, 30.0, 40.0, 40.0)


class FakeLocator:
    """Answers "right 0.7" with the target and that score, and anything else with another box and the score it ends in."""

    def __init__(self):
        self.calls = []

    def locate(self, image, expression):
        self.calls.append(list(expression))
        size = (image.shape[1], image.shape[0])
        answers = []
        for sentence in expression:
            box, score = BOX if sentence.startswith("right") else AWAY, float(sentence.split()[1])
            step = Step((0, 0, *size), (8, 8), 0.0, 0.0, np.array([box]), np.array([score]))
            answers.append(Result(sentence, box, score, [step], size, "stop", 1.0, image))
        return answers


def row(image, sentence, number=0):
    return Row(image, BOX, sentence, number)


ROWS = [row("a.png", "right 0.9", 1), row("b.png", "right 0.35", 2), row("a.png", "wrong 0.6", 3)]
ABSENT = [
    Absent("b.png", "no 0.6"),
    Absent("a.png", "no 0.2"),
    Absent("a.png", "no 0.04"),
    Absent("b.png", "no 0.35"),
]


def test_the_score_of_each_kind_is_compared(images):
    _, found = evaluate_both(FakeLocator(), ROWS, ABSENT, images)
    assert (found.present, found.right, found.absent) == (3, 2, 4)
    present, absent = (0.9, 0.35, 0.6), (0.6, 0.2, 0.04, 0.35)
    pairs = [(a > b) + 0.5 * (a == b) for a in present for b in absent]
    assert found.auroc == pytest.approx(np.mean(pairs))
    table = {round(line.threshold, 2): line[1:] for line in found.table}
    assert (
        list(table)
        == [round(t, 2) for t in THRESHOLDS]
        == [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    )
    assert table[0.05] == pytest.approx((100, 25, 100 * 2 / 6))  # kept, refused, precision
    assert table[0.2] == table[0.05]  # a score equal to the threshold reaches it
    assert table[0.3] == pytest.approx((100, 50, 100 * 2 / 5))
    assert table[0.4] == pytest.approx((50, 75, 100 / 3))
    assert table[0.7] == pytest.approx((50, 100, 100))


def test_the_rows_are_evaluated_as_without(images):
    alone, beside, lines = [], [], []
    expected = evaluate(FakeLocator(), ROWS, images, write=alone.append)
    summary, _ = evaluate_both(
        FakeLocator(), ROWS, ABSENT, images, write=beside.append, progress=lambda *p: lines.append(p)
    )
    times = {"mean_ms": 0, "milliseconds": 0}
    assert {**summary.to_dict(), **times} == {**expected.to_dict(), **times}
    assert [{**line, **times} for line in beside if line["index"] < len(ROWS)] == [
        {**line, **times} for line in alone
    ]
    assert [outcome.row for outcome in summary.outcomes] == ROWS
    assert lines[-1] == (7, 7)


def test_an_image_is_opened_once_for_all_its_sentences(images, monkeypatch):
    opened = []
    decode_image = evaluating.decode_image
    monkeypatch.setattr(
        evaluating, "decode_image", lambda path: opened.append(path.name) or decode_image(path)
    )
    teller = FakeLocator()
    evaluate_both(teller, ROWS, ABSENT, images)
    assert sorted(opened) == ["a.png", "b.png"]
    assert sorted(map(sorted, teller.calls)) == [
        sorted(["right 0.9", "wrong 0.6", "no 0.2", "no 0.04"]),
        sorted(["right 0.35", "no 0.6", "no 0.35"]),
    ]


def test_a_limit_takes_the_sentences_about_the_same_images(images):
    summary, found = evaluate_both(FakeLocator(), ROWS, ABSENT, images, limit=1)
    assert summary.rows == 1 and (found.present, found.absent) == (1, 2) and found.auroc == 1
    with pytest.raises(InputError, match="no sentences about nothing"):
        evaluate_both(FakeLocator(), ROWS, ABSENT[:1], images, limit=1)


def test_images_that_cannot_be_opened(images):
    rows, absent = [*ROWS, row("broken.png", "right 0.9")], [*ABSENT, Absent("broken.png", "no 0.9")]
    with pytest.raises(InputError, match=r"broken\.png"):
        evaluate_both(FakeLocator(), rows, absent, images)
    summary, found = evaluate_both(FakeLocator(), rows, absent, images, on_missing="skip")
    assert (summary.rows, summary.skipped, found.present, found.absent) == (3, 1, 3, 4)
    for some, others, said in (
        (rows[-1:], ABSENT, "the rows"),
        (ROWS, absent[-1:], "sentences about nothing"),
    ):
        with pytest.raises(InputError, match=f"none of the .*{said.split()[-1]} has an image"):
            evaluate_both(FakeLocator(), some, others, images, on_missing="skip")


def test_what_cannot_be_asked(images):
    with pytest.raises(InputError, match="no rows"):
        evaluate_both(FakeLocator(), [], ABSENT, images)
    with pytest.raises(InputError, match="sentences about nothing"):
        evaluate_both(FakeLocator(), ROWS, [], images)
    with pytest.raises(InputError, match="oracle"):
        check_absent_baseline(oracle_first_window)


def test_a_model_is_asked(images, tiny_piza):
    rows, absent = [row("a.png", "the red car")], [Absent("a.png", "a blue sign")]
    _, found = evaluate_both(tiny_piza, rows, absent, images)
    assert (found.present, found.absent) == (1, 1) and found.auroc in (0, 0.5, 1)
    _, tiled = evaluate_both(tiny_piza, rows, absent, images, baseline=tile_grid, tile=40)
    assert (tiled.present, tiled.absent) == (1, 1)


def test_what_cannot_be_known_is_a_dash(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    _, found = evaluate_both(FakeLocator(), [row("a.png", "wrong 0.5")], ABSENT, images)
    assert math.isnan(found.auroc) and all(math.isnan(line.kept) for line in found.table)
    text, page = absent_text(found), absent_html(found)
    assert "nan" not in text + page and "AUROC       -" in text
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["auroc"] is None and plain["thresholds"][0]["kept"] is None


def test_the_numbers_are_printed_in_columns(images):
    _, found = evaluate_both(FakeLocator(), ROWS, ABSENT, images)
    lines = absent_text(found).splitlines()
    assert lines[0] == "absent      4 sentences, against 3 whose target is present, 2 answered right"
    assert len({len(line) for line in lines[2:]}) == 1 and len(lines) == 3 + len(THRESHOLDS)
    assert lines[7].split() == ["0.40", "50.0", "%", "75.0", "%", "33.3", "%"]


def test_sentences_about_nothing_are_read(tmp_path):
    path = tmp_path / "absent.json"
    path.write_text(json.dumps([{"image": "a.png", "ref": "the moon", "why": "a field of its own"}]))
    assert read_absent(path) == [Absent("a.png", "the moon")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no sentences"),
        ({}, "list"),
        (["the moon"], "row 1: a row must be an object"),
        ([{"image": "a.png", "ref": "x"}, {"image": "a.png"}], "row 2: the field 'ref' is missing"),
        ([{"image": "a.png", "ref": " "}], "'ref' must be a text"),
        ([{"image": 3, "ref": "x"}], "'image' must be a text"),
        ([{"image": "a.png", "ref": "x", "bbox": [1, 2, 3, 4]}], "has no 'bbox'"),
    ],
)
def test_what_is_no_file_of_them(tmp_path, content, said):
    path = tmp_path / "absent.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        read_absent(path)
