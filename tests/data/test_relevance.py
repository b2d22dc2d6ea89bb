"""What the things of a scene are to its sentences, told from what the sentences mean."""

import numpy as np
import pytest

from piza.data import scenes
from piza.data.scenes.meaning import Facts
from piza.data.scenes.objects import Expression, SceneObject
from piza.data.scenes.relevance import relevance

SIZE = (1000, 600)
CAR, RED, BUS = ("noun", "car"), ("color", "red", ""), (("noun", "bus"),)


def thing(category, color, x, y=300.0, wide=40.0):
    return SceneObject(category, color, {}, (x, y, x + wide, y + 30), 1.0, 20.0)


@pytest.fixture(scope="module")
def street():
    """Two red cars and a blue one, a bus beside the first, another far away."""
    return [
        thing("car", "red", 100),
        thing("car", "red", 500),
        thing("car", "blue", 300),
        thing("bus", "white", 150),
        thing("bus", "white", 850),
    ]


def said(street, index, *meaning):
    expression = Expression("", street[index].box_xyxy, index, "relation", True, True, meaning)
    return relevance(expression, Facts(street, SIZE)).T.tolist()


def test_a_relation_has_things_alike_and_anchors_among_their_like(street):
    alike, like_anchor, anchor = said(street, 0, CAR, RED, ("rel", "just left", BUS))
    assert alike == [1, 1, 0, 0, 0] and like_anchor == [0, 0, 0, 1, 1] and anchor == [0, 0, 0, 1, 0]


def test_what_is_compared_is_alike(street):
    alike, like_anchor, anchor = said(street, 1, ("most", "rightmost", (CAR, RED)))
    assert alike == [1, 1, 0, 0, 0] and like_anchor == anchor == [0] * 5


def test_the_nearest_to_something_has_it_for_an_anchor(street):
    white = (("noun", "bus"), ("color", "white", ""))
    alike, like_anchor, anchor = said(street, 0, ("closest", (CAR,), white))
    assert alike == [1, 1, 1, 0, 0] and like_anchor == anchor == [0, 0, 0, 1, 1]


def test_a_place_in_the_picture_makes_nobody_less_alike(street):
    assert said(street, 0, CAR, ("at", "left half"))[0] == [1, 1, 1, 0, 0]


def test_every_sentence_of_a_scene_is_about_one_of_those_alike():
    related = 0
    for seed in range(3):
        scene = scenes.render(seed)
        facts = Facts(scene.objects, (2048, 1152))
        for expression in scene.rows:
            found = relevance(expression, facts)
            assert found.shape == (facts.n, 3) and set(np.unique(found)) <= {0, 0.5, 1}
            assert found[expression.index, 0] == 1 and (found[:, 2] <= found[:, 1]).all()
            if expression.kind == "attribute" and not found[:, 1].any():
                assert found[:, 0].sum() == 1
            if any(clause[0] == "rel" for clause in expression.meaning):
                related += 1
                assert (found[:, 2] == 1).any() and found[expression.index, 2] < 1
    assert related > 5
