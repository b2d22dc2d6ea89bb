"""A second reader for rows that exist: what it doubts, in which order, and how it is shown."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.conftest import SHARED
from tests.dataset.test_machine_check import RedFinder, Scripted, red_squares

from piza.cli.main import main
from piza.dataset.audit import ALMOST, COVERED, FILE, OUTSIDE, Audited, audit, write_audit_page
from piza.dataset.doubt import AMBIGUOUS
from piza.dataset.grounding import SearchAsker
from piza.dataset.language_rules import LANGUAGE, MARK
from piza.dataset.machine_check import SAID_TWICE, SAME_AS_ANOTHER
from piza.dataset.records import read_records
from piza.errors import InputError

ROWS = [
    ("a.png", [10, 20, 30, 20], "The red car to the left of the white bus."),
    ("a.png", [90, 20, 30, 20], "A red car, left of a white bus."),  # 2: as 1, of another thing
    ("a.png", [10, 20, 30, 20], "The car in the red box is parked there."),
    ("a.png", [150, 20, 30, 20], "The man with a hat."),
    ("a.png", [200, 20, 30, 20], "The man with a hat and a blue coat near the bus."),  # 5: covers 4
    ("a.png", [201, 20, 30, 20], "The hydrant on the sidewalk near the corner."),  # 6: the box of 5
    ("b.png", [10, 20, 30, 20], "The red car to the left of the white bus."),  # another photo
    ("b.png", [280, 20, 30, 20], "Das rote Auto steht links neben dem Bus."),  # 8: reaches out
    ("b.png", [10, 20, 30, 20], "A red car that is to the left of the white bus."),
]


@pytest.fixture
def folder(tmp_path):
    for name in "ab":
        Image.new("RGB", (300, 200), (90, 90, 90)).save(tmp_path / f"{name}.png")
    rows = [{"image": i, "bbox": b, "ref": r, "id": n} for n, (i, b, r) in enumerate(ROWS, start=1)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path


def kinds(found):
    return {one.row: {finding.kind for finding in one.findings} for one in found.ranked if one.findings}


def test_rows_are_compared_with_the_rules_and_their_neighbors(folder):
    found = audit(folder / "rows.json", folder)
    assert kinds(found) == {
        1: {SAME_AS_ANOTHER},
        2: {SAME_AS_ANOTHER},
        3: {MARK},
        4: {COVERED},
        6: {ALMOST},
        8: {LANGUAGE, OUTSIDE},
        9: {SAID_TWICE},
    }
    assert [one.row for one in found.ranked] == [1, 2, 3, 8, 9, 4, 6, 5, 7]
    assert found.doubted == 7 and found.counts[SAME_AS_ANOTHER] == 2
    (message,) = (one.findings[0].message for one in found.ranked if one.row == 4)
    assert message.startswith("row 5: says all of this")


def test_a_sentence_that_names_two_boxes_and_an_id_that_is_used_twice_are_told(folder):
    rows = json.loads((folder / "rows.json").read_text())
    rows[4]["id"] = 1
    (folder / "rows.json").write_text(json.dumps(rows))
    assert kinds(audit(folder / "rows.json"))[5] == {FILE}


def test_a_grounder_is_asked_where_photos_are(folder):
    Image.fromarray(red_squares((40, 40), (200, 100))).save(folder / "c.png")
    rows = [
        {"image": "c.png", "bbox": [200, 100, 20, 20], "ref": "The red square on the gray ground.", "id": 1}
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    found = audit(folder / "rows.json", folder, SearchAsker(RedFinder(), "red"))
    assert kinds(found) == {1: {AMBIGUOUS}} and found.ranked[0].doubt > 0.5
    with pytest.raises(InputError, match="needs the folder of the photos"):
        audit(folder / "rows.json", None, SearchAsker(RedFinder(), "red"))


def test_a_log_is_gone_on_with_and_refused_for_other_rows(folder):
    log = folder / "audit.jsonl"
    with pytest.raises(KeyboardInterrupt):
        audit(folder / "rows.json", folder, Scripted(photos=1), log=log)
    assert {one.image for one in read_records(log, Audited)} == {"a.png"}
    again = Scripted()
    found = audit(folder / "rows.json", folder, again, log=log)
    assert len(again.asked) == 1 and len(found.ranked) == len(ROWS)
    assert found.ranked == audit(folder / "rows.json", folder, Scripted()).ranked
    (folder / "rows.json").write_text(json.dumps(json.loads((folder / "rows.json").read_text())[:5]))
    with pytest.raises(InputError, match="was begun with rows"):
        audit(folder / "rows.json", folder, Scripted(), log=log)


def test_a_log_that_was_cut_within_a_photo_holds_each_row_once(folder):
    log = folder / "audit.jsonl"
    whole = audit(folder / "rows.json", folder, None, log=log).ranked
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:1]))
    assert audit(folder / "rows.json", folder, None, log=log).ranked == whole
    assert sorted(log.read_text().splitlines(keepends=True)) == sorted(lines)


def test_the_page_shows_the_most_doubtful_with_the_reasons(folder):
    found = audit(folder / "rows.json", folder)
    assert write_audit_page(found, folder, folder / "page.html", 3, "about it") == 3
    page = (folder / "page.html").read_text()
    assert page.count("<article>") == 3 and "says the same as a sentence about another thing" in page
    assert page.index("A red car, left of a white bus.") < page.index("The car in the red box")


def test_the_command_counts_and_refuses_before_it_works(folder, capsys):
    rows = str(folder / "rows.json")
    assert main(["data", "audit", rows, "--count", "2"]) == 0
    said = capsys.readouterr()
    assert "7 of 9 rows are doubtful" in said.out and "row 1, 1.00: row 2: says" in said.out
    assert "without --images no model is asked" in said.err
    for arguments, words in [
        ([rows, "--out", str(folder / "page.html")], "give the folder with --images"),
        ([str(folder / "none.json")], "does not exist"),
        ([rows, "--images", str(folder / "none"), "--language-only"], "the folder of images"),
        ([rows, "--log", str(folder / "no" / "x.jsonl")], "the folder"),
    ]:
        assert main(["data", "audit", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_sorec_itself_has_few_doubtful_rows():
    path = SHARED / "data/sorec/val.json"
    if not path.exists():
        pytest.skip("the rows of SOREC are not there")
    found = audit(path)
    assert found.counts[SAID_TWICE] == 87 and found.doubted < 0.02 * len(found.rows)
    assert np.all(np.diff([one.doubt for one in found.ranked]) <= 0)
