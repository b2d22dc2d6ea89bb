"""Training windows: answers lie in their windows, absent objects have no box, and coordinates survive the cut."""

import numpy as np
import pytest

from piza.config import PathConfig
from piza.data.frames import Frame
from piza.data.windows import (
    COMPARING_WEIGHT,
    compares,
    first_window,
    grounding_window,
    later_window,
    part_of,
    photometric_augmentation,
    told_window,
    window_around,
)
from piza.search.zoom_path import plan_windows, side

SIZE = (1600, 900)


@pytest.fixture(scope="module")
def frame():
    """A gray street with 24 bright squares, each with two sentences."""
    rng = np.random.default_rng(0)
    image = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    rows, phrases = [], []
    for thing in range(24):
        x, y = (
            60 + (thing % 8) * 190 + int(rng.integers(0, 60)),
            80 + (thing // 8) * 280 + int(rng.integers(0, 90)),
        )
        w, h = int(rng.integers(14, 60)), int(rng.integers(14, 60))
        image[y : y + h, x : x + w] = 255
        box = np.array([x, y, x + w, y + h], float)
        rows += [(f"thing {thing}", box, thing), (f"the thing with number {thing}", box, thing)]
        phrases.append((f"square {thing}", box[None]))
    return Frame(image, rows, phrases)


def windows_of(kind, frame, count=60):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        if kind == "ground":
            box = frame.rows[int(rng.integers(len(frame.rows)))][1]
            yield grounding_window(frame, rng, window_around(box, SIZE, rng, 200, 1500, 5 / 3), min_side=4)
        elif kind == "first":
            yield first_window(frame, rng, PathConfig())
        elif kind == "whole":
            yield first_window(frame, rng, PathConfig(), whole=True)
        elif kind == "first object":
            yield first_window(frame, rng, PathConfig(answers="object"))
        elif kind == "later object":
            yield later_window(frame, rng, PathConfig(answers="object", max_zoom=4.0))
        else:
            yield later_window(frame, rng, PathConfig())


@pytest.mark.parametrize("kind", ["ground", "first", "whole", "later", "first object", "later object"])
def test_answers_and_targets_lie_in_the_window(frame, kind):
    answered = 0
    for window in windows_of(kind, frame):
        answered += len(window.answer)
        boxes = window.normalized(window.answer + window.target)
        assert np.isfinite(boxes).all() and (boxes >= -1e-5).all() and (boxes <= 1 + 1e-5).all()
        assert len(window.answer) == len(window.target) == len(window.block)
        assert all(0 <= block < len(window.sentences) for block in window.block)
        assert 0 <= window.progress <= 1
    assert answered > 30


def test_normalized_boxes_point_at_the_pixels(frame):
    """Cutting a window and reading the box off it finds the bright square again."""
    checked = 0
    for window in windows_of("later", frame):
        image = window.pixels((224, 224)).astype(float).mean(2)
        for cx, cy, w, h in window.normalized(window.target):
            x1, x2 = (cx - w / 2) * 224, (cx + w / 2) * 224
            y1, y2 = (cy - h / 2) * 224, (cy + h / 2) * 224
            middle = image[round(y1) + 2 : round(y2) - 2, round(x1) + 2 : round(x2) - 2]
            if middle.size:
                checked += 1
                assert middle.min() > 200
    assert checked > 30


def test_first_looks_answer_with_the_next_window_and_whole_ones_with_the_object(frame):
    for window in windows_of("first", frame, 10):
        for answer, target in zip(window.answer, window.target, strict=True):
            np.testing.assert_allclose(answer, plan_windows(target, SIZE, PathConfig())[1])
    for kind in ("whole", "first object", "later object"):
        for window in windows_of(kind, frame, 10):
            assert all(
                (answer == target).all() for answer, target in zip(window.answer, window.target, strict=True)
            )


def test_a_first_look_speaks_of_every_thing_before_it_repeats_one(frame):
    for count in (1, 8, 16, 40):
        window = first_window(frame, np.random.default_rng(count), PathConfig(), max_sentences=count)
        objects = [tuple(window.target[window.block.index(i)]) for i in range(len(window.sentences))]
        assert len(objects) == count and len(set(objects)) == min(count, 24)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The lowest round sign.", True),
        ("The traffic signal furthest away.", True),
        ("The second car from the left.", True),
        ("The car on the left of the red truck.", False),
        ("A sign at the far left of the scene.", False),
    ],
)
def test_a_superlative_or_an_ordinal_compares(sentence, expected):
    assert compares(sentence) == expected


