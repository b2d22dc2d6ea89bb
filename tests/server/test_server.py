import asyncio
import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from piza.cli.main import main
from piza.errors import InputError
from piza.server import app as serve

pytest.importorskip("gradio", reason="piza[serve] is not installed")

from fastapi.testclient import TestClient
from tests.server.fake_server_model import Quick, answer

from piza.image import open_image
from piza.server.api import Desk, api
from piza.server.queue import OneAtATime, TooLongError, read_asked, search
from piza.server.store import Kept, Shelf, preview


def png(width=120, height=80) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PNG = png()


@pytest.fixture
def model():
    return Quick()


def client_of(model, room=8, seconds=60.0, most_bytes=1_000_000):
    return TestClient(api(Desk({"quick": model, "other": Quick()}, OneAtATime(room, seconds), most_bytes)))


@pytest.fixture
def client(model):
    with client_of(model) as client:
        yield client


def post(client, picture=PNG, name="a photo.png", **fields):
    return client.post("/locate", files={"picture": (name, picture)}, data=fields)


def test_one_sentence_is_answered_as_the_command_line_prints_it(client):
    answered = post(client, sentences="the red car")
    assert answered.status_code == 200
    picture = open_image(Image.open(io.BytesIO(PNG)))
    assert answered.json() == answer(picture, "the red car").to_dict()


def test_several_sentences_get_a_list_in_their_order(client):
    found = post(client, sentences=["the red car", "the blue sign"]).json()
    assert [one["expression"] for one in found] == ["the red car", "the blue sign"]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_json_with_base64_is_answered_like_a_form(client, prefix):
    body = {"picture": prefix + base64.b64encode(PNG).decode(), "sentences": "the red car"}
    assert client.post("/locate", json=body).json() == post(client, sentences="the red car").json()


