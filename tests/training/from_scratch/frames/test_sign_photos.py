"""Pasted signs are named once, are where their boxes say, and crops keep boxes on their signs."""

import numpy as np
import pytest

from piza.data.frames import Frame
from piza.training.from_scratch.frames.sign_photos import (
    core,
    crop_frame,
    cutouts,
    kinds_of_names,
    paste,
    shape_mask,
)

NAMES = [
    ("The red stop sign", "The octagonal sign"),
    ("The blue disc", "The round blue sign"),
    ("The give way sign",),
]


def street(seed, kinds):
    rng = np.random.default_rng(seed)
    image = np.full((400, 700, 3), 90, np.uint8)
    rows = []
    for number, kind in enumerate(kinds):
        x, y = 80 + number * 200, int(rng.integers(120, 220))
        image[y : y + 40, x : x + 40] = (250, 40 * kind, 200)
        box = np.array([x, y, x + 40, y + 40], float)
        rows += [(f"{name}.", box, number) for name in NAMES[kind]]
    return Frame(image, rows)


@pytest.fixture(scope="module")
def frames():
    return [street(0, [0, 1]), street(1, [2]), street(2, [1, 2]), street(3, [])]


def test_core_drops_where_the_sign_stands():
    assert core("The left stop sign on the left side of the scene.") == "The stop sign"
    assert core("The stop sign, mounted below the give way sign.") == "The stop sign"


def test_names_said_of_one_sign_are_one_kind(frames):
    kinds = kinds_of_names(frames)
    assert len(set(kinds.values())) == 3
    assert kinds["The red stop sign"] == kinds["The octagonal sign"]


def test_pasted_signs_are_told_apart_and_visible(frames):
    kinds = kinds_of_names(frames)
    signs = cutouts(frames, kinds)
    assert {sign.kind for sign in signs} == {0, 1, 2}
    pasted = 0
    for seed in range(60):
        before = frames[seed % 4]
        after = paste(before, signs, kinds, np.random.default_rng(seed))
        sentences = [sentence for sentence, _, _ in after.rows]
        assert len(sentences) == len(set(sentences))
        for _, box, number in after.rows:
            if number >= 1000:
                pasted += 1
                x1, y1, x2, y2 = box.astype(int)
                assert (after.image[y1:y2, x1:x2] != before.image[y1:y2, x1:x2]).any()
        for kind in range(3):  # a kind that stands there twice is only spoken of with its side
            objects = {number for s, _, number in after.rows if kinds.get(core(s)) == kind}
            if len(objects) > 1:
                sentences_of_kind = [s for s, _, _ in after.rows if kinds.get(core(s)) == kind]
                assert all("left" in s or "right" in s for s in sentences_of_kind)
    assert pasted > 40
    assert (frames[3].image == 90).all()  # the original is left as it was


def test_crops_keep_boxes_on_their_signs(frames):
    for seed in range(40):
        cropped = crop_frame(frames[0], np.random.default_rng(seed))
        for _, box, _ in cropped.rows:
            x1, y1, x2, y2 = box.astype(int)
            assert (cropped.image[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1, 0] == 250).all()


def test_masks_follow_the_named_outline():
    disc = shape_mask(["The round sign"], 40, 40)
    triangle = shape_mask(["The warning sign"], 40, 40)
    assert abs(disc.mean() - np.pi / 4) < 0.02 and abs(triangle.mean() - 0.5) < 0.02
    assert triangle[2, 2] == 0 and triangle[38, 2] > 0.5
