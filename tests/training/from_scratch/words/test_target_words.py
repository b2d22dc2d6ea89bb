"""What a sentence says of its target is read off its head, never off what it is placed by."""

import pytest

from piza.training.from_scratch.words.target_words import head_of, target_words


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "The white car is positioned between a red vehicle and a bus.",
            {"category=car", "category=vehicle", "color=white"},
        ),
        (
            "The person wearing a red shirt and blue pants is standing near a white car and a tree.",
            {"category=person", "color=red", "upper=shirt", "trousers=blue", "pose=standing"},
        ),
        (
            "The traffic light, which is currently displaying a green signal, is mounted on a yellow pole.",
            {"category=traffic light", "state=green"},
        ),
        (
            "The object is a dark-colored vehicle, parked next to a red sign.",
            {"category=vehicle", "tone=dark"},
        ),
        (
            "The circular sign with a red border and a white arrow is above a blue car.",
            {"category=sign", "shape=round", "color=red", "color=white", "content=arrow"},
        ),
        ("The black rectangular object is mounted on a green pole.", {"color=black", "shape=rectangle"}),
    ],
)
def test_words_of_the_target(sentence, expected):
    assert set(target_words(sentence)) == expected


def test_head_ends_where_the_place_begins():
    assert head_of("The red car is parked behind a white van.") == "the red car"
    assert "van" not in head_of("The object is a bus, in front of a white van.")
