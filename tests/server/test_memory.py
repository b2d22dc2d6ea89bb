"""What the server keeps of requests that it refused, or whose client left: nothing, even where Python looks for no circles."""

import base64
import gc
import json
import threading
import time
import tracemalloc

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from tests.server.conftest import PNG, png, serving
from tests.server.test_connections import ask, connect, form, get, head, read_all, wait_for

SIZE = 4_000_000  # bytes of a request


@pytest.fixture
def kept():
    """A function that says how many bytes more are held than at first, with the search for circles turned off."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    gc.enable()


def send(address, body: bytes, kind: str) -> int:
    start = head(len(body)).replace(b"multipart/form-data; boundary=b", kind.encode())
    with connect(address, start + body) as link:
        return int(read_all(link).split()[1])


def refused():
    """(name, body, content type) of requests that are refused, each in another place."""
    image, filler = base64.b64encode(PNG).decode(), "x" * SIZE
    form_type = "multipart/form-data; boundary=b"
    for name, values in (
        ("a sentence that is too long", {"image": image, "sentences": filler}),
        ("no base64", {"image": filler + "!", "sentences": "x"}),
        ("no image", {"image": base64.b64encode(filler.encode()).decode(), "sentences": "x"}),
        ("an unknown model", {"image": image + "A" * SIZE, "sentences": "x", "model": "other"}),
    ):
        yield name, json.dumps(values).encode(), "application/json"
    large = form("a", image=PNG + bytes(SIZE))
    yield "a form without an image", form("a", image=bytes(SIZE)), form_type
    yield "a form that is cut", large[:-90], form_type
    yield "a field of a form", large.replace(b'"sentences"', b'"budget"'), form_type


def test_refused_requests_leave_nothing(model, kept):
    with serving(model, megabytes=12) as (address, _):
        assert ask(address, "a") == 200
        for name, body, kind in refused():
            assert send(address, body, kind) == 400, name
            before = kept()
            for _ in range(4):
                assert send(address, body, kind) == 400
            # The thread of the last one may still be at it; what is kept stays, as no circles are looked for.
            wait_for(lambda most=before + SIZE / 2: kept() < most)


def test_searches_that_nobody_waits_for_leave_nothing(model, kept):
    side = 1500
    body = form(*["a"] * 20, image=png(side, side))
    with serving(model, megabytes=12) as (address, _):
        assert ask(address, "a") == 200
        before = kept()
        for _ in range(3):
            model.wait, model.began = threading.Event(), threading.Event()
            link = connect(address, head(len(body)) + body)
            assert model.began.wait(20)
            link.close()
            time.sleep(0.2)
            model.wait.set()
            wait_for(lambda: not get(address, "/health")["searching"])
        wait_for(lambda: kept() - before < side * side * 3)
