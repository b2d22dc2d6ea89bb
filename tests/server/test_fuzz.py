"""Requests made up from the OpenAPI document, good and bad: every answer is one that the document knows.

A short run is part of the tests; `make fuzz` sets FUZZ_EXAMPLES for a long one.
"""

import base64
import json
import os
import time

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.conftest import PNG, client_of
from tests.server.fake_model import FakeModel

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SECONDS = 10  # the longest any answer may take, on a busy machine
LONG = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

CLIENT = client_of(FakeModel())
DOCUMENT = CLIENT.get("/openapi.json").json()

GOOD_IMAGE = base64.b64encode(PNG).decode()
TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        "",
        " ",
        "[",
        '["a", "b"]',
        "a\nb",
        "\x00",
        "/etc/passwd",
        "1e400",
        "nan",
        "9" * 400,
        "true",
        "the red car",
    ]
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**400), 1e308, float("nan"), float("inf"), 0, 1, 5, 100, 101, 0.5, -0.0])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


def from_schema(schema):
    """Values of this schema, without its limits: the limits are what is tried."""
    if "anyOf" in schema:
        return st.one_of([from_schema(one) for one in schema["anyOf"]])
    match schema.get("type"):
        case "string":
            images = st.just(GOOD_IMAGE) | st.binary(max_size=60).map(
                lambda data: base64.b64encode(data).decode()
            )
            return images if schema.get("format") == "byte" else TEXTS
        case "integer" | "number":
            return NUMBERS
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(from_schema(schema.get("items", {})), max_size=5)
        case "object":
            required = set(schema.get("required", []))
            fields = {name: from_schema(field) for name, field in schema.get("properties", {}).items()}
            return st.fixed_dictionaries(
                {name: field for name, field in fields.items() if name in required},
                optional={name: field for name, field in fields.items() if name not in required},
            )
    return JSON


def body_of(path):
    schema = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    good = from_schema(schema)
    bent = st.tuples(good, TEXTS | st.sampled_from(sorted(schema["properties"])), JSON).map(
        lambda parts: {**parts[0], parts[1]: parts[2]}
    )
    return good | bent | JSON


def check(answered, started, path, method="post"):
    assert time.monotonic() - started < SECONDS
    known = DOCUMENT["paths"][path][method]["responses"]
    assert str(answered.status_code) in known and answered.status_code != 500, answered.text
    if answered.status_code >= 400:
        values = answered.json()
        assert list(values) == ["error"] and isinstance(values["error"], str) and len(values["error"]) < 1500


@pytest.mark.parametrize("path", ["/locate", "/batch"])
def test_any_json(path):
    @LONG
    @given(body_of(path))
    def run(values):
        content = json.dumps(values).encode(errors="surrogatepass")
        started = time.monotonic()
        answered = CLIENT.post(path, content=content, headers={"content-type": "application/json"})
        check(answered, started, path)

    run()


@pytest.mark.parametrize("path", ["/locate", "/batch"])
def test_any_form(path):
    schema = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    names = st.sampled_from(sorted(schema["properties"])) | st.text(max_size=10)
    files = st.sampled_from([PNG, b"", b"GIF89a", PNG[:100]]) | st.binary(max_size=100)
    parts = st.lists(
        st.tuples(names, st.tuples(st.none(), TEXTS) | st.tuples(st.text(max_size=10), files)), max_size=6
    )

    @LONG
    @given(parts)
    def run(given_parts):
        sent = [
            (name, (file, value.encode(errors="replace") if isinstance(value, str) else value))
            for name, (file, value) in given_parts
        ]
        started = time.monotonic()
        answered = CLIENT.post(path, files=sent or [("image", ("a", PNG))])
        check(answered, started, path)

    run()


@LONG
@given(
    st.binary(max_size=300),
    st.sampled_from(["application/json", "multipart/form-data; boundary=b", "", "a/b"]),
)
def test_any_bytes(content, kind):
    prefix = b"--b\r\n" if len(content) % 2 else b""
    started = time.monotonic()
    answered = CLIENT.post("/locate", content=prefix + content, headers={"content-type": kind})
    check(answered, started, "/locate")


@LONG
@given(st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]), st.lists(st.text(max_size=12), max_size=5))
def test_any_address(method, parts):
    from urllib.parse import quote

    path = "http://127.0.0.1/" + "/".join(quote(part, safe="") for part in parts)
    started = time.monotonic()
    answered = CLIENT.request(method, path)
    assert time.monotonic() - started < SECONDS and answered.status_code < 500
    if answered.status_code >= 400:
        assert list(answered.json()) == ["error"]
