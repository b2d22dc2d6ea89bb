"""What hostile requests do: nothing. In this process; slow and vanished clients are in test_connections.py."""

import base64
import io
import json
import struct
import time
import tracemalloc
import zlib

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from PIL import Image
from tests.server.conftest import PNG, client_of, post

SECONDS = 10  # far less than what went wrong took, and enough on a busy machine
ENCODED = base64.b64encode(PNG).decode()


@pytest.fixture
def stored(client):
    """(address of a stored image, address of a search in it)."""
    image = client.post("/page/images", files={"image": ("a.png", PNG)}).json()
    place = f"/page/{image['token']}"
    search = client.post(f"{place}/searches", json={"sentences": ["a"]}).json()
    return place, f"{place}/{search['token']}"


# No request names a file or an address of the server's side.


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/passwd", "http://127.0.0.1:1/x", "file:///etc/passwd"])
def test_a_path_or_an_address_is_no_image(client, model, path):
    started = time.monotonic()
    for answered in (
        client.post("/locate", json={"image": path, "sentences": "a"}),
        client.post("/locate", data={"image": path, "sentences": "a"}, files={"x": ("", b"")}),
        client.post("/locate", json={"image": {"path": path}, "sentences": "a"}),
        client.post("/batch", json={"items": [{"image": path, "sentences": "a"}]}),
        client.post(f"/page/{path}/searches", json={"sentences": ["a"]}),
        client.post(
            "/gradio_api/queue/join", json={"fn_index": 0, "session_hash": "a", "data": [{"path": path}]}
        ),
    ):
        text = answered.text
        assert answered.status_code in (400, 404) or json.loads(text)["answers"][0]["error"], text
        assert "root:" not in text
    assert time.monotonic() - started < SECONDS and not model.calls


@pytest.mark.parametrize(
    "name", ["../../../../etc/passwd", "C:\\secret\\a.png", "a\x00\x1b[31mb.png", "x" * 500]
)
def test_a_file_name_is_only_a_name(client, name):
    image = client.post("/page/images", files={"image": (name, PNG)})
    shown = image.json()["name"]
    assert image.status_code == 200 and not set("/\\\x00\x1b") & set(shown) and 0 < len(shown) <= 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2fetc%2fpasswd",
        "/static/",
        "/static/__init__.py",
        "/gradio_api/file=/etc/passwd",
        "/file=/etc/passwd",
        "/page/x/frame.jpg",
        "/page/x/y/0/search.json",
        "/page/%2fetc%2fpasswd",
    ],
)
def test_no_file_can_be_read(client, path):
    answered = client.get(path)
    assert answered.status_code == 404 and list(answered.json()) == ["error"] and "root:" not in answered.text


# Images are refused by what their header says.


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "size", [(1, 149_000_000), (10_000_000, 1), (2**31 - 1, 2**31 - 1), (60_000, 60_000), (0, 5)]
)
def test_a_small_file_of_a_huge_image_is_refused_by_its_shape(client, size):
    image = png_header(*size)
    tracemalloc.start()
    started = time.monotonic()
    answers = [
        post(client, image=image, sentences="a"),
        client.post("/page/images", files={"image": ("a.png", image)}),
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [answered.status_code for answered in answers] == [400, 400]
    assert time.monotonic() - started < SECONDS and peak < 30_000_000


def test_a_jpeg_of_a_thousand_scans_is_refused_soon(client):
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000), (200, 30, 30)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    scans = data[:last] + data[last:-2] * 1000 + b"\xff\xd9"
    started = time.monotonic()
    assert post(client, image=scans, sentences="a").status_code == 400
    assert time.monotonic() - started < SECONDS


# Only for the hosts and the origins that were named.


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "",
        "[::1",
        "0.0.0.0",
    ],
)
def test_other_hosts_are_refused(client, host):
    refused = client.get("/health", headers={"Host": host})
    assert refused.status_code == 403 and list(refused.json()) == ["error"] and "--allow-host" in refused.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:7860", "LOCALHOST", "[::1]:80", "piza.example", "piza.example.:443"]
)
def test_named_hosts_are_answered(model, host):
    with client_of(model, allowed_hosts=("piza.example",)) as client:
        assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:81",
        "null",
        "https://127.0.0.1.evil.example",
        "",
    ],
)
def test_pages_of_other_sites_are_refused(client, model, origin):
    posted = client.post(
        "/locate", files={"image": ("a", PNG)}, data={"sentences": "a"}, headers={"Origin": origin}
    )
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = client.options("/locate", headers=asked)
    for refused in (posted, preflight):
        assert refused.status_code == 403 and not [
            name for name in refused.headers if name.startswith("access-control")
        ]
    assert not model.calls


