"""POST /locate and /batch, GET /health, /metrics and /openapi.json."""

import base64
import io
import json
import threading

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from PIL import Image
from tests.server.conftest import PNG, client_of, png, post
from tests.server.fake_model import answer

from piza.errors import InputError
from piza.image import open_image

ENCODED = base64.b64encode(PNG).decode()


def test_one_sentence_is_answered_as_the_command_line_prints_it(client):
    answered = post(client, sentences="the red car")
    assert answered.status_code == 200
    image = open_image(Image.open(io.BytesIO(PNG)))
    assert answered.json() == answer(image, "the red car").to_dict()


def test_several_sentences_get_a_list_in_their_order(client):
    found = post(client, sentences=["the red car", "the blue sign"]).json()
    assert [one["expression"] for one in found] == ["the red car", "the blue sign"]


@pytest.mark.parametrize(
    "sentences",
    [
        '["the red car", "the blue sign"]',
        "the red car\nthe blue sign\n",
        "the red car\r\n\r\n the  blue sign ",
    ],
)
def test_one_value_of_several_sentences_is_split(client, model, sentences):
    assert len(post(client, sentences=sentences).json()) == 2
    assert model.calls[0]["sentences"] == ["the red car", "the blue sign"]
    body = {"image": ENCODED, "sentences": sentences}
    assert len(client.post("/locate", json=body).json()) == 2


def test_a_sentence_may_begin_with_a_bracket(client, model):
    for sentences in ("[EXIT] sign on the left", ["[EXIT] sign on the left"]):
        assert post(client, sentences=sentences).status_code == 200
    assert [call["sentences"] for call in model.calls] == [["[EXIT] sign on the left"]] * 2
    assert post(client, sentences='["cut off').status_code == 400


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("field", ["image", "picture"])
def test_json_with_base64_is_answered_like_a_form(client, prefix, field):
    body = {field: prefix + ENCODED, "sentences": "the red car"}
    assert client.post("/locate", json=body).json() == post(client, sentences="the red car").json()


