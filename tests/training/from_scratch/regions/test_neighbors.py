"""Sentences in which a relation decides: true of what they mean, false of every rival."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piza.training.from_scratch.regions.neighbors import neighbor_frames
from piza.training.from_scratch.regions.places import above, beside, between, in_depth, near

CAR, BUS = "dark car from behind", "red bus"


def frame_of(tmp_path, *regions):
    """The sentences about one photo of 200x100: rows, and what each may mean as well."""
    photo = {"key": "dawn/a.jpg", "size": [200, 100], "regions": [[*box, phrase] for box, phrase in regions]}
    (tmp_path / "named.jsonl").write_text(json.dumps(photo) + "\n")
    frames = neighbor_frames(tmp_path / "named.jsonl")
    return frames.lists[0] if frames.lists else None


def test_a_side_tells_two_like_names_apart(tmp_path):
    one = frame_of(
        tmp_path,
        ([20, 40, 40, 50], CAR),
        ([80, 40, 100, 50], CAR),
        ([50, 40, 70, 50], BUS),
        ([180, 5, 190, 15], "-"),
    )
    assert {place for _, place, _ in one.rows} == {0, 1}  # the bus is the only one of its kind
    sided = [(sentence.lower(), place) for sentence, place, _ in one.rows if " of the red bus" in sentence]
    assert {place for _, place in sided} == {0, 1}
    assert all(
        (" left of" in f" {text}") == (place == 0)
        for text, place in sided
        if "left" in text or "right" in text
    )


def test_no_sentence_is_true_of_two(tmp_path):
    one = frame_of(
        tmp_path,
        ([10, 40, 20, 50], CAR),
        ([30, 40, 40, 50], CAR),
        ([45, 40, 65, 50], BUS),
        ([150, 40, 160, 50], CAR),
    )
    assert one.rows
    for sentence, place, _ in one.rows:
        if "left of the red bus" in sentence.lower():
            assert (
                place == 1 and 0 in one.doubtful[sentence, place]
            )  # nearer, and the farther one may be meant


@pytest.mark.parametrize("phrase", ["vehicle in fog", "taxi"])
def test_what_may_be_of_the_kind_is_in_doubt_where_the_relation_holds(phrase, tmp_path):
    one = frame_of(
        tmp_path,
        ([20, 40, 40, 50], CAR),
        ([80, 40, 100, 50], CAR),
        ([50, 40, 70, 50], BUS),
        ([22, 30, 38, 36], phrase),
    )
    assert {place for _, place, _ in one.rows} == {0, 1}
    assert not [sentence for sentence, _, _ in one.rows if "left of the red bus" in sentence.lower()]
    assert [sentence for sentence, _, _ in one.rows if "right of the red bus" in sentence.lower()]


def test_what_shows_the_same_thing_is_no_rival(tmp_path):
    one = frame_of(
        tmp_path,
        ([20, 40, 40, 50], CAR),
        ([22, 41, 39, 50], "side of a dark car"),
        ([80, 40, 100, 50], CAR),
        ([50, 40, 70, 50], BUS),
    )
    about = [(sentence, place) for sentence, place, _ in one.rows if place == 0]
    assert about and all(1 in one.doubtful[key] for key in about)


def test_a_name_alone_is_no_sentence(tmp_path):
    middle = ([80, 40, 100, 50], CAR), ([110, 40, 130, 50], CAR)
    assert frame_of(tmp_path, *middle) is None
    apart = frame_of(tmp_path, ([20, 40, 40, 50], CAR), ([180, 40, 199, 50], CAR))
    assert apart.rows and all("left" in s or "right" in s for s, _, _ in apart.rows)


number = st.floats(0.0, 0.9)
size = st.floats(0.01, 0.1)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), number, number, size, size)


@given(boxes, boxes, st.integers(0, 99))
def test_clauses_are_true_or_unclear_of_what_they_were_made_of(own, anchor, seed):
    for kind in (beside, above):
        clause, holds = kind(own, anchor, np.random.default_rng(seed))
        flipped = (-own[2], -own[3], -own[0], -own[1]), (-anchor[2], -anchor[3], -anchor[0], -anchor[1])
        other, holds_there = kind(*flipped, np.random.default_rng(seed))
        if holds(own):  # from the other side it is the other way round, and as true
            assert holds_there(flipped[0]) and clause != other


@given(boxes, boxes, boxes)
def test_nothing_is_on_two_sides(box, anchor, own):
    rng = np.random.default_rng(0)
    one, other = (beside((x, 0.5, x + 0.02, 0.52), anchor, rng) for x in (-1.0, 2.0))
    assert {one[0].split()[-2], other[0].split()[-2]} == {"left", "right"}
    assert not (one[1](box) and other[1](box))
    front, behind = (in_depth((0, 0, 0.1, bottom), anchor, rng)[1] for bottom in (3.0, -3.0))
    assert not (front(box) and behind(box))


def test_near_and_between():
    bus = (0.5, 0.4, 0.6, 0.5)
    _, close = near((0.62, 0.4, 0.66, 0.45), bus, np.random.default_rng(0))
    assert close((0.61, 0.45, 0.66, 0.5)) and close((0.9, 0.4, 0.95, 0.45)) is False
    holds = between((0.3, 0.4, 0.35, 0.45), (0.1, 0.4, 0.15, 0.45), bus)
    assert holds((0.3, 0.41, 0.35, 0.46)) and holds((0.7, 0.4, 0.8, 0.5)) is False
    assert holds((0.3, 0.85, 0.35, 0.9)) is False and holds((0.3, 0.55, 0.35, 0.6)) is None