def test_choices_reach_the_model_for_this_request_only(client, model):
    own = model.config.search
    fields = dict(
        greedy="true",
        whole_frame="false",
        budget="3",
        accept_threshold="0.5",
        max_looks="2",
        min_score="0.2",
    )
    assert post(client, sentences="the car", **fields).status_code == 200
    call = model.calls[0]
    assert (call["greedy"], call["whole_frame"], call["max_looks"], call["min_score"]) == (
        True,
        False,
        2,
        0.2,
    )
    assert (call["budget"], call["accept_threshold"]) == (3, 0.5)
    assert model.config.search is own
    post(client, sentences="the car", model="other")
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "a sentence is wanted"),
        ({"sentences": " "}, "the sentence is empty"),
        ({"sentences": ["a"] * 101}, "at most 100"),
        ({"sentences": "a", "sentence": "b"}, "no field 'sentence'"),
        ({"sentences": "a", "model": "../../secret"}, "there is quick, other"),
        ({"sentences": "a", "budget": "0"}, "from 1 to 100, got '0'"),
        ({"sentences": "a", "budget": "2.5"}, "a whole number"),
        ({"sentences": "a", "accept_threshold": "nan"}, "from 0 to 1, got 'nan'"),
        ({"sentences": "a", "greedy": "maybe"}, "true or false"),
        ({"sentences": "a", "greedy": ["true", "false"]}, "given twice"),
        ({"sentences": "a", "picture": b""}, "'a photo.png' is empty"),
        ({"sentences": "a", "picture": b"GIF89a, or so"}, "'a photo.png'"),
        ({"sentences": "a", "picture": PNG[:300]}, "'a photo.png' is damaged"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(client, model, fields, words):
    refused = post(client, **fields)
    error = refused.json()["error"]
    assert refused.status_code == 400 and words in error and "\n" not in error
    assert "/" not in error.replace("../../secret", "") and not model.calls


@pytest.mark.parametrize(
    "kind, body, words",
    [
        ("application/json", b"{", "not valid JSON"),
        ("application/json", b"[" * 100_000, "not valid JSON"),
        ("application/json", b"[]", "a JSON object is wanted"),
        ("application/json", b'{"sentences": "a"}', "in base64"),
        ("application/json", b'{"sentences": "a", "picture": "!!!"}', "not valid base64"),
        ("application/json", b'{"sentences": 3, "picture": "QUJD"}', "a sentence or a list"),
        ("application/json", b'{"sentences": "\\ud800", "picture": "QUJD"}', "not valid Unicode"),
        ("multipart/form-data", b"", "oundary"),
        ("text/plain", b"hello", "got 'text/plain'"),
        ("", b"hello", "got 'no content type'"),
    ],
)
def test_bad_bodies_are_refused_in_one_sentence(client, kind, body, words):
    refused = client.post("/locate", content=body, headers={"content-type": kind} if kind else {})
    assert refused.status_code == 400 and words in refused.json()["error"]


def test_a_file_as_a_sentence_and_a_text_as_a_picture(client):
    swapped = client.post("/locate", files={"sentences": ("a.txt", b"a")}, data={"picture": "photo.jpg"})
    assert swapped.status_code == 400 and "must be" in swapped.json()["error"]


def test_what_a_model_refuses_is_bad_input_and_what_breaks_is_not(client, model, capsys):
    model.fails = InputError("the sentence is too long")
    refused = post(client, sentences="the car")
    assert (refused.status_code, refused.json()) == (400, {"error": "the sentence is too long"})
    model.fails = RuntimeError("tensor of 3 x 4 at /some/where")
    broken = post(client, sentences="the car")
    assert broken.status_code == 500 and "tensor" not in broken.text
    assert "tensor of 3 x 4" in capsys.readouterr().err
    model.fails = None
    assert post(client, sentences="the car").status_code == 200


def test_too_large_an_upload_is_refused_with_and_without_a_length(model):
    with client_of(model, most_bytes=20_000) as client:
        large = client.post("/locate", files={"picture": ("a.png", b"x" * 30_000)}, data={"sentences": "a"})
        chunks = client.post(
            "/locate", content=(b"x" * 5_000 for _ in range(6)), headers={"content-type": "application/json"}
        )
        assert large.status_code == chunks.status_code == 413
        assert large.json()["error"] == chunks.json()["error"]
        assert "at most 0.02 MB" in large.json()["error"]
        assert post(client, picture=png(20, 20), sentences="a").status_code == 200


def test_one_search_at_a_time_and_no_more_waiting_than_there_is_room(model):
    model.wait = threading.Event()
    with client_of(model, room=1) as client:
        statuses = []
        ask = [
            threading.Thread(target=lambda: statuses.append(post(client, sentences="a").status_code))
            for _ in range(2)
        ]
        ask[0].start()
        assert model.began.wait(30)
        ask[1].start()
        while client.get("/health").json()["waiting"] < 1:
            pass
        health = client.get("/health").json()
        assert (health["searching"], health["waiting"], health["room"]) == (True, 1, 1)
        full = post(client, sentences="a")
        assert full.status_code == 503 and full.headers["retry-after"]
        assert "busy" in full.json()["error"] and len(model.calls) == 1
        model.wait.set()
        for thread in ask:
            thread.join()
        assert statuses == [200, 200]
        assert client.get("/health").json()["searching"] is False


def test_time_is_up_while_searching_and_while_waiting(model):
    model.wait = threading.Event()
    with client_of(model, seconds=0.3) as client:
        first = post(client, sentences=["a"] * 30)
        second = post(client, sentences="b")
        assert first.status_code == second.status_code == 504
        assert "within 0.3 seconds" in first.json()["error"]
        model.wait.set()
        while client.get("/health").json()["searching"]:
            pass
        assert post(client, sentences="c").status_code == 200
    # The first was given up after the sentences it had begun with, and the second never began.
    assert [len(call["sentences"]) for call in model.calls] == [8, 1]


def test_a_search_that_nobody_waits_for_restores_the_model():
    model = Quick()
    own = model.config.search
    asked = read_asked({"sentences": ["a"], "budget": 2}, {"quick": model})
    with pytest.raises(TooLongError):
        search(model, np.zeros((10, 10, 3), np.uint8), asked, lambda: True)
    assert model.config.search is own and not model.calls


def test_health_and_a_missing_place(client):
    health = client.get("/health").json()
    assert health["status"] == "ok" and health["models"] == ["quick", "other"]
    assert client.get("/docs").status_code == 404
    wrong = client.get("/locate")
    assert wrong.status_code == 405 and "error" in wrong.json()


def test_the_shelf_forgets_the_oldest_picture_but_no_example():
    picture = np.zeros((100, 100, 3), np.uint8)
    shelf = Shelf(most_bytes=3 * picture.nbytes)
    example, first, second = (
        shelf.put(Kept(name, picture, b"", example=name == "street"))
        for name in ("street", "first", "second")
    )
    assert shelf.get(first) is not None  # asked for, so the second is now the older one
    third = shelf.put(Kept("third", picture, b""))
    assert [shelf.get(token) is not None for token in (example, first, second, third)] == [
        True,
        True,
        False,
        True,
    ]
    assert shelf.get(None) is shelf.get(["x"]) is None


def test_previews_are_small_and_keep_the_shape():
    with Image.open(io.BytesIO(preview(np.zeros((3000, 4000, 3), np.uint8)))) as small:
        assert small.size == (1600, 1200)
    with Image.open(io.BytesIO(preview(np.zeros((3, 5000, 3), np.uint8)))) as thin:
        assert thin.size == (1600, 1)


@pytest.fixture(scope="module")
def whole():
    """The application with its page."""
    with TestClient(serve.build({"quick": Quick()})) as client:
        yield client


def test_the_page_asks_no_other_server(whole):
    page = whole.get("/")
    assert page.status_code == 200 and "What to find" in page.text
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=.?(https?:)?//", page.text)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "http" not in policy
    assert "fonts.googleapis.com" not in whole.get("/theme.css").text


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/proxy=http://localhost/",
        "/gradio_api/upload_progress",
        "/assets/../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/package.json",
        "/gradio_api/vibe-code/",
        "/monitoring",
        "/page/x/frame.jpg",
        "/page/x/y/0/search.json",
    ],
)
def test_no_file_can_be_read(whole, path):
    answered = whole.get(path)
    assert answered.status_code == 404 and "root:" not in answered.text


