"""What a model was never taught is said; what it was taught, in any form, is not."""

import numpy as np
import pytest

from piza.cli.common import describe
from piza.errors import InputError
from piza.model.io import load_folder, save_folder
from piza.model.known_words import read_known_words, unknown_words, write_known_words

KNOWN = {"the", "red", "car", "bus", "left", "of", "colored", "dark", "box", "pedestrian"}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The red car.", []),
        ("The zorgle left of the CAR", ["zorgle"]),
        ("the car's zorgle, the zorgles", ["zorgle", "zorgles"]),
        ("dark-colored cars, 2 boxes and a 50", ["and"]),
        ("красная машина", ["красная", "машина"]),
        ("a b c 3.5 !!!", []),
        ("the \U0001f418 left of the \u2603car", ["\U0001f418", "\u2603"]),
        (
            "the \u72ac, \u0915\u093e\u0930",
            ["\u72ac", "\u0915\u093e\u0930"],
        ),  # a dog; a car, with its vowel sign
        ("the \u2764\ufe0f car, 1\ufe0f\u20e3", ["\u2764"]),  # an emoji, and how to draw it
        ("the\u200bred car", ["thered"]),  # as tokenizers read it
        ("caf\u00e9 cafe\u0301", ["caf\u00e9"]),
        ("a \u00e9 3\u00b2 \u20ac % # &", []),
    ],
)
def test_unknown_words(sentence, expected):
    assert unknown_words(sentence, KNOWN) == expected


def test_words_of_a_folder(tmp_path):
    assert read_known_words(tmp_path) is None
    write_known_words(tmp_path, {"red": 3, "car": 900, "zorgle": 2})
    assert read_known_words(tmp_path) == {"car": 900, "red": 3}  # twice is not taught
    (tmp_path / "words.txt").write_text("red 3\ncar\n")
    with pytest.raises(InputError, match="line 2"):
        read_known_words(tmp_path)


def test_a_model_says_which_words_it_was_never_taught(tiny_listing_piza, tmp_path):
    picture = np.zeros((80, 100, 3), np.uint8)
    assert tiny_listing_piza.locate(picture, "the zorgle").unknown_words == []  # not recorded
    tiny_listing_piza.prompter.known_words = {"the": 9, "red": 9, "car": 9}
    save_folder(tiny_listing_piza, tmp_path / "m")
    loaded = load_folder(tmp_path / "m")
    known, unknown = loaded.locate(picture, ["the red car", "the zorgle car"])
    assert known.unknown_words == [] and "does not know" not in describe(known)
    assert unknown.to_dict()["unknown_words"] == ["zorgle"]
    assert "note   the model does not know: zorgle\n" in describe(unknown)


@pytest.mark.parametrize("count", ["\u00b2", "9" * 5000, "-3", "1e3", ""])
def test_a_count_that_is_none(tmp_path, count):
    (tmp_path / "words.txt").write_text(f"car 12\nred {count}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"words\.txt', line 2"):
        read_known_words(tmp_path)
