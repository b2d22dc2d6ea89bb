"""An application with a fake model, in this process and as a real server on a free port."""

import contextlib
import io
import threading

import numpy as np
import pytest
from PIL import Image


def png(width=120, height=80) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PNG = png()


def client_of(model=None, **config):
    """A client of an application with two models, "quick" (the given one) and "other"."""
    from fastapi.testclient import TestClient
    from tests.server.fake_model import FakeModel

    from piza.server.app import ServeConfig, create_app

    config = {"megabytes": 1.0, **config}
    app = create_app({"quick": model or FakeModel(), "other": FakeModel()}, ServeConfig(**config))
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    client.state = app.state
    return client


def post(client, image=PNG, name="a photo.png", **fields):
    return client.post("/locate", files={"image": (name, image)}, data=fields)


@contextlib.contextmanager
def serving(model, protocol=None, state_limits=None, **config):
    """(host, port) of a real server in this process, and its application."""
    from piza.server.app import HOST, ServeConfig, create_app, listen, uvicorn_server

    app = create_app({"quick": model}, ServeConfig(**config))
    taken = listen(HOST, 0)
    server = uvicorn_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    thread.start()
    try:
        yield taken.getsockname(), app
    finally:
        server.should_exit = True
        app.state.close()
        thread.join(20)
        taken.close()


@pytest.fixture
def model():
    from tests.server.fake_model import FakeModel

    return FakeModel()


@pytest.fixture
def client(model):
    with client_of(model) as client:
        yield client
