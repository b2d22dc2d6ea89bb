"""Sentences that somebody wrote become rows about the objects of their photo."""

import pytest

from piza.errors import InputError
from piza.training.from_scratch.street_rows import read_written, written_rows

TOLD = [{"xyxy": [10.0, 10.0, 30.0, 30.0]}, {"xyxy": [50.0, 10.0, 70.0, 30.0]}]


def test_a_written_sentence_is_about_the_object_at_its_box(tmp_path):
    file = tmp_path / "written.jsonl"
    file.write_text('{"key": "dawn/a.jpg", "xyxy": [50.2, 10, 70, 30], "sentence": "The van by the wall."}\n')
    [row] = written_rows("dawn/a.jpg", TOLD, read_written(file)["dawn/a.jpg"])
    assert (row["index"], row["sentence"], row["xyxy"]) == (1, "The van by the wall.", TOLD[1]["xyxy"])
    assert row["relevance"] == ["??"] * 3


@pytest.mark.parametrize("told", [TOLD, []])
def test_a_sentence_about_no_object_is_refused(told):
    with pytest.raises(InputError, match=r"dawn/a\.jpg.*one of"):
        written_rows("dawn/a.jpg", told, [{"xyxy": [0, 0, 5, 5], "sentence": "The cat."}])
