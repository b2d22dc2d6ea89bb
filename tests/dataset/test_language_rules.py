"""What is doubted in sentences without looking: the mark, the length, the language, and twins."""

import json

import pytest
from tests.conftest import SHARED

from piza.dataset.language_rules import (
    LANGUAGE,
    LONG,
    MARK,
    SHORT,
    LanguageRules,
    is_english,
    language_findings,
)
from piza.dataset.near_duplicates import twins


def kinds(text, **rules):
    return [finding.kind for finding in language_findings(text, LanguageRules(**rules))]


@pytest.mark.parametrize(
    "text",
    [
        "The car in the red box is parked.",
        "The person inside the bounding box wears a hat.",
        "The highlighted object is a blue sign on a pole.",
        "A small sign marked with a red rectangle.",
        "The hydrant outlined in red, next to a tree.",
        "The red box marks a small car on the road.",
        "The vehicle enclosed in the green box.",
        "The enlarged image shows a black dog.",
        "The sign indicated by the red bounding box.",
    ],
)
def test_a_sentence_that_speaks_of_the_mark_is_found(text):
    assert kinds(text) == [MARK]


@pytest.mark.parametrize(
    "text",
    [
        "The man next to the red box on the sidewalk.",
        "The yellow box truck behind the bus.",
        "The person standing in the box of the truck.",
        "The round sign with a red outline above the door.",
        "The sign encircled by a red border on the left.",
        "The person in the red telephone box.",
        "The white car on a road marked with orange traffic cones.",
        "The white vehicle with a boxy shape.",
    ],
)
def test_boxes_of_the_street_are_no_mark(text):
    assert kinds(text) == []


def test_length_is_counted_in_words():
    assert kinds("Red car.") == [SHORT] and kinds("The red car.", min_words=3) == []
    assert kinds("The car " + "of the man " * 30) == [LONG]


@pytest.mark.parametrize(
    "text",
    [
        "Das rote Auto steht links neben dem Bus vor der Kirche.",
        "La voiture rouge est garée à gauche du bus.",
        "El coche rojo está a la izquierda del autobús.",
        "L'auto rossa è parcheggiata a sinistra della chiesa.",
        "O carro vermelho está ao lado do ônibus.",
        "De rode auto staat links van de bus.",
        "Красная машина стоит слева от автобуса.",
        "红色的汽车在公共汽车的左边。",
        "赤い車はバスの左にあります。",
    ],
)
def test_another_language_is_found(text):
    assert LANGUAGE in kinds(text) and LANGUAGE not in kinds(text, english=False)


@pytest.mark.parametrize(
    "text", ["The café's sign.", "A VW bus, number 12.", "Red Müller truck, left lane.", "Hydrant"]
)
def test_english_with_foreign_names_is_english(text):
    assert is_english(text)


def test_real_sentences_raise_no_alarm():
    path = SHARED / "data/sorec/val.json"
    if not path.exists():
        pytest.skip("the rows of SOREC are not there")
    rows = json.loads(path.read_text())
    assert [row["ref"] for row in rows if kinds(row["ref"])] == []


def test_twins_are_found_within_a_photo_only():
    texts = [
        "The red car is positioned to the left of the bus.",
        "A red car, left of a bus.",
        "The red car is positioned to the right of the bus.",
        "The red car to the left of the bus.",
        "The red car that is located to the left of the big bus.",
    ]
    photos = ["a", "a", "a", "b", "a"]
    things = [1, 2, 3, 4, 1]
    found = [(one.first, one.second, one.same_thing) for one in twins(texts, photos, things)]
    assert found == [(0, 1, False), (0, 4, True)]


def test_a_number_tells_two_things_apart():
    numbers = [f"The bus with the number {number} on its front." for number in (13, 14, 13)]
    assert [one[:2] for one in twins(numbers, "aaa", (1, 2, 3))] == [(0, 2)]


def test_each_sentence_that_fits_another_thing_is_told():
    found = list(twins(["The red car."] * 4, "aaaa", (1, 1, 2, 2)))
    unsure = {place for one in found if not one.same_thing for place in one[:2]}
    assert unsure == {0, 1, 2, 3} and all(one.first < one.second for one in found)
