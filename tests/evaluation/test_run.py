import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.batch import stand_in

from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation.outcome import predictions_file, read_predictions, resume, run_mark
from piza.evaluation.run import evaluate
from piza.result import Result, Step


class FakeLocator:
    """Answers "x1 y1 x2 y2" with that box, and records the questions."""

    def __init__(self):
        self.calls = []

    def locate(self, image, expression, whole_frame=False):
        assert len(image.shape) == 3
        self.calls.append((list(expression), whole_frame))
        size = (image.shape[1], image.shape[0])
        steps = 1 if whole_frame else 3
        answers = []
        for sentence in expression:
            if sentence == "unspeakable":
                raise InputError("too long")
            box = tuple(float(v) for v in sentence.split())
            step = Step((0, 0, *size), (8, 8), 0.0, 0.0, np.array([box]), np.array([0.5]))
            answers.append(
                Result(sentence, box, 0.5, [step] * min(steps, 2), size, "stop", 1.0, image, steps)
            )
        return answers


def row(image, answer, number=1):
    return Row(image, (10.0, 10.0, 20.0, 20.0), answer, number)


RIGHT, NEAR, WRONG = "10 10 20 20", "10 10 20 16.1", "30 30 40 40"  # IoU 1, 0.61, 0


def test_numbers_and_order_of_outcomes(images):
    rows = [row("a.png", RIGHT, 1), row("b.png", NEAR, 2), row("a.png", WRONG, 3), row("b.png", RIGHT, 4)]
    locator, seen, done = FakeLocator(), [], []
    summary = evaluate(locator, rows, images, write=seen.append, progress=lambda *p: done.append(p))
    assert (summary.rows, summary.skipped) == (4, 0)
    assert (summary.acc50, summary.acc75) == (75, 50)
    assert summary.macc == pytest.approx((3 * 75 + 7 * 50) / 10)
    assert summary.mean_steps == 3 and summary.mean_ms > 0
    assert [o.row.id for o in summary.outcomes] == [1, 2, 3, 4]
    assert [o.iou for o in summary.outcomes] == pytest.approx([1, 0.61, 0, 1])
    assert locator.calls == [([RIGHT, WRONG], False), ([NEAR, RIGHT], False)]  # one call an image
    assert done == [(2, 4), (4, 4)]
    assert [(line["index"], line["id"], line["image"]) for line in seen] == [
        (0, 1, "a.png"), (2, 3, "a.png"), (1, 2, "b.png"), (3, 4, "b.png"),
    ]  # fmt: skip
    assert seen[0]["steps"] == 3 and len(seen[0]["windows"]) == 2  # a look that led elsewhere counts
    assert seen[0]["bbox"] == [10, 10, 10, 10] and seen[1]["box_xyxy"] == [30, 30, 40, 40]
    assert list(summary.to_dict())[:6] == ["rows", "acc50", "acc75", "macc", "mean_steps", "mean_ms"]
    assert summary.to_dict()["images"] == 2 and summary.to_dict()["intervals"] is None
    json.dumps(summary.to_dict())


def test_intervals_are_resampled_by_image(images):
    rows = []
    for number in range(6):
        Image.new("RGB", (64, 48)).save(images / f"{number}.png")
        rows += [row(f"{number}.png", RIGHT if number % 2 else WRONG, index) for index in range(3)]
    found = evaluate(FakeLocator(), rows, images).to_dict()
    assert found["rows"] == 18 and found["images"] == 6
    low, high = found["intervals"]["acc50"]
    assert low <= 100 / 6 and high >= 500 / 6 and found["acc50"] == 50


def test_limit_takes_the_first_rows_and_whole_frame_is_passed_on(images):
    locator = FakeLocator()
    rows = [row("a.png", RIGHT), row("b.png", WRONG), row("a.png", WRONG)]
    summary = evaluate(locator, rows, images, whole_frame=True, limit=1)
    assert (summary.rows, summary.acc50, summary.mean_steps) == (1, 100, 1)
    assert locator.calls == [([RIGHT], True)]


def test_a_missing_image_is_found_before_the_first_look(images):
    locator = FakeLocator()
    with pytest.raises(InputError, match=r"c\.png"):
        evaluate(locator, [row("a.png", RIGHT), row("c.png", RIGHT)], images)
    assert locator.calls == []


def test_missing_and_broken_images_can_be_skipped(images):
    rows = [row("c.png", RIGHT), row("a.png", RIGHT), row("broken.png", RIGHT), row("broken.png", WRONG)]
    summary = evaluate(FakeLocator(), rows, images, on_missing="skip")
    assert (summary.rows, summary.skipped, summary.acc50) == (1, 3, 100)
    with pytest.raises(InputError, match=r"broken\.png"):
        evaluate(FakeLocator(), rows[1:], images)


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([], {}, "no rows"),
        ([row("c.png", RIGHT)], {"on_missing": "skip"}, "none of the 1 rows"),
        ([row("a.png", RIGHT)], {"on_missing": "ignore"}, "on_missing"),
        ([row("a.png", RIGHT)], {"limit": 0}, "limit: expected a whole number from 1 to"),
        ([row("a.png", "unspeakable")], {}, r"a\.png.*too long"),
    ],
)
def test_what_cannot_be_evaluated(images, rows, options, says):
    with pytest.raises(InputError, match=says):
        evaluate(FakeLocator(), rows, images, **options)


def test_a_folder_of_images_that_is_not_there(images):
    with pytest.raises(InputError, match="does not exist"):
        evaluate(FakeLocator(), [row("a.png", RIGHT)], images / "nowhere", on_missing="skip")