def test_sentences_that_compare_are_told_in_proportion_to_their_weight():
    box = np.array([10.0, 10.0, 30.0, 30.0])
    street = Frame(np.zeros((90, 160, 3), np.uint8), [("the car", box, 0), ("the lowest car", box, 0)])
    rng = np.random.default_rng(0)
    count = sum(
        compares(first_window(street, rng, PathConfig(), max_sentences=1).sentences[0]) for _ in range(3000)
    )
    assert abs(count / 3000 - COMPARING_WEIGHT / (1 + COMPARING_WEIGHT)) < 0.03


def test_a_part_knows_what_it_shows_and_what_it_does_not(frame):
    more = [
        ("the leftmost thing", frame.rows[0][1], 0),
        ("the thing at the left of the scene", frame.rows[0][1], 0),
    ]
    lent = [
        "the bus behind a lorry",
        "the highest bus",
    ]  # the second could come true of what a part leaves over
    part = part_of(Frame(frame.image, frame.rows + more, absent=lent), (600, 300, 1300, 800))
    assert part.absent[-1] == lent[0] and lent[1] not in part.absent
    part.absent.pop()
    assert part.size == (700, 500) and part.rows and part.absent
    for _, box, thing in part.rows:
        assert (box[:2] >= 0).all() and (box[2:] <= part.size).all()
        np.testing.assert_allclose(box, frame.rows[2 * thing][1] - [600, 300, 600, 300])
    shown = {thing for _, _, thing in part.rows}
    told = {int(sentence.split()[-1]) for sentence in part.absent}
    assert not shown & told and not any("left" in sentence for sentence in part.absent)
    window = first_window(part, np.random.default_rng(2), PathConfig(answers="object"), absent_share=0.5)
    absent = [s for i, s in enumerate(window.sentences) if i not in window.block]
    assert absent and set(absent) <= set(part.absent)


def test_some_later_windows_miss_their_target(frame):
    empty = full = 0
    for window in windows_of("later", frame, 200):
        has = {window.sentences[block] for block in window.block}
        for sentence, box, _ in frame.rows:
            if sentence in window.sentences:
                inside = (box[:2] >= window.window[:2] - 1).all() and (box[2:] <= window.window[2:] + 1).all()
                assert inside == (sentence in has)
        empty += window.sentences[0] not in has
        full += window.sentences[0] in has
    assert 0.1 < empty / (empty + full) < 0.4


def test_a_window_around_a_rival_answers_only_where_it_shows_the_target(frame):
    (sentence, target, _), rival = frame.rows[0], frame.rows[30][1]
    config = PathConfig(answers="object")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        window = told_window(frame, 0, rival, rng, config)
        assert (window.window[:2] <= rival[:2]).all() and (window.window[2:] >= rival[2:]).all()
        assert window.sentences[0] == sentence and 0 not in window.block  # thing 0 is far from thing 15
        beside = told_window(frame, 0, target, rng, config)
        assert beside.sentences[0] == sentence and np.allclose(beside.answer[0], target)


def test_a_look_is_a_function_of_its_seed(frame):
    one, two = (later_window(frame, np.random.default_rng(5), PathConfig()) for _ in range(2))
    assert one.sentences == two.sentences and (one.window == two.window).all()
    light = [one.pixels((64, 64), np.random.default_rng(7)) for _ in range(2)]
    assert (light[0] == light[1]).all()


def test_ground_windows_leave_out_what_is_too_small(frame):
    for window in windows_of("ground", frame):
        assert all(side(target) >= 4 for target in window.target)


def test_photometric_augmentation_keeps_shape_and_range():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    changed = [photometric_augmentation(image, np.random.default_rng(s)) for s in range(20)]
    assert all(c.shape == image.shape and c.dtype == np.uint8 for c in changed)
    assert sum((c != image).any() for c in changed) > 10
