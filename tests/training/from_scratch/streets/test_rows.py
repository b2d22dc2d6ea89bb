"""Sentences that somebody wrote become rows about the objects of their photo."""

import pytest

from piza.training.from_scratch.streets.rows import read_written, written_rows

TOLD = [{"xyxy": [10.0, 10.0, 30.0, 30.0]}, {"xyxy": [50.0, 10.0, 70.0, 30.0]}]


def test_a_written_sentence_is_about_the_object_at_its_box(tmp_path):
    file = tmp_path / "written.jsonl"
    file.write_text('{"key": "dawn/a.jpg", "xyxy": [50.2, 10, 70, 30], "sentence": "The van by the wall."}\n')
    [row] = written_rows("dawn/a.jpg", TOLD, read_written(file)["dawn/a.jpg"])
    assert (row["index"], row["sentence"], row["xyxy"]) == (1, "The van by the wall.", TOLD[1]["xyxy"])
    assert row["relevance"] == ["??"] * 3


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("with", [("The van by the wall.", 1), ("By the wall, the van.", 1), ("The cat.", 0)]),
        ("without", [("The van by the wall.", 1), ("The cat.", 0)]),
        ("only", [("By the wall, the van.", 1)]),
    ],
)
def test_the_same_in_other_words_is_another_row(tmp_path, which, expected):
    file = tmp_path / "written.jsonl"
    file.write_text(
        '{"key": "a", "xyxy": [50, 10, 70, 30], "sentence": "The van by the wall.", "reworded": ["By the wall, the van."]}\n'
        '{"key": "a", "xyxy": [10, 10, 30, 30], "sentence": "The cat."}\n'
    )
    rows = written_rows("a", list(TOLD), read_written(file, which)["a"])
    assert [(row["sentence"], row["index"]) for row in rows] == expected


@pytest.mark.parametrize("told", [TOLD, []])
def test_what_is_boxed_but_not_labeled_becomes_an_object(told):
    told = list(told)
    lines = [
        {"xyxy": [0, 0, 5, 5], "sentence": "The cat."},
        {"xyxy": None, "sentence": "The dog."},
        {"xyxy": [0, 0, 5, 4.9], "sentence": "The gray cat."},
    ]
    before = len(told)
    rows = written_rows("dawn/a.jpg", told, lines)
    assert [row["sentence"] for row in rows] == ["The cat.", "The gray cat."]
    assert [row["index"] for row in rows] == [before, before] and len(told) == before + 1
    assert rows[0]["relevance"] == ["?" * (before + 1)] * 3
