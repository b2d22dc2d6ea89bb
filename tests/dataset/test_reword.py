"""`piza data reword`: rows with the same sentences in other words."""

import json

import pytest
from tests.dataset.chat_server import chat_server, completion, sentences

from piza.cli.main import main

pytest.importorskip("openai", reason="the endpoint is asked by the package openai")
ROWS = [
    {"image": "a.jpg", "bbox": [1, 2, 3, 4], "ref": "The red car.", "id": 7, "category": "traffic"},
    {"image": "a.jpg", "bbox": [5, 6, 7, 8], "ref": "A sign worth $5.", "id": 3},
    {"image": "b.jpg", "bbox": [1, 1, 9, 9], "ref": "The red car.", "id": 9},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    return tmp_path


def reword(url, *arguments):
    return main(["data", "reword", "rows.json", "--out", "out.json", "--endpoint", url, "--model", "m", *arguments])  # fmt: skip


def told(folder):
    return json.loads((folder / "out.json").read_text())


def other_words(number, body):
    [part] = body["messages"][0]["content"]
    asked = part["text"]
    return (
        sentences("A car that is red", "The car in red.")
        if "The red car." in asked
        else sentences("$5: a sign.")
    )


def test_each_sentence_is_asked_once_and_its_words_become_rows(folder, capsys):
    with chat_server(other_words) as (url, chat):
        assert reword(url, "--count", "2") == 0
        assert len(chat.asked) == 2
        assert any(
            "A sign worth $5." in body["messages"][0]["content"][0]["text"] for _, body, _ in chat.asked
        )
        rows = told(folder)
        assert [(row["ref"], row["id"]) for row in rows] == [
            ("The red car.", 7),
            ("A car that is red.", 10),
            ("The car in red.", 11),
            ("A sign worth $5.", 3),
            ("$5: a sign.", 12),
            ("The red car.", 9),
            ("A car that is red.", 13),
            ("The car in red.", 14),
        ]  # fmt: skip
        assert rows[1]["category"] == "traffic" and rows[1]["bbox"] == ROWS[0]["bbox"]
        assert "3 rows and 5 in other words in out.json" in capsys.readouterr().out
        assert reword(url, "--count", "2") == 0 and told(folder) == rows and len(chat.asked) == 2
    assert main(["data", "check", "out.json"]) == 0


def test_ids_that_are_texts_and_missing_ones(folder):
    rows = [{**ROWS[0], "id": "x"}, {key: ROWS[1][key] for key in ("image", "bbox", "ref")}]
    (folder / "rows.json").write_text(json.dumps(rows))
    with chat_server(other_words) as (url, _):
        assert reword(url) == 0
    assert [row["id"] for row in told(folder)] == ["x", "x-1", 2, "2-1"]


def test_a_missing_id_is_none_that_is_there(folder):
    rows = [{**ROWS[0], "id": 2}, {key: ROWS[1][key] for key in ("image", "bbox", "ref")}]
    (folder / "rows.json").write_text(json.dumps(rows))
    with chat_server(other_words) as (url, _):
        assert reword(url) == 0
    assert sorted(row["id"] for row in told(folder)) == [2, 3, 4, 5]


def test_a_limit_keeps_what_was_said_and_the_next_run_goes_on(folder, capsys):
    with chat_server(other_words) as (url, chat):
        assert reword(url, "--max-questions", "1", "--parallel", "1") == 1
        assert len(told(folder)) == 5 and "run it again to go on" in capsys.readouterr().err
        assert reword(url) == 0
        assert len(told(folder)) == 6 and len(chat.asked) == 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (sentences("the red car"), "said the same again"),
        (completion("I cannot.", finish="content_filter"), "refused"),
        (completion('{"sent', finish="length"), "was cut off"),
    ],
)
def test_no_other_words_is_said_so(folder, capsys, answer, why):
    (folder / "rows.json").write_text(json.dumps(ROWS[:1]))
    with chat_server(lambda number, body: answer) as (url, _):
        assert reword(url) == 0
    assert told(folder) == ROWS[:1]
    assert f"1 sentences without other words: {why}" in capsys.readouterr().err


def test_one_that_fails_is_named_and_asked_again(folder, capsys):
    def answer(number, body):
        return other_words(number, body) if number != 1 else (400, {"error": {"message": "odd"}}, {})

    with chat_server(answer) as (url, _):
        assert reword(url, "--parallel", "1") == 1
        assert "'The red car.': HTTP error 400: odd" in capsys.readouterr().err
        assert len(told(folder)) == 4
        assert reword(url) == 0
        assert len(told(folder)) == 6


@pytest.mark.parametrize("out", ["rows.json", "gone/out.json"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(folder, capsys, out):
    with chat_server(other_words) as (url, chat):
        arguments = ["--out", out, "--endpoint", url, "--model", "m"]
        assert main(["data", "reword", "rows.json", *arguments]) == 2
        assert not chat.asked and json.loads((folder / "rows.json").read_text()) == ROWS
    assert capsys.readouterr().err.count("\n") == 1


def test_an_endpoint_that_is_not_there(folder, capsys):
    assert reword("http://127.0.0.1:9/v1", "--retries", "0") == 2
    assert "cannot be reached" in capsys.readouterr().err and not (folder / "out.json").exists()
