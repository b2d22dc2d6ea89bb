"""A real server and raw sockets: slow bytes, clients that leave, what is no HTTP, and the end of the server."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from tests.processes import first_line
from tests.server.conftest import PNG, serving

from piza.server import protocol

ROOT = Path(__file__).parents[2]
BOUNDARY = b"b"


def form(*sentences: str, image: bytes = PNG) -> bytes:
    parts = [b'content-disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + image]
    parts += [b'content-disposition: form-data; name="sentences"\r\n\r\n' + one.encode() for one in sentences]
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def head(length: int, path: str = "/locate") -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {length}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def connect(address, data=b"", seconds=30):
    link = socket.create_connection(address, timeout=seconds)
    link.sendall(data)
    return link


def read_all(link) -> bytes:
    """What comes until the server closes, or one whole answer."""
    received = b""
    while True:
        try:
            data = link.recv(65536)
        except ConnectionResetError:
            return received
        received += data
        start, _, rest = received.partition(b"\r\n\r\n")
        sizes = [
            line.split(b":")[1] for line in start.lower().split(b"\r\n") if line.startswith(b"content-length")
        ]
        if not data or (sizes and len(rest) >= int(sizes[0])):
            return received


def status_and_error(received: bytes):
    first, _, body = received.partition(b"\r\n\r\n")
    values = json.loads(body)
    assert list(values) == ["error"]
    return int(first.split()[1]), values["error"]


def get(address, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}{path}", timeout=30) as answer:
        return json.load(answer)


def ask(address, *sentences):
    with connect(address, head(len(form(*sentences))) + form(*sentences)) as link:
        return int(read_all(link).split()[1])


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def limits(app):
    """The middleware that counts requests."""
    return app.asgi.app.app


def test_a_body_that_trickles_is_given_up_and_makes_room(model):
    with serving(model, seconds=40) as (address, app):
        limits(app).limits = type(app.state.limits)(seconds=40, stall_seconds=2.0)
        started = time.monotonic()
        slow = [connect(address, head(5_000_000) + b"x") for _ in range(9)]
        wait_for(lambda: limits(app).requests == 9)
        with connect(address, head(len(form("a"))) + form("a")) as refused:
            assert status_and_error(read_all(refused))[0] == 503  # the bound counts from the first byte
        assert get(address, "/health")["status"] == "ok"
        for _ in range(4):
            for link in slow:
                link.sendall(b"x")
            time.sleep(0.05)
        answers = [status_and_error(read_all(link)) for link in slow]
        assert {status for status, _ in answers} == {408} and "slowly" in answers[0][1]
        assert time.monotonic() - started < 30
        assert limits(app).requests == 0 and limits(app).buffered == 0
        assert ask(address, "a") == 200


def test_the_time_counts_from_the_first_byte(model):
    with serving(model, seconds=1.0) as (address, app):
        limits(app).limits = type(app.state.limits)(seconds=1.0, stall_seconds=30)
        started = time.monotonic()
        with connect(address, head(5_000_000) + b"x" * 100_000) as link:
            status, error = status_and_error(read_all(link))
        assert status == 408 and "within 1 seconds" in error and time.monotonic() - started < 20


def test_unfinished_bodies_take_bounded_memory(model):
    with serving(model, megabytes=2, queue_size=20) as (address, app):
        links = [connect(address, head(1_900_000)) for _ in range(12)]
        for link in links:
            threading.Thread(target=link.sendall, args=(b"x" * 1_800_000,), daemon=True).start()
        wait_for(lambda: limits(app).buffered > 6_000_000)
        time.sleep(0.3)
        assert limits(app).buffered <= 4 * 2_000_000 + 100_000
        for link in links:
            link.close()
        wait_for(lambda: limits(app).buffered == 0 and limits(app).requests == 0)
        assert ask(address, "a") == 200


def test_requests_whose_clients_left_are_dropped(model):
    model.wait = threading.Event()
    with serving(model) as (address, _):
        body = form(*["a"] * 100)
        links = [connect(address, head(len(body)) + body) for _ in range(8)]
        wait_for(lambda: get(address, "/health")["waiting"] == 7)
        for link in links:
            link.close()
        wait_for(lambda: get(address, "/health")["waiting"] == 0)
        model.wait.set()
        wait_for(lambda: not get(address, "/health")["searching"])
        assert [len(call["sentences"]) for call in model.calls] == [8]
        assert ask(address, "b") == 200


def test_what_is_no_http_is_answered_in_the_same_shape(model, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.6)
    with serving(model) as (address, _):
        for garbage in (
            b"hello\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000,
        ):
            with connect(address, garbage) as link:
                status, _ = status_and_error(read_all(link))
                assert status in (400, 403, 408)
        with connect(address, b"GET / HTTP/1.1\r\nHost: 127") as link:  # a head that never ends
            started = time.monotonic()
            assert status_and_error(read_all(link))[0] == 408 and time.monotonic() - started < 15
        with connect(address, b"GET /nowhere HTTP/1.0\r\n\r\n") as link:  # without a host
            assert status_and_error(read_all(link))[0] == 403
        upgrade = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        with connect(address, upgrade) as link:
            assert read_all(link).startswith(b"HTTP/1.1 200")
        bad_chunk = b"POST /locate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        with connect(address, bad_chunk) as link:
            assert status_and_error(read_all(link))[0] == 400


def test_more_connections_than_there_may_be_are_refused(model, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 5)
    with serving(model) as (address, _):
        links = [connect(address) for _ in range(5)]
        time.sleep(0.2)
        with connect(address) as link:
            assert status_and_error(read_all(link))[0] == 503
        for link in links:
            link.close()
        time.sleep(0.2)
        assert get(address, "/health")["status"] == "ok"


def test_good_requests_among_slow_cut_and_lying_ones(model):
    with serving(model, queue_size=40, megabytes=2) as (address, app):
        good, wrong = form("a"), []
        for number in range(24):
            match number % 4:
                case 0:
                    wrong.append(connect(address, head(len(good)) + good[: number * 40]))
                case 1:
                    connect(address, head(len(good)) + good[:100]).close()
                case 2:
                    wrong.append(connect(address, head(len(good) + 50) + good))  # longer than it is
                case _:
                    wrong.append(connect(address, head(10) + good))  # shorter than it is
        statuses = []

        def several():
            for _ in range(10):
                statuses.append(ask(address, "a"))

        threads = [threading.Thread(target=several) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert statuses == [200] * 40
        for link in wrong:
            link.close()
        wait_for(lambda: limits(app).requests == 0)


@pytest.fixture
def process(tmp_path):
    """Starts `piza serve` with a fake model; yields (the process, its address)."""
    code = (
        f"STUBBORN = {STUBBORN!r};"
        "import sys, threading; from piza.server import app; from piza.cli.main import main;"
        "from tests.server.fake_model import FakeModel; model = FakeModel();"
        "model.wait = threading.Event() if 'hang' in sys.argv else None;"
        "app.load_models = lambda *_: {'quick': model};"
        "exec(STUBBORN) if 'stubborn' in sys.argv else None;"
        "sys.exit(main(['serve', '--port', '0', '--upload', '0.1']))"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": paths}
    begun = []

    def start(*arguments):
        server = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        begun.append(server)
        address = first_line(server).split()[1]
        assert address.startswith("http://127.0.0.1:")
        return server, ("127.0.0.1", int(address.rsplit(":", 1)[1]))

    yield start
    for server in begun:
        server.kill()
        server.stderr.close()
        server.wait()


def test_it_serves_until_it_is_ended_and_leaves_nothing_behind(process, tmp_path):
    server, address = process()
    assert get(address, "/health")["models"] == ["quick"]
    large = urllib.request.Request(
        f"http://127.0.0.1:{address[1]}/locate", b"x" * 900_000, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):  # which is heard, though nothing was kept
        urllib.request.urlopen(large, timeout=60)
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
    lines = [json.loads(line) for line in server.stderr.read().splitlines()]
    assert [(line["event"], line["route"], line["status"]) for line in lines[:2]] == [
        ("request", "/health", 200),
        ("request", "none", 413),
    ]
    assert list(tmp_path.iterdir()) == []


def test_it_ends_promptly_with_requests_in_flight(process):
    server, address = process("hang")
    links = [connect(address, head(len(form("a"))) + form("a")) for _ in range(3)]
    links.append(connect(address, head(50_000) + b"x"))
    wait_for(lambda: get(address, "/health")["waiting"] == 2)
    started = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0 and time.monotonic() - started < 20
    for link in links:
        assert b" 503 " in read_all(link).splitlines()[0]
        link.close()


STUBBORN = """
import asyncio
app.END_SECONDS, make = 1.0, app.create_app
class Stubborn:
    async def __call__(self, scope, receive, send):
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass
app.create_app = lambda *given: app.App(Stubborn(), make(*given).state)
"""


def test_it_ends_in_bounded_time_whatever_a_request_does(process):
    server, address = process("stubborn")
    link = connect(address, b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    link.settimeout(0.5)
    with pytest.raises(TimeoutError):  # it is in the hands of the application
        link.recv(1)
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
    link.close()
