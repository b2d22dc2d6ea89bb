"""The report of an evaluation: the right numbers, nothing from the network, nothing that runs but its own script."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from piza.boxes import iou_xyxy
from piza.cli import main as cli
from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation.metrics import calibration_error, reliability
from piza.evaluation.outcome import Outcome, predictions_file
from piza.evaluation.report import overview
from piza.evaluation.report.overview import common_rows, read_runs, report_page, write_report

FRAME = (0.0, 0.0, 200.0, 120.0)
TARGET, THING = (40.0, 40.0, 50.0, 50.0), (120.0, 40.0, 130.0, 50.0)
AROUND, AWAY = (10.0, 10.0, 90.0, 90.0), (110.0, 10.0, 190.0, 90.0)


def outcome(
    index, box=TARGET, text="the red car", image=None, score=0.8, windows=(FRAME, AROUND), num_looks=2
):
    row = Row(image or f"{index % 6}.png", TARGET, text, index)
    iou = float(iou_xyxy(box, TARGET))
    return Outcome(
        index, row, box, score, iou, list(windows), [AROUND, box], (200, 120), num_looks, "stop", 2.0
    )


def run(right, count=12, **changes):
    """`count` rows, of which those in `right` are answered well, and the others in the wrong window."""
    return [
        outcome(n, **changes)
        if n in right
        else outcome(n, THING, windows=(FRAME, AWAY), num_looks=3, **changes)
        for n in range(count)
    ]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (120, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


class Page(HTMLParser):
    """What a browser would run or fetch, and the ids of unclosed tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]


def test_a_page_of_one_run(images):
    page = report_page({"mini": run(range(9))}, images)
    assert "75.0" in page and "12 rows about 6 images" in page
    for title in ("IoU threshold", "size, length and looks", "score is worth", "goes wrong", "Worst", "Best"):
        assert title in page
    assert "expected calibration error 0.050" in page  # all scores are 0.8, and 0.75 are right
    assert page.count("<article") == 12  # no row twice
    assert "first window (3)" in page and "right (9)" in page


def test_a_page_of_several_runs(images):
    page = report_page({"a": run(range(9)), "b": run(range(12)), "c": run([])}, images)
    assert "Difference with a" in page and "+25.0" in page and "-75.0" in page
    assert page.count('<svg class="plot"') == 1 + 3
    assert "Disagreements" in page and "some right (9)" in page and "only b right (3)" in page


def test_equal_runs_differ_by_nothing():
    page = report_page({"a": run(range(6)), "b": run(range(6))})
    assert "<strong>" not in page and page.count("+0.0") == 3
    assert "<article" not in page  # no images were given


def test_nothing_is_fetched_and_nothing_runs_but_the_filter(images):
    hostile = """</script><script>alert(1)</script><img src=x onerror="alert(1)">'"&{0}{body}"""
    runs = {f"run {hostile}": run(range(6), text=hostile), "other": run([], text=hostile)}
    for names in ([*runs], [*runs][:1]):
        text = report_page({name: runs[name] for name in names}, images)
        page = Page(text)
        assert page.tags.count("script") == 1 and "img" not in page.tags and not page.handlers
        assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
        script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in text and "default-src 'none'" in text
        assert "prefers-color-scheme:dark" in text and "width=device-width" in text
        assert not re.search(r"url\(|@import|https?://", text)


def test_rows_without_room_are_left_out(images, monkeypatch):
    whole = report_page({"mini": run(range(9))}, images)
    monkeypatch.setattr(overview, "MAX_BYTES", len(whole) // 2)
    page = report_page({"mini": run(range(9))}, images)
    assert len(page) < 0.7 * len(whole) and "found no room" in page


def test_only_rows_all_runs_have_are_compared():
    shared = common_rows({"a": run(range(9)), "b": run(range(9), count=5)[1:]})
    assert [[o.index for o in found] for found in shared.values()] == [[1, 2, 3, 4]] * 2
    with pytest.raises(InputError, match="no row"):
        common_rows({"a": run([]), "b": run([], text="another sentence")})


@pytest.mark.parametrize("text", ["", "die Straße 左の車", "a\ud800b"])
def test_any_sentence_is_written(tmp_path, images, text):
    write_report(tmp_path / "new" / "out", {"a": run(range(9), text=text)}, images)
    assert (tmp_path / "new" / "out" / "index.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_the_command(tmp_path, images, capsys):
    for name, right in (("a", range(9)), ("b", range(12))):
        with predictions_file(tmp_path / f"{name}.jsonl") as write:
            for one in run(right, count=12 if name == "a" else 10):
                write(one.to_dict())
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    arguments = ["report", *files, "--out", str(tmp_path / "out"), "--images", str(images)]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert said.out == "" and "the 10 rows all runs have" in said.err and "index.html" in said.err
    assert "Difference with a" in (tmp_path / "out" / "index.html").read_text()
    assert list(read_runs([files[0], files[0]])) == ["a", f"{tmp_path.name}/a"]
    assert len(read_runs([files[0]] * 4)) == 4

    (tmp_path / "file").write_text("")
    for wrong in (
        ["report", str(tmp_path / "gone.jsonl"), "--out", str(tmp_path / "out")],
        ["report", str(tmp_path / "file"), "--out", str(tmp_path / "out")],
        ["report", *files, "--out", str(tmp_path / "file")],
        ["report", *files, "--out", str(tmp_path / "out"), "--images", str(tmp_path / "gone")],
        ["report", *files * 5, "--out", str(tmp_path / "out")],
    ):
        assert cli.main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_reliability_holds_every_answer_once():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 500)
    right = rng.uniform(0, 1, 500) < p
    bins = reliability(p, right)
    assert sum(part.rows for part in bins) == 500 and len(bins) == 10
    assert all(abs(part.probability - part.right) < 0.25 for part in bins)
    assert [part.rows for part in reliability([0.0, 1.0], [False, True])] == [1, 1]
    assert calibration_error([0.8] * 4, [True, True, True, False]) == pytest.approx(0.05)