def test_options_reach_the_model_as_they_are_named_in_python(client, model):
    options = dict(greedy=True, whole_frame=False, budget=3, accept_threshold=0.5, max_looks=2, min_score=0.2)
    texts = {name: str(value).lower() for name, value in options.items()}
    assert post(client, sentences="the car", **texts).status_code == 200
    client.post("/locate", json={"image": ENCODED, "sentences": "the car", **options})
    for call in model.calls:
        assert {name: call[name] for name in options} == options
    post(client, sentences="the car", budget="")
    assert model.calls[-1] == {"sentences": ["the car"]}
    post(client, sentences="the car", model="other")
    assert len(model.calls) == 3


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "`sentences` is missing"),
        ({"sentences": " "}, "the sentence is empty"),
        ({"sentences": ["a"] * 101}, "at most 100"),
        ({"sentences": "a\n" * 101}, "at most 100"),
        ({"sentences": ['["a", 3]']}, "JSON list of sentences"),
        ({"sentences": ['{"a": 3}']}, "JSON list of sentences"),
        ({"sentences": ["[a, b]"]}, "JSON list of sentences"),
        ({"sentences": "x" * 1001}, "at most 1000 characters"),
        ({"sentences": "a\x00b"}, "control characters"),
        ({"sentences": "a", "sentence": "b"}, "no field 'sentence'"),
        ({"sentences": "a", "max_steps": "2"}, "no field 'max_steps'"),
        ({"sentences": "a", "model": "../../secret"}, "there is quick, other"),
        ({"sentences": "a", "budget": "0"}, "from 1 to 100, got '0'"),
        ({"sentences": "a", "budget": "2.5"}, "a whole number"),
        ({"sentences": "a", "budget": "9" * 400}, "a whole number"),
        ({"sentences": "a", "max_looks": "1e400"}, "a whole number"),
        ({"sentences": "a", "accept_threshold": "nan"}, "from 0 to 1, got 'nan'"),
        ({"sentences": "a", "min_score": "1e400"}, "from 0 to 1"),
        ({"sentences": "a", "greedy": "maybe"}, "true or false"),
        ({"sentences": "a", "greedy": ["true", "false"]}, "given twice"),
        ({"sentences": "a", "image": b""}, "'a photo.png' is empty"),
        ({"sentences": "a", "image": b"GIF89a, or so"}, "'a photo.png'"),
        ({"sentences": "a", "image": PNG[:300]}, "'a photo.png' is damaged"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(client, model, fields, words):
    refused = post(client, **fields)
    error = refused.json()["error"]
    assert refused.status_code == 400 and words in error and "\n" not in error
    assert "/" not in error.replace("../../secret", "") and not model.calls


def body(**values):
    return json.dumps({"image": ENCODED, "sentences": "a", **values}).encode()


@pytest.mark.parametrize(
    "kind, content, words",
    [
        ("application/json", b"{", "not valid JSON"),
        ("application/json", b"[" * 100_000, "not valid JSON"),
        ("application/json", b"[]", "expected a JSON object"),
        ("application/json", body().replace(b'"a"', b'"a", "sentences": "b"'), "'sentences' is given twice"),
        ("application/json", b'{"sentences": "a"}', "in base64"),
        ("application/json", b'{"sentences": "a", "image": "!!!"}', "not valid base64"),
        ("application/json", b'{"sentences": 3, "image": "QUJD"}', "a sentence or a list"),
        ("application/json", b'{"sentences": "\\ud800", "image": "QUJD"}', "not valid JSON"),
        ("application/json", body(budget=10**400), "`budget`: expected a whole number"),
        ("application/json", body().replace(b'"a"', b'"a", "budget": 1' + b"0" * 5000), "not valid JSON"),
        ("application/json", body().replace(b'"a"', b'"a", "budget": 1e400'), "`budget`: expected a whole number"),
        ("application/json", body().replace(b'"a"', b'"a", "min_score": 1e400'), "`min_score`: expected a number"),
        ("application/json", body().replace(b'"a"', b'"a", "min_score": NaN'), "`min_score`: expected a number"),
        ("application/json", body(budget=True), "`budget`: expected a whole number"),
        ("application/json", body(budget=[1]), "`budget`: expected a whole number"),
        ("application/json", body(model=3), "`model`"),
        ("multipart/form-data", b"", "oundary"),
        ("multipart/form-data; boundary=x", b"hello", "form cannot be read"),
        ("text/plain", b"hello", "got 'text/plain'"),
        ("", b"hello", "got 'no content type'"),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused_in_one_sentence(client, kind, content, words):
    refused = client.post("/locate", content=content, headers={"content-type": kind} if kind else {})
    assert refused.status_code == 400 and words in refused.json()["error"]


def test_a_body_that_begins_with_a_byte_order_mark_is_read(client):
    json_kind = {"content-type": "application/json"}
    assert client.post("/locate", content=b"\xef\xbb\xbf" + body(), headers=json_kind).status_code == 200
    packed = client.post("/locate", content=body(), headers={**json_kind, "content-encoding": "gzip"})
    assert packed.status_code == 400 and "in the encoding 'gzip'" in packed.json()["error"]


@pytest.mark.parametrize("path, left", [("/locate", 1), ("/locate", 4), ("/batch", 6), ("/locate", 60)])
def test_a_form_whose_end_is_missing_is_refused(client, model, path, left):
    parts = [("image", PNG), ("sentences", b"the red car"), ("greedy", b"true")]
    named = {"image": b'image"; filename="a.png'}
    content = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (named.get(name, name.encode()), value)
        for name, value in parts
    )
    kind = {"content-type": "multipart/form-data; boundary=x"}
    whole = content + b"--x--\r\n"
    assert client.post("/locate", content=whole, headers=kind).status_code == 200
    model.calls.clear()
    refused = client.post(path, content=(content + b"--x--")[:-left], headers=kind)
    assert refused.status_code == 400 and "form cannot be read" in refused.json()["error"] and not model.calls


def test_health_answers_head_as_balancers_ask(client):
    answered = client.head("/health")
    assert answered.status_code == 200 and answered.content == b""


def test_a_file_as_a_sentence_and_a_text_as_an_image(client):
    swapped = client.post("/locate", files={"sentences": ("a.txt", b"a")}, data={"image": "photo.jpg"})
    assert swapped.status_code == 400 and "must be" in swapped.json()["error"]
    two = client.post("/locate", files=[("image", ("a.png", PNG))] * 2, data={"sentences": "a"})
    assert two.status_code == 400 and "/batch" in two.json()["error"]


def test_what_a_model_refuses_is_bad_input_and_what_breaks_is_not(client, model, caplog):
    model.fails = InputError("the sentence is too long")
    refused = post(client, sentences="the car")
    assert (refused.status_code, refused.json()) == (400, {"error": "the sentence is too long"})
    model.fails = RuntimeError("tensor of 3 x 4 at /some/where")
    broken = post(client, sentences="the car")
    assert broken.status_code == 500 and "tensor" not in broken.text and list(broken.json()) == ["error"]
    assert "tensor of 3 x 4" in caplog.text
    model.fails = None
    assert post(client, sentences="the car").status_code == 200


def test_a_batch_asks_all_sentences_of_every_image(client, model):
    files = [("image", ("a.png", PNG)), ("image", ("a.png", png(60, 40))), ("image", ("c.png", b"no image"))]
    answers = client.post("/batch", files=files, data={"sentences": ["x", "y"], "budget": "3"}).json()[
        "answers"
    ]
    assert [(one["image"], one["name"]) for one in answers] == [(0, "a.png"), (1, "a.png"), (2, "c.png")]
    assert [result["frame_size"] for result in answers[1]["results"]] == [[60, 40]] * 2
    assert answers[0]["error"] is None and answers[2]["results"] is None and "'c.png'" in answers[2]["error"]
    assert [call["budget"] for call in model.calls] == [3, 3]


def test_a_batch_of_pairs_as_json_and_as_a_form(client):
    pairs = [{"image": ENCODED, "sentences": "x", "name": "one"}, {"image": ENCODED, "sentences": ["y", "z"]}]
    answers = client.post("/batch", json={"items": pairs}).json()["answers"]
    assert [[result["expression"] for result in one["results"]] for one in answers] == [["x"], ["y", "z"]]
    assert [one["name"] for one in answers] == ["one", "the image"]
    files = [("image", ("a.png", PNG)), ("image", ("b.png", PNG))]
    items = [
        {"image": 1, "sentences": "x"},
        {"image": 0, "sentences": ["y"]},
        {"image": 1, "sentences": ["z"]},
    ]
    answers = client.post("/batch", files=files, data={"items": json.dumps(items)}).json()["answers"]
    assert [(one["image"], one["name"], one["results"][0]["expression"]) for one in answers] == [
        (1, "b.png", "x"),
        (0, "a.png", "y"),
        (1, "b.png", "z"),
    ]


@pytest.mark.parametrize(
    "count, fields, words",
    [
        (0, {"sentences": "a"}, "expected 1 to 32 files"),
        (33, {"sentences": "a"}, "expected 1 to 32 files"),
        (1, {}, "either `sentences`"),
        (1, {"sentences": "a", "items": "[]"}, "either `sentences`"),
        (1, {"items": "[]"}, "1 to 32 items"),
        (1, {"items": "{"}, "not valid JSON"),
        (1, {"items": '[{"image": 0, "sentences": "a"}], "items": []'}, "not valid JSON"),
        (1, {"items": '[{"image": 0, "sentences": "a", "image": 1}]'}, "'image' is given twice"),
        (3, {"items": '[{"image": 0, "sentences": "a"}, {"image": 2, "sentences": "a"}]'}, "does not name image 1"),
        (1, {"items": '[{"image": 1, "sentences": "a"}]'}, "only 1 were uploaded"),
        (1, {"items": '[{"image": -1, "sentences": "a"}]'}, "items.0.image"),
        (1, {"items": '[{"image": 0, "sentences": ""}]'}, "the sentence is empty"),
        (1, {"items": '[{"image": 0, "sentences": "a", "file": "/etc/passwd"}]'}, "items.0.file"),
        (32, {"sentences": ["a"] * 13}, "at most 400 sentences"),
    ],
)  # fmt: skip
def test_a_bad_batch_is_refused(client, count, fields, words):
    files = [("image", (f"{number}.png", PNG)) for number in range(count)] or [("x", ("", b""))]
    if not count:
        refused = client.post("/batch", data=fields, files={"sentences": (None, "a")})
    else:
        refused = client.post("/batch", data=fields, files=files)
    assert refused.status_code == 400 and words in refused.json()["error"]


def test_one_search_at_a_time_and_no_more_waiting_than_the_queue_takes(model):
    model.wait = threading.Event()
    with client_of(model, queue_size=0) as client:
        statuses = []
        first = threading.Thread(target=lambda: statuses.append(post(client, sentences="a").status_code))
        first.start()
        assert model.began.wait(30)
        health = client.get("/health").json()
        assert (health["searching"], health["waiting"], health["queue_size"]) == (True, 0, 0)
        full = post(client, sentences="a")
        assert full.status_code == 503 and full.headers["retry-after"] and "busy" in full.json()["error"]
        assert post(client, sentences="a", model="other").status_code == 200
        model.wait.set()
        first.join(60)
        assert statuses == [200]
        assert client.get("/health").json()["searching"] is False
    assert len(model.calls) == 1


def test_time_is_up_while_searching_and_while_waiting(model):
    model.wait = threading.Event()
    with client_of(model, seconds=1.5) as client:
        first = post(client, sentences=["a"] * 30)
        second = post(client, sentences="b")
        assert first.status_code == second.status_code == 504
        assert "within 1.5 seconds" in first.json()["error"]
        model.wait.set()
        while client.get("/health").json()["searching"]:
            pass
        assert post(client, sentences="c").status_code == 200
    # The first was given up after the sentences it had begun with, and the second never began.
    assert [len(call["sentences"]) for call in model.calls] == [8, 1]


def test_metrics_count_what_was_answered(client):
    post(client, sentences=["a", "b"])
    post(client, sentences="")
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'piza_requests_total{method="POST",route="/locate",status="200"} 1' in text
    assert 'piza_requests_total{method="POST",route="/locate",status="400"} 1' in text
    assert 'piza_requests_total{method="GET",route="none",status="404"} 1' in text
    assert 'piza_sentences_total{model="quick"} 2' in text
    assert 'piza_search_seconds_bucket{model="quick",le="+Inf"} 1' in text
    assert 'piza_searches_waiting{model="quick"} 0' in text
    for line in text.splitlines():
        assert line.startswith("#") or (len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0)


def test_the_openapi_document_describes_the_routes_and_needs_no_network(client):
    document = client.get("/openapi.json").json()
    assert {"/locate", "/batch", "/health", "/metrics"} <= set(document["paths"])
    content = document["paths"]["/locate"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    names = set(content["application/json"]["schema"]["properties"])
    assert names == {
        "image",
        "sentences",
        "model",
        "budget",
        "accept_threshold",
        "max_looks",
        "greedy",
        "min_score",
        "whole_frame",
    }
    assert names == set(content["multipart/form-data"]["schema"]["properties"])
    assert content["multipart/form-data"]["schema"]["properties"]["budget"]["anyOf"][0]["maximum"] == 100
    assert "$defs" not in json.dumps(document)
    docs = client.get("/docs").text
    assert "//" not in docs and "docs.js" in docs


def test_a_result_is_what_the_document_says(client):
    from piza.server.schemas import ResultAnswer

    ResultAnswer.model_validate(post(client, sentences="a").json())


def test_every_answer_has_a_request_id(client):
    assert client.get("/health", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/nowhere", headers={"X-Request-Id": "a b\x07"}).headers["x-request-id"]
    assert len(made) == 16 and made != client.get("/nowhere").headers["x-request-id"]