def test_predictions_appear_at_the_end_and_survive_an_interruption(tmp_path):
    path, part = tmp_path / "p.jsonl", tmp_path / "p.jsonl.part"
    with predictions_file(path) as write:
        write({"index": 0})
        assert json.loads(part.read_text()) == {"index": 0} and not path.exists()
    assert json.loads(path.read_text()) == {"index": 0} and not part.exists()

    with pytest.raises(KeyboardInterrupt), predictions_file(path) as write:
        write({"index": 1})
        raise KeyboardInterrupt
    assert json.loads(part.read_text()) == {"index": 1}
    assert json.loads(path.read_text()) == {"index": 0}


def rows_of_three_images(images):
    for name in ("c.png", "d.png"):
        Image.new("RGB", (64, 48)).save(images / name)
    return [row(name, answer, n) for n, (name, answer) in enumerate(
        [("a.png", RIGHT), ("b.png", NEAR), ("c.png", WRONG), ("a.png", NEAR), ("c.png", RIGHT), ("d.png", WRONG)]
    )]  # fmt: skip


def run(locator, rows, images, path, mark="m"):
    done = resume(path, rows, mark)
    with predictions_file(path, mark, done) as write:
        return evaluate(locator, rows, images, write=write, done=done)


@pytest.mark.parametrize("lines", range(7))
@pytest.mark.parametrize("cut", [0, 9])
def test_an_interrupted_run_goes_on_where_it_stopped(images, tmp_path, lines, cut):
    """Killed after any line, or in the middle of it: the same numbers, and no finished image is asked again."""
    rows = rows_of_three_images(images)
    whole, whole_path = FakeLocator(), tmp_path / "whole.jsonl"
    expected = run(whole, rows, images, whole_path)
    kept = whole_path.read_bytes().splitlines(keepends=True)[:lines]
    part = tmp_path / "p.jsonl.part"
    data = b"".join(kept)
    part.write_bytes(data[: len(data) - cut] if data else data)

    locator = FakeLocator()
    found = run(locator, rows, images, tmp_path / "p.jsonl")
    times = {"mean_ms": 0}
    assert {**found.to_dict(), **times} == {**expected.to_dict(), **times}
    assert [replace(o, milliseconds=0) for o in found.outcomes] == [
        replace(o, milliseconds=0) for o in expected.outcomes
    ]
    finished = lines - (cut > 0 and lines > 0)  # lines: a a b c c d
    assert len(locator.calls) == [4, 4, 3, 2, 2, 1, 0][finished]
    assert len(read_predictions(tmp_path / "p.jsonl")) == len(rows) and not part.exists()


def test_workers_answer_the_same(images, monkeypatch):
    monkeypatch.setenv(stand_in.ONCE, str(images))
    rows = rows_of_three_images(images)
    expected = evaluate(stand_in.load(), rows, images)
    Image.new("RGB", (stand_in.KILLS_ONCE, 48)).save(
        images / "e.png"
    )  # its worker is killed, and it is asked again
    for more in ([], [row("e.png", RIGHT, 7)]):
        found = evaluate(stand_in.load, [*rows, *more], images, workers=2)
        assert [replace(o, milliseconds=0) for o in found.outcomes[: len(rows)]] == [
            replace(o, milliseconds=0) for o in expected.outcomes
        ]
        assert len(found.outcomes) == len(rows) + len(more)


def test_what_ends_an_evaluation_by_workers(images):
    (images / "e.png").write_bytes(b"no image")
    rows = [row("e.png", RIGHT)]
    with pytest.raises(InputError, match=r"e\.png' is not an image"):
        evaluate(stand_in.load, rows, images, workers=1)
    Image.new("RGB", (stand_in.NO_MEMORY, 48)).save(images / "e.png")
    with pytest.raises(InputError, match=r"two workers ended .* 'e.png': it ran out of memory"):
        evaluate(stand_in.load, rows, images, workers=1)


def test_a_file_of_another_run_is_refused(images, tmp_path):
    rows = [row("a.png", RIGHT), row("b.png", NEAR)]
    part = tmp_path / "p.jsonl.part"
    with predictions_file(tmp_path / "p.jsonl", "one") as write:
        evaluate(FakeLocator(), rows, images, write=write)
        content = part.read_bytes()
    part.write_bytes(content)
    assert len(resume(tmp_path / "p.jsonl", rows, "one")) == 2
    for others, mark in ((rows, "two"), (rows[:1], "one"), ([rows[1], rows[0]], "one")):
        with pytest.raises(InputError, match="predictions of another run"):
            resume(tmp_path / "p.jsonl", others, mark)
    part.write_bytes(b"{}\n" + content)
    with pytest.raises(InputError, match=r"line 1: .*'frame_size' is missing"):
        resume(tmp_path / "p.jsonl", rows, "one")
    assert part.read_bytes() == b"{}\n" + content


def test_the_mark_of_a_run_is_of_its_weights_and_settings(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = run_mark(tmp_path, budget=5)
    assert run_mark(tmp_path, budget=5) == first != run_mark(tmp_path, budget=6)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert run_mark(tmp_path, budget=5) != first


def test_a_full_disk_names_the_file():
    from piza.evaluation.outcome import _write

    with open("/dev/full", "ab", buffering=0) as file, pytest.raises(OSError, match=r"p\.jsonl\.part"):
        _write(file, b"line", Path("p.jsonl.part"))


def test_two_runs_do_not_write_one_file(tmp_path):
    path = tmp_path / "p.jsonl"
    with predictions_file(path, "one") as write:
        write({"index": 0})
        with (
            pytest.raises(InputError, match=r"another process is writing .*p\.jsonl\.part"),
            predictions_file(path, "one") as other,
        ):
            other({"index": 0})
        write({"index": 1})
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1]
    with predictions_file(path, "one") as write:  # and it is free afterwards
        write({"index": 2})
