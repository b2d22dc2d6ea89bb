"""What a region shows by what people call it."""

import pytest

from piza.training.from_scratch.regions.kinds import head_of, kind_of

PHRASES = {
    "whole": (
        "silver hatchback from behind, lights on",
        "red and white sign, blurred",
        "dark parked car beside a tree",
        "dark car half hidden by the barrier",
        "traffic light glowing green",
        "street lamp",
        "two people on a motorbike, facing left",
    ),
    "part": (
        "side of a traffic light",
        "rear of a white truck cab, rust",
        "left half of an open window",
        "lit indicator lamp on a white vehicle",
        "blurred dark red car bottom",
        "white and black mirror of a bus",
        "white letters on a sign",
    ),
    "nothing": (
        "-",
        "bright sky between tree trunks",
        "road beside a parked car",
        "street lamp pole near a bridge railing",
        "gray",
        "light spot in dark foliage",
    ),
}


@pytest.mark.parametrize(("kind", "phrase"), [(kind, one) for kind, some in PHRASES.items() for one in some])
def test_kind(kind, phrase):
    assert kind_of(phrase) == kind


def test_head():
    assert head_of("Dark and blue windscreen of a car") == "windscreen"
    assert head_of("in front") == "front" and head_of("red, blue") == ""