def test_a_form_of_another_site_without_an_origin_is_refused(client, model):
    assert client.post("/locate", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get("/health", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_the_page_itself_and_named_origins_are_answered(model):
    with client_of(model, allowed_origins=("https://app.example",)) as client:
        own = post_with(client, "http://127.0.0.1")
        assert own.status_code == 200 and "access-control-allow-origin" not in own.headers
        other = post_with(client, "https://app.example")
        assert (
            other.status_code == 200 and other.headers["access-control-allow-origin"] == "https://app.example"
        )
        preflight = client.options(
            "/locate", headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        )
        assert preflight.status_code == 204 and "POST" in preflight.headers["access-control-allow-methods"]
        bad = client.post("/locate", headers={"Origin": "https://app.example"})
        assert bad.status_code == 400 and bad.headers["access-control-allow-origin"] == "https://app.example"
        assert post_with(client, "https://app.example.evil").status_code == 403


def post_with(client, origin):
    return client.post(
        "/locate", files={"image": ("a", PNG)}, data={"sentences": "a"}, headers={"Origin": origin}
    )


# Bounded in size and time.


def test_too_large_an_upload_is_refused_with_and_without_a_length(model):
    with client_of(model, megabytes=0.02) as client:
        large = client.post("/locate", files={"image": ("a.png", b"x" * 30_000)}, data={"sentences": "a"})
        chunks = client.post(
            "/locate", content=(b"x" * 5_000 for _ in range(6)), headers={"content-type": "application/json"}
        )
        assert large.status_code == chunks.status_code == 413
        assert large.json()["error"] == chunks.json()["error"]
        assert "at most 0.02 MB" in large.json()["error"]


@pytest.mark.parametrize("length", ["9" * 400, "9" * 5000])
def test_a_length_of_many_digits_is_too_large(client, length):
    assert client.post("/locate", content=b"x", headers={"Content-Length": length}).status_code == 413


def test_a_sentence_of_45_megabytes_is_refused_soon(model):
    with client_of(model, megabytes=50) as client:
        for sentence in ("x" * 45_000_000, " " * 45_000_000, "[" * 45_000_000, "\n" * 45_000_000):
            started = time.monotonic()
            refused = post(client, sentences=sentence)
            body = json.dumps({"image": ENCODED, "sentences": sentence})
            also = client.post("/locate", content=body, headers={"content-type": "application/json"})
            assert refused.status_code == 400 and also.status_code in (400, 413)
            assert time.monotonic() - started < SECONDS
    assert not model.calls


def test_blanks_are_not_kept(model):
    with client_of(model) as client:
        assert post(client, sentences=[" " * 100_000] * 8).status_code == 400
        assert post(client, sentences="the" + " " * 90_000 + "car").status_code == 200
    assert [call["sentences"] for call in model.calls] == [["the car"]]


def test_very_many_parts_of_a_form_are_refused_soon(client, model):
    part = b'--b\r\ncontent-disposition: form-data; name="sentences"\r\n\r\na\r\n'
    started = time.monotonic()
    refused = client.post(
        "/locate",
        content=part * 10_000 + b"--b--\r\n",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert (
        refused.status_code == 400
        and "parts" in refused.json()["error"]
        and time.monotonic() - started < SECONDS
    )


@pytest.mark.parametrize(
    "name",
    [
        "look-9999.jpg",
        "look-" + "9" * 5000 + ".jpg",
        "look--1.jpg",
        "look-٣.jpg",
        "look-00.jpg",
        "look-1e9.jpg",
        "x",
    ],
)
def test_a_look_that_is_not_there(client, stored, name):
    assert client.get(f"{stored[1]}/0/look-0.jpg").status_code == 200
    answered = client.get(f"{stored[1]}/0/{name}")
    assert answered.status_code == 404 and list(answered.json()) == ["error"]


@pytest.mark.parametrize(
    "window",
    ["0-0-9999-9", "0-0-0-0", "9-9-3-3", "a", "1-2-3", "1-2-3-4-5", "-1-0-5-5", "9" * 3000 + "-0-1-1"],
)
def test_a_crop_outside_the_image(client, stored, window):
    assert client.get(f"{stored[0]}/crop/0-0-120-80.jpg").status_code == 200
    assert client.get(f"{stored[0]}/crop/{window}.jpg").status_code in (400, 404)


# One shape of an error.


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/locate", 405),
        ("PUT", "/health", 405),
        ("DELETE", "/", 405),
        ("TRACE", "/", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/health/", 404),
        ("POST", "/page/x/searches", 404),
        ("POST", "/page/examples/99", 404),
        ("POST", "/page/examples/x", 404),
        ("GET", "/page/" + "x" * 5000, 404),
        ("POST", "/locate", 400),
        ("POST", "/page/images", 400),
    ],
)
def test_every_refusal_has_the_same_shape(client, method, path, status):
    refused = client.request(method, path)
    assert refused.status_code == status
    assert list(refused.json()) == ["error"] and refused.headers["content-type"] == "application/json"
    assert len(refused.json()["error"]) < 400 and refused.headers["x-request-id"]
    if status == 405:
        assert refused.headers["allow"]


def test_the_browser_is_told_what_it_may_do(client):
    for path in ("/", "/docs", "/static/app.js", "/nowhere"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert client.get(path).headers["x-content-type-options"] == "nosniff"
    page = client.get("/").text
    assert "What to find" in page and "<style" not in page and " style=" not in page and "//" not in page
    assert page.count("<script") == 1


def test_drawings_and_films_never_touch_a_disk(client, stored, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there is none"))
    monkeypatch.setattr("piza.files.atomic_write", None)
    drawing, film = client.get(f"{stored[1]}/0/drawing.png"), client.get(f"{stored[1]}/0/zoom.webp")
    assert drawing.content.startswith(b"\x89PNG") and film.content[8:12] == b"WEBP"
