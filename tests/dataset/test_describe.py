"""Sentences about proposals: by a server that speaks the protocol, in all its moods, and by the generator."""

import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from tests.dataset.chat_server import chat_server, completion, sentences

from piza.cli.main import main
from piza.dataset.asking import MAX_FAILED
from piza.dataset.endpoint import Endpoint, EndpointConfig
from piza.dataset.questions import Prompt, fill, read_prompt, sentences_in
from piza.dataset.records import Described, Proposal, proposal_id, read_records, write_records
from piza.errors import InputError

pytest.importorskip("openai", reason="the endpoint is asked by the package openai")
NOW = {"Retry-After": "0"}
KEY = "sk-secret-123"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with two photos and six proposals, and the key in the environment."""
    photos = tmp_path / "photos"
    photos.mkdir()
    given = []
    for name in ("a.png", "b.png"):
        pixels = np.random.default_rng(len(given)).integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(photos / name)
        for n in range(3):
            box = (10.0 + 20 * n, 20.0, 12.0, 10.0)
            identity = proposal_id(name, box)
            given.append(Proposal(identity, name, 80, 60, box, "car", 0.9, "mini", ("color=red",), "small"))
    write_records(tmp_path / "p.jsonl", given)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return given


def describe(url, *arguments, out="d.jsonl"):
    options = [
        "--images",
        "photos",
        "--out",
        out,
        "--endpoint",
        url,
        "--model",
        "m",
        "--retries",
        "2",
        *arguments,
    ]
    return main(["data", "describe", "p.jsonl", *options])


def described(out="d.jsonl"):
    return read_records(out, Described)


def box_asked_for(body):
    """The left side of the box that a question is about, found by its mark in the first picture."""
    uri = body["messages"][0]["content"][1]["image_url"]["url"]
    picture = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    ).astype(int)
    return picture.shape


def test_each_thing_is_asked_once_and_described_in_order(work, capsys):
    with chat_server(lambda number, body: sentences(f"The red car number {number}.", "It stands there")) as (
        url,
        chat,
    ):
        assert describe(url) == 0
        assert [r.id for r in described()] == [p.id for p in work]
        first = described()[0].sentences
        assert first[0].text.startswith("The red car") and first[1].text == "It stands there."
        assert (first[0].by, first[0].prompt) == ("m", "sorec.txt")
        path, body, _ = chat.asked[0]
        text, frame, close = body["messages"][0]["content"]
        assert (
            path == "/v1/chat/completions" and "red" in text["text"] and "Write 2 different" in text["text"]
        )
        assert all(part["image_url"]["url"].startswith("data:image/jpeg;base64,") for part in (frame, close))
        assert box_asked_for(body)[2] == 3
        assert len(chat.asked) == 6 and chat.keys[0] == f"Bearer {KEY}"
        capsys.readouterr()
        assert describe(url) == 0 and len(chat.asked) == 6
        assert "6 things were described before" in capsys.readouterr().err
        # The answers are kept: even with the descriptions lost, nothing is asked again.
        answers = "d.jsonl.answers.jsonl"
        before = described()
        assert describe(url, "--answers", answers, out="again.jsonl") == 0
        assert described("again.jsonl") == before and len(chat.asked) == 6
        assert KEY not in open(answers).read() + open("d.jsonl").read()


def test_parallel_questions_and_their_limit(work):
    meet = threading.Barrier(3)

    def answer(number, body):
        meet.wait(timeout=20)  # three are here at once, or this fails
        return sentences("A car.")

    with chat_server(answer) as (url, chat):
        assert describe(url, "--parallel", "3") == 0
        assert chat.most_at_once == 3


def test_a_question_that_is_on_the_way_is_not_asked_again(tmp_path):
    def slow(number, body):
        time.sleep(0.3)
        return sentences("A car.")

    with chat_server(slow) as (url, chat):
        with Endpoint(EndpointConfig(url=url, model="m"), tmp_path / "a.jsonl", KEY) as endpoint:
            with ThreadPoolExecutor(4) as pool:
                found = list(
                    pool.map(lambda _: endpoint.ask("k", [{"role": "user", "content": "?"}]), range(4))
                )
        assert len(chat.asked) == 1 and len({one.content for one in found}) == 1


def test_rate_limit(work):
    with chat_server(lambda number, body: sentences("A car.")) as (url, chat):
        begun = time.monotonic()  # a question may be received late, but not before it may be asked
        assert describe(url, "--per-minute", "600") == 0
        assert chat.asked[-1][2] - begun > 5 * 0.1


def test_limits_stop_the_run_and_the_next_goes_on(work, capsys):
    with chat_server(lambda number, body: sentences(f"Car {number}.")) as (url, chat):
        assert describe(url, "--max-questions", "2") == 1
        assert len(chat.asked) == len(described()) == 2
        assert "2 questions were asked; run it again" in capsys.readouterr().err
        # Each answer costs 1000 * 1 / 1e6 + 50 * 20 / 1e6 = 0.002, those of before included.
        prices = ["--price-in", "1", "--price-out", "20"]
        assert describe(url, "--max-cost", "0.007", *prices) == 1
        assert len(chat.asked) == 3
        assert "cost 0.006" in capsys.readouterr().err
        assert describe(url) == 0
        assert len(chat.asked) == 6 and len(described()) == 6


def test_cost_limit_holds_when_many_are_asked_at_once(work):
    with chat_server(lambda number, body: sentences("A car.")) as (url, chat):
        assert describe(url, "--parallel", "6", "--max-cost", "0.005", "--price-in", "2") == 1
        assert len(chat.asked) == 2


def test_a_cost_that_is_not_told_cannot_be_limited(work, capsys):
    silent = {**sentences("A car."), "usage": None}
    with chat_server(lambda number, body: silent) as (url, chat):
        assert describe(url, "--parallel", "1", "--max-cost", "1", "--price-in", "1") == 2
        assert len(chat.asked) == 1 and "max_cost cannot be kept" in capsys.readouterr().err


def test_an_answer_that_a_lower_limit_cut_off_is_asked_for_again(work):
    cut = completion('{"sentences": ["A', finish="length", tokens=(10, 9))
    with chat_server(lambda number, body: cut if body["max_tokens"] < 99 else sentences("A car.")) as (
        url,
        chat,
    ):
        kept = ["--answers", "answers.jsonl"]
        for limit, out, asked in (
            ("9", "a.jsonl", 6),
            ("9", "b.jsonl", 6),
            ("99", "c.jsonl", 12),
            ("99", "d.jsonl", 12),
        ):
            assert describe(url, "--max-tokens", limit, *kept, out=out) == 0
            assert len(chat.asked) == asked
        assert sum(len(one.sentences) for one in described("d.jsonl")) == 6


def test_busy_server_is_asked_again(work):
    moods = {1: 429, 2: 500, 4: 503}

    def answer(number, body):
        if number in moods:
            return moods[number], {"error": {"message": "busy"}}, NOW
        return sentences("A car.")

    with chat_server(answer) as (url, chat):
        assert describe(url, "--parallel", "1") == 0
        assert len(chat.asked) == 9 and len(described()) == 6


def test_an_answer_that_was_cut_off_may_be_paid_and_is_not_asked_again(work, capsys):
    half = json.dumps(sentences("A car.")).encode()[:40]
    with chat_server(lambda number, body: (200, half, {"Content-Length": "400", "Connection": "close"})) as (
        url,
        chat,
    ):
        assert describe(url, "--parallel", "1", "--retries", "3") == 2
        error = capsys.readouterr().err
        assert "an answer that was cut off" in error and len(chat.asked) == MAX_FAILED


def test_a_server_that_calls_the_limit_otherwise_is_asked_so(work):
    def answer(number, body):
        if "max_tokens" in body:
            return (
                400,
                {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}},
                NOW,
            )
        assert body["max_completion_tokens"] == 900
        return sentences("A car.")

    with chat_server(answer) as (url, chat):
        assert describe(url, "--parallel", "4", "--retries", "0", "--max-tokens", "900") == 0
        assert 7 <= len(chat.asked) <= 10 and len(described()) == 6  # four were on the way


@pytest.mark.parametrize("option", [["--mirrored"], ["--seed", "3"], ["--tiles", "1"], ["--maybe", "0.2"]])
def test_what_the_generator_alone_heeds_is_refused(work, capsys, option):
    assert describe("http://127.0.0.1:9/v1", *option) == 2
    assert f"{option[0]} is for the generator" in capsys.readouterr().err


def test_down(work, capsys):
    assert describe("http://127.0.0.1:9/v1", "--retries", "0") == 2
    error = capsys.readouterr().err
    assert "the model 'm' at 127.0.0.1:9 cannot be reached" in error and error.count("\n") == 1


@pytest.mark.parametrize("status", [401, 404, 429])
def test_not_let_in(work, capsys, status):
    said = {"error": {"message": f"no, not with {KEY}, go away"}}
    with chat_server(lambda number, body: (status, said, NOW)) as (url, chat):
        assert describe(url, "--parallel", "1") == 2
        error = capsys.readouterr().err
        assert f"HTTP error {status}: no, not with ***, go away" in error and KEY not in error
        assert len(chat.asked) <= (6 if status == 429 else 2)


def test_redirect_does_not_take_the_key_along(work, capsys):
    with chat_server(lambda number, body: sentences("A car.")) as (other, stranger):
        with chat_server(lambda n, b: (307, {}, {"Location": f"{other}/chat/completions"})) as (url, _):
            assert describe(url) == 2
        assert not stranger.asked
    assert "HTTP error 307" in capsys.readouterr().err


def test_one_thing_refused_by_the_server_is_left_for_the_next_run(work, capsys):
    def answer(number, body):
        return (400, {"error": {"message": "bad image"}}, {}) if number == 2 else sentences("A car.")

    with chat_server(answer) as (url, chat):
        assert describe(url, "--parallel", "1") == 1
        error = capsys.readouterr().err
        assert "a.png" in error and "HTTP error 400: bad image" in error
        assert len(described()) == 5
        assert describe(url, "--parallel", "1") == 0
        assert len(described()) == 6 and len(chat.asked) == 7


BROKEN = {
    "half a JSON": b'{"choices": [{"message": {"cont',
    "a page": b"<html>hello</html>",
    "another format": {"answer": "hello"},
    "no choice": {"choices": []},
    "server error": (500, b"Internal", NOW),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers_stop_the_run_after_some(work, capsys, name):
    with chat_server(lambda number, body: BROKEN[name]) as (url, chat):
        assert describe(url, "--parallel", "1", "--retries", "0") == 2
        assert "failed 5 times in a row" in capsys.readouterr().err
        assert len(chat.asked) <= 6 and not described()


def test_slow_server(work, capsys):
    slow = threading.Event()

    def answer(number, body):
        if number == 1:
            slow.wait(20)
        return sentences("A car.")

    with chat_server(answer) as (url, chat):
        begin = time.monotonic()
        assert describe(url, "--timeout", "0.5") == 1
        assert time.monotonic() - begin < 15
        slow.set()
        assert "no answer in 0.5 seconds" in capsys.readouterr().err
        assert (
            len(chat.asked) == 6 and len(described()) == 5
        )  # not asked again by itself: it may have been paid


NO_SENTENCE = {
    "refused": (completion(None, refusal="I cannot help with that."), "refused", 6),
    "filtered": (completion("", finish="content_filter"), "refused", 6),
    "prose": (completion("The car is red."), "answered without JSON", 12),  # and is reminded once
    "cut off": (completion('{"sentences": ["The red', finish="length"), "was cut off", 6),
    "sees nothing": (completion('{"sentences": []}'), "saw nothing to describe", 6),
    "empty": (completion(""), "answered without JSON", 6),
}


@pytest.mark.parametrize("name", NO_SENTENCE)
def test_answers_without_a_sentence_are_told_and_paid_once(work, capsys, name):
    body, why, asked = NO_SENTENCE[name]
    with chat_server(lambda number, request: body) as (url, chat):
        assert describe(url) == 0
        assert f"6 things without a sentence: {why}" in capsys.readouterr().err
        assert [r.sentences for r in described()] == [()] * 6
        assert describe(url) == 0 and describe(url, "--answers", "d.jsonl.answers.jsonl", out="e.jsonl") == 0
        assert len(chat.asked) == asked


def test_prose_is_followed_by_a_reminder(work):
    def answer(number, body):
        return completion("Sure! A car.") if len(body["messages"]) == 1 else sentences("A car.")

    with chat_server(answer) as (url, chat):
        assert describe(url, "--parallel", "1") == 0
        assert [m["role"] for m in chat.asked[1][1]["messages"]] == ["user", "assistant", "user"]
        assert all(r.sentences[0].text == "A car." for r in described())


def test_killed_between_answer_and_description(work):
    """The answer was paid, the description not written: the next run takes the answer from the file."""
    with chat_server(lambda number, body: sentences(f"Car {number}.")) as (url, chat):
        assert describe(url) == 0
        lines = open("d.jsonl").read().splitlines(keepends=True)
        with open("d.jsonl", "w") as file:
            file.write("".join(lines[:2]) + lines[2][:40])
        assert describe(url) == 0
        assert open("d.jsonl").read() == "".join(lines) and len(chat.asked) == 6


def test_photos_that_vanish_or_change(work, tmp_path, capsys):
    (tmp_path / "photos" / "a.png").unlink()
    Image.new("RGB", (90, 60)).save(tmp_path / "photos" / "b.png")
    with chat_server(lambda number, body: sentences("A car.")) as (url, chat):
        assert describe(url) == 1
        error = capsys.readouterr().err
        assert "no image 'a.png'" in error and "90 x 60 pixels, but its proposals are for 80 x 60" in error
        assert not chat.asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--endpoint", "ftp://x", "--model", "m"], "such as http://localhost:8000/v1, got 'ftp://x'"),
        (["--endpoint", "http://user:pw@x/v1", "--model", "m"], "got 'x/v1'"),
        (["--endpoint", "http://x/v1"], "--endpoint needs --model"),
        (["--prompt", "short"], "--prompt needs --endpoint"),
        (["--endpoint", "http://x/v1", "--model", "m", "--prompt", "none.txt"], "no prompt 'none.txt'"),
        (["--endpoint", "http://x/v1", "--model", "m", "--max-cost", "3"], "max_cost needs the prices"),
        (["--endpoint", "http://x/v1", "--model", "m", "--temperature", "3"], "temperature"),
    ],
)
def test_command_line_refuses(work, capsys, arguments, message):
    assert main(["data", "describe", "p.jsonl", "--images", "photos", "--out", "d.jsonl", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "pw" not in error


def test_another_model_or_prompt_is_refused(work, tmp_path, capsys):
    with chat_server(lambda number, body: sentences("A car.")) as (url, chat):
        assert describe(url) == 0
        assert describe(url, "--model", "other") == 2
        assert describe(url, "--prompt", "short") == 2
        assert "d.jsonl' was begun with" in capsys.readouterr().err
        own = tmp_path / "mine.txt"
        own.write_text("About the $category: $count sentences, for $$1.")
        assert describe(url, "--prompt", str(own), "--prompt", "short", out="own.jsonl") == 0
        texts = [body["messages"][0]["content"][0]["text"] for _, body, _ in chat.asked[6:]]
        assert len(texts) == 12 and texts.count("About the car: 2 sentences, for $1.") == 6


def test_prompts(tmp_path):
    for name in ("sorec", "short"):
        assert "$count" in read_prompt(name).text
    bad = tmp_path / "bad.txt"
    for text, message in (("$color", r"names \$color"), ("costs 5$", "begins no name"), (" ", "is empty")):
        bad.write_text(text)
        with pytest.raises(InputError, match=message):
            read_prompt(bad)
    proposal = Proposal("1", "a", 9, 9, (1, 1, 2, 2), "", 1.0, "x", (), "")
    assert fill(Prompt("p", "$category|$attributes|$count"), proposal, 3) == "unknown||3"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"sentences": ["A car", "a bus!"]}', ["A car.", "a bus."]),
        ('Sure:\n```json\n{"sentences": ["A car."]}\n```', ["A car."]),
        ('["A car.", "A car.", " ", "1"]', ["A car."]),
        ('<think>["no"]</think>{"result": {"sentences": "A\\n car."}}', ["A car."]),
        ('[{"sentence": "A car."}, {"text": "A bus."}]', ["A car.", "A bus."]),
        ('{"sentences": []}', []),
        ('{"sentences": ["' + "a" * 700 + '"]}', []),
        ("A car [red].", None),
        ('{"sentences": ["A car."', None),
        ('{"sentences": [1, 2]}', None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_sentences_in_answers(answer, expected):
    assert sentences_in(answer) == expected


def test_generator_describes_drawn_things_offline(tmp_path, monkeypatch, capsys):
    from piza.data import scenes

    monkeypatch.chdir(tmp_path)
    scenes.write(tmp_path / "s", 1, 11, size=(1536, 864))
    assert main(["data", "propose", "s/images", "--out", "p.jsonl", "--tiles", "1"]) == 0
    run = ["data", "describe", "p.jsonl", "--images", "s/images", "--tiles", "1", "--out"]
    assert main([*run, "d.jsonl"]) == 0
    records = described("d.jsonl")
    texts = [s.text for r in records for s in r.sentences]
    assert [r.id for r in records] == [p.id for p in read_records("p.jsonl", Proposal)]
    assert len(texts) >= 6 and all(text.endswith(".") for text in texts)
    assert {s.by for r in records for s in r.sentences} == {"generator"}
    # Stopped in the middle of a photo, it writes the same sentences.
    lines = open("d.jsonl").read().splitlines(keepends=True)
    (tmp_path / "d.jsonl").write_text("".join(lines[:3]))
    assert main([*run, "d.jsonl"]) == 0
    assert open("d.jsonl").read().splitlines(keepends=True) == lines
    (tmp_path / "s/images/000000.jpg").unlink()
    assert main([*run, "e.jsonl"]) == 1
    assert "no image" in capsys.readouterr().err


def test_files_of_another_step(work, capsys):
    assert main(["data", "describe", "photos", "--images", "photos", "--out", "d.jsonl"]) == 2
    write_records("w.jsonl", [])
    with open("rows.json", "w") as file:
        json.dump([{"image": "a.png", "bbox": [1, 2, 3, 4], "ref": "x", "id": 1}], file)
    assert main(["data", "describe", "rows.json", "--images", "photos", "--out", "d.jsonl"]) == 2
    assert "as in a file of rows" in capsys.readouterr().err
