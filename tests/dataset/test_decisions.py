"""What people decided, put together: settling, agreement and rows."""

from dataclasses import replace

import pytest
from tests.dataset.checked import decided, record

from piza.dataset.decisions import (
    Rules,
    agreements,
    check_decisions,
    cohens_kappa,
    rows,
    states,
    whole_pixels,
)
from piza.errors import InputError

ONE = record(texts=("The red car on the left.",))


def state(*decisions, reviewers=2):
    return states([ONE], decisions, Rules(reviewers=reviewers))[ONE.id, 0]


@pytest.mark.parametrize(
    "choices, expected",
    [
        ([], "open"),
        (["accept"], "open"),
        (["accept", "accept"], "kept"),
        (["reject", "reject"], "rejected"),
        (["accept", "reject"], "disputed"),
        (["accept", "reject", "reject"], "rejected"),
        (["accept", "reject", "accept"], "kept"),
        (["accept", "reject", "accept", "reject"], "disputed"),
    ],
)
def test_two_people_settle_a_sentence_and_a_third_a_dispute(choices, expected):
    assert state(*(decided(ONE, choice, f"p{n}") for n, choice in enumerate(choices))).state == expected


def test_a_fix_counts_and_its_words_have_to_agree():
    fixed = decided(ONE, "fix", "bob", text="The small red car on the left.")
    assert state(decided(ONE, "accept", "ann"), fixed).state == "disputed"
    assert state(fixed, decided(ONE, "fix", "cid", text="The red car at the left edge.")).state == "disputed"
    again = decided(ONE, "fix", "cid", text="The small  red car on the left. ")
    assert state(decided(ONE, "accept", "ann"), fixed, again).decision == again


def test_a_box_that_was_moved_a_little_is_taken_and_one_moved_far_is_disputed():
    moved = decided(ONE, "fix", "bob", bbox=(12.0, 22.0, 30.0, 40.0))
    assert state(moved, decided(ONE, "accept", "ann")).decision == moved
    far = decided(ONE, "fix", "bob", bbox=(60.0, 22.0, 30.0, 40.0))
    assert state(far, decided(ONE, "accept", "ann")).state == "disputed"


def test_the_last_decision_of_a_person_counts():
    first, then = decided(ONE, "reject", "ann"), decided(ONE, "accept", "ann")
    assert state(first, then).state == "open"
    assert state(first, decided(ONE, "accept", "bob"), then).state == "kept"


def test_one_reviewer_is_enough_where_one_is_asked_for():
    assert state(decided(ONE, "accept"), reviewers=1).state == "kept"
    assert state(decided(ONE, "accept"), decided(ONE, "reject", "bob"), reviewers=1).state == "disputed"


def test_kappa_is_that_of_the_textbook():
    # 50 grant proposals: both yes 20, only the first 5, only the second 10, both no 15 (kappa 0.4)
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("y", "y"), ("n", "n")]) == 1
    assert cohens_kappa([("y", "y")] * 5) is None and cohens_kappa([]) is None


def test_agreement_is_told_for_each_two_people():
    others = [record(n, texts=("The car.",)) for n in range(1, 5)]
    log = [decided(one, "accept", "ann") for one in others]
    log += [decided(one, "reject" if n == 3 else "accept", "bob") for n, one in enumerate(others)]
    log[4] = decided(others[0], "fix", "bob", bbox=(11.25, 20.5, 15.0, 40.0))
    log += [decided(others[0], "accept", "cid")]
    first, *rest = agreements(log)
    assert first.who == ("ann", "bob") and first.sentences == 4 and first.same == 0.5
    assert first.boxes == 3 and first.iou == pytest.approx((0.5 + 1 + 1) / 3)
    assert [one.sentences for one in rest] == [1, 1]


def test_rows_hold_only_what_was_kept_in_whole_pixels_and_its_category():
    two = replace(record(2), category="")
    log = [decided(ONE, "reject", who) for who in "ab"]
    log += [decided(two, "accept", who, sentence=1) for who in "ab"]
    log += [decided(two, "fix", who, text="A  better sentence.", bbox=(-0.0, 20.6, 5.2, 4.9)) for who in "ab"]
    two_rows = [
        {"image": "photo 2.jpg", "bbox": [0, 21, 5, 5], "ref": "A better sentence.", "id": 1},
        {"image": "photo 2.jpg", "bbox": [12, 20, 30, 40], "ref": "A red car beside a tree.", "id": 2},
    ]
    assert rows([ONE, two], log, Rules()) == [{**row, "category": "unknown"} for row in two_rows]
    known = replace(two, category="bus")
    assert rows([ONE, known], log, Rules()) == [{**row, "category": "bus"} for row in two_rows]


@pytest.mark.parametrize(
    "bbox, expected",
    [
        ((0.4, 0.4, 0.2, 0.2), [0, 0, 1, 1]),
        ((399.6, 299.7, 0.4, 0.3), [399, 299, 1, 1]),
        ((10.5, 10.5, 1.0, 389.5), [10, 10, 2, 290]),
    ],
)
def test_boxes_in_whole_pixels_have_an_area_inside_of_the_photo(bbox, expected):
    assert whole_pixels(bbox, (400, 300)) == expected


@pytest.mark.parametrize(
    "decision, words",
    [
        (decided(record(9)), "is it another set's log"),
        (decided(record(0, texts=("a", "b"), bbox=ONE.bbox), sentence=1), "counted from 0"),
        (decided(ONE, "fix", bbox=(390.0, 20.0, 30.0, 40.0)), "reaches out of its photo"),
        (decided(ONE, "fix", text="  "), "the sentence is empty"),
        (decided(ONE, "accept", text="the bus there"), "is another one now"),
        (decided(ONE, "reject", text="the bus there"), "is another one now"),
        (decided(ONE, "accept", bbox=(12.0, 20.5, 30.0, 40.0)), "is another one now"),
    ],
)
def test_a_log_of_something_else_is_refused(decision, words):
    with pytest.raises(InputError, match=words):
        check_decisions([decision], [ONE], "'log.jsonl'")
