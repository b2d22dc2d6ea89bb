"""What recipes tell of first looks at drawn streets, of the model that is shipped."""

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "recipes"))

import first_look
import query_cover


@pytest.fixture
def told(monkeypatch, capsys):
    def run(recipe) -> dict[str, float]:
        monkeypatch.setattr(sys, "argv", ["recipe.py", "mini", "--count", "2"])
        recipe.main()
        return {
            name: float(share)
            for name, share in re.findall(r"^(.+?): (?:right )?([\d.]+)", capsys.readouterr().out, re.M)
        }

    return run


def test_most_of_what_a_sentence_weighs_has_a_query(told):
    """The list holds what a sentence means and what it places it by; it is longer than a scene has objects."""
    shares = told(query_cover)
    assert shares["alike"] > 80 and shares["anchor"] > 80


def test_a_first_look_is_mostly_right(told):
    shares = told(first_look)
    assert shares["all (16 rows)"] > 40
