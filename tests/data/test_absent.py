"""Sentences about nothing: surely true of no object, near misses first, the same bytes from the same seed."""

import json

import numpy as np
import pytest

from piza.data import scenes
from piza.data.scenes.absent import choose, is_absent, is_near_miss, write_absent
from piza.data.scenes.meaning import Facts
from piza.data.scenes.objects import Expression, SceneObject
from piza.errors import InputError

SIZE = (2048, 1152)
SMALL = (960, 540)  # of the scenes that are drawn here
CAR, BUS, RED, GREEN = ("noun", "car"), ("noun", "bus"), ("color", "red", ""), ("color", "green", "")
LEFT, RIGHT = ("at", "left"), ("at", "right")


def thing(category, color, x, **attributes):
    return SceneObject(category, color, attributes, (x, 600.0, x + 50, 640.0), 1.0, 30.0)


@pytest.fixture(scope="module")
def facts():
    """A red sedan on the left, a blue one and a man on the right."""
    objects = [
        thing("car", "red", 100.0, body="sedan"),
        thing("car", "blue", 1800.0, body="sedan"),
        thing("person", "black", 1700.0, gender="man"),
    ]
    return Facts(objects, SIZE)


@pytest.mark.parametrize(
    ("meaning", "absent", "near"),
    [
        ((CAR, RED), False, True),  # there
        ((CAR, GREEN), True, True),  # a car that is not green
        ((CAR, RED, RIGHT), True, True),  # a red car, elsewhere
        ((CAR, GREEN, ("at", "top")), True, False),  # two things are wrong with every car
        ((BUS,), True, False),
        ((BUS, LEFT), True, False),  # something is on the left, but it is no bus
        ((("noun", "van"),), False, False),  # a car may be taken for a van
        ((("most", "leftmost", (CAR, GREEN)),), True, True),  # the leftmost car
        ((("most", "leftmost", (CAR,)), RIGHT), True, True),  # a car on the right, not the leftmost
        ((("most", "leftmost", (BUS,)),), True, False),
        # one person: what "the left person" means is in doubt
        ((("pair", "left", (("noun", "person"),)),), False, True),
        ((("gender", "woman"),), False, True),  # half a doubt
        ((("gender", "woman"), LEFT), True, False),  # and nobody is on the left
        ((("sign", "kind", "stop"),), True, False),  # there is no sign at all
    ],
)
def test_a_meaning_is_held_against_the_facts(facts, meaning, absent, near):
    assert is_absent(meaning, facts) == absent
    assert is_near_miss(meaning, facts) == near


def test_nothing_is_true_in_an_empty_scene():
    empty = Facts([], SIZE)
    assert is_absent((CAR,), empty) and not is_near_miss((CAR, RED), empty)


def said(ref, meaning, kind="attribute"):
    return Expression(ref, (0.0, 0.0, 1.0, 1.0), 0, kind, False, False, meaning)


def test_near_misses_come_first_and_kinds_take_turns(facts):
    others = [
        said("there", (CAR, RED)),
        *(said(f"far {i}", (BUS,)) for i in range(20)),
        *(said(f"near {i}", (CAR, GREEN)) for i in range(3)),
        said("placed", (CAR, RED, RIGHT), "position"),
        said("near 0", (CAR, GREEN)),  # the same words in two scenes
    ]
    for seed in range(5):
        taken = [e.ref for e in choose(facts, others, 6, np.random.default_rng(seed))]
        assert len(set(taken)) == 6 and {"near 0", "near 1", "near 2", "placed"} == set(taken[:4])
        assert "placed" in taken[:2] and all(ref.startswith("far") for ref in taken[4:])
        assert taken == [e.ref for e in choose(facts, others, 6, np.random.default_rng(seed))]
    fresh = choose(facts, others, 3, np.random.default_rng(0), {"near 0": 1, "near 1": 1})
    assert {e.ref for e in fresh} - {"near 2", "placed"} < {"near 0", "near 1"} and len(fresh) == 3
    assert [e.ref for e in choose(facts, others[:1], 3, np.random.default_rng(0))] == []


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("absent")
    scenes.write(out, 3, seed=9, size=SMALL)
    return out, write_absent(out, 3, 9, 4, size=SMALL)


def test_what_is_written_is_said_of_another_scene_and_true_of_nothing_in_this_one(written):
    out, count = written
    absent, rows = (json.loads((out / name).read_text()) for name in ("absent.json", "rows.json"))
    assert len(absent) == count == 12 and all(set(row) == {"image", "ref"} for row in absent)
    near = 0
    told = [scenes.render(9 * 1_000_003 + number, SMALL, 0).objects for number in range(3)]
    for number, objects in enumerate(told):
        name, facts = f"{number:06d}.jpg", Facts(objects, SMALL)
        here = [row["ref"] for row in absent if row["image"] == name]
        assert len(here) == len(set(here)) == 4
        for ref in here:
            assert {row["image"] for row in rows if row["ref"] == ref} - {name} != set()
            assert not any(row["image"] == name for row in rows if row["ref"] == ref)
            (meaning,) = {
                e.meaning
                for other, seen in enumerate(told)
                for e in _sentences(other, seen)
                if e.ref == ref and other != number
            }
            assert facts.all(meaning).max() == 0
            near += is_near_miss(meaning, facts)
    assert near >= 6


def _sentences(number, objects):
    rng = np.random.default_rng([9 * 1_000_003 + number, 4])
    return scenes.expressions(objects, SMALL, rng, 4)


def test_the_same_seed_writes_the_same_bytes(written, tmp_path):
    out, _ = written
    write_absent(tmp_path, 3, 9, 4, size=SMALL, workers=2)
    assert (tmp_path / "absent.json").read_bytes() == (out / "absent.json").read_bytes()


@pytest.mark.parametrize(("count", "each"), [(1, 3), (2, 0)])
def test_too_few_are_refused(tmp_path, count, each):
    with pytest.raises(InputError, match="at least"):
        write_absent(tmp_path, count, 1, each)
    assert list(tmp_path.iterdir()) == []