def test_gradio_takes_no_uploads(whole):
    assert whole.post("/gradio_api/upload", files={"files": ("a.png", PNG)}).status_code == 404


def test_a_forged_picture_on_the_page_is_one_that_is_not_kept():
    from piza.server.page import CHOSEN, _searched

    async def shown(stage):
        desk = Desk({"quick": Quick()}, OneAtATime(1, 5))
        return [value async for value, _ in _searched(desk, stage, "the car", (None,) * len(CHOSEN))]

    for token in ("/etc/passwd", 3, ["a"], {"path": "/etc/passwd"}):
        assert "no longer kept" in asyncio.run(shown({"picture": {"token": token}}))[-1]["notice"]
    for nothing in (None, "x", {}, {"picture": "/etc/passwd"}):
        assert "First drop a picture" in asyncio.run(shown(nothing))[-1]["notice"]


def test_an_example_that_cannot_be_drawn_says_so():
    from piza.server.page import CHOSEN, _example

    async def shown(data):
        desk = Desk({"quick": Quick()}, OneAtATime(1, 5))
        return [value async for value, _, _ in _example(desk, data, (None,) * len(CHOSEN))]

    for data in (None, {}, {"example": 99}, {"example": "../x"}):
        assert asyncio.run(shown(data))[-1]["notice"].startswith("There is no example")


def test_an_address_in_use_or_unknown_is_refused():
    with socket.create_server((serve.HOST, 0)) as taken, pytest.raises(InputError, match="cannot serve at"):
        serve.listen(serve.HOST, taken.getsockname()[1])
    with pytest.raises(InputError, match="cannot serve at"):
        serve.listen("256.1.2.3", 0)


@pytest.mark.parametrize(
    "wrong", [["--port", "70000"], ["--timeout", "0"], ["--upload", "x"], ["--room", "-1"]]
)
def test_wrong_arguments(wrong, capsys):
    assert main(["serve", *wrong]) == 2
    assert "wanted" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["serve", "--port", "0"]) == 2
    assert "pip install 'piza[serve]'" in capsys.readouterr().err


def test_folders_of_the_same_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("piza.load", lambda name, device: name)
    folders = [tmp_path / part / "model" for part in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert serve.load_models([str(folders[0]), "mini"], "cpu") == {"model": str(folders[0]), "mini": "mini"}
    with pytest.raises(InputError, match="two models are called 'model'"):
        serve.load_models([str(folder) for folder in folders], "cpu")


def test_help_does_not_import_what_serving_needs():
    code = (
        "import sys; from piza.cli.main import guard, _parser; _parser().format_help();"
        "print(sorted({'gradio', 'fastapi', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_serves_until_it_is_ended_and_leaves_nothing_behind(tmp_path):
    code = (
        "import sys; from piza.server import app as serve; from piza.cli.main import main; from tests.server.fake_server_model import Quick;"
        "serve.load_models = lambda *_: {'quick': Quick()}; sys.exit(main(['serve', '--port', '0', '--upload', '0.1']))"
    )
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": paths}
    server = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment, cwd=root
    )
    try:
        line = server.stderr.readline()
        address = line.split()[1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/health", timeout=60) as health:
            assert json.load(health)["models"] == ["quick"]
        large = urllib.request.Request(
            f"{address}/locate", b"x" * 900_000, {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError, match="413"):  # which is heard, though nothing was read
            urllib.request.urlopen(large, timeout=60)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        server.kill()
        server.stderr.close()
        server.wait()
