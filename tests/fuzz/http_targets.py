"""Every route of the server, with requests made up from the OpenAPI document, good and bad, in this process.

An answer is one that the document knows: never 500, and a refusal has the one shape of an error.
"""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from tests.fuzz.inputs import IMAGES, damaged
from tests.fuzz.targets import Target
from tests.server.conftest import PNG, client_of
from tests.server.fake_model import FakeModel

GOOD_IMAGE = base64.b64encode(PNG).decode()
TEXTS = st.text(max_size=30) | st.sampled_from(
    ["", " ", "[", '["a", "b"]', "a\nb", "\x00", "/etc/passwd", "1e400", "nan", "9" * 400, "true", "the red car"]
)  # fmt: skip
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
FILES = st.sampled_from([PNG, b"", b"GIF89a", PNG[:100]]) | st.sampled_from(IMAGES).flatmap(damaged)
HEADERS = {
    "host": st.sampled_from(["127.0.0.1", "localhost:7860", "evil.example", "[::1]", "", "a b", "127.0.0.1:x"]),
    "origin": st.sampled_from(["http://127.0.0.1", "http://evil.example", "null", "", "http://127.0.0.1.evil"]),
    "content-length": st.sampled_from(["0", "-1", "1e3", "9" * 30, "5"]),
    "content-type": st.sampled_from(["application/json", "multipart/form-data", "text/html", "\xff"]),
    "sec-fetch-site": st.sampled_from(["cross-site", "same-origin", "none"]),
    "access-control-request-method": st.just("POST"),
    "x-request-id": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80),
    "if-none-match": st.just("*"),
    "transfer-encoding": st.sampled_from(["chunked", "gzip"]),
}  # fmt: skip


@cache
def client() -> Any:
    """A client of an application with a model that answers at once."""
    return client_of(FakeModel())


@cache
def document() -> Any:
    return client().get("/openapi.json").json()


def check(answered: Any, path: str | None = None, method: str = "post") -> None:
    """Raises AssertionError for an answer that nobody may get. path: a route of the OpenAPI document."""
    assert answered.status_code < 500 or answered.status_code in (503, 504), answered.text
    if path is not None:
        known = document()["paths"][path][method]["responses"]
        assert str(answered.status_code) in known, (answered.status_code, answered.text)
    if answered.status_code >= 400 and answered.request.method != "HEAD":
        values = answered.json()
        assert list(values) == ["error"] and isinstance(values["error"], str) and len(values["error"]) < 1500


def from_schema(schema: Any) -> st.SearchStrategy[Any]:
    """Values of this schema, without its limits: the limits are what is tried."""
    if "anyOf" in schema:
        return st.one_of([from_schema(one) for one in schema["anyOf"]])
    match schema.get("type"):
        case "string":
            images = st.just(GOOD_IMAGE) | FILES.map(lambda data: base64.b64encode(data).decode())
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


def schema_of(path: str, kind: str) -> Any:
    return document()["paths"][path]["post"]["requestBody"]["content"][kind]["schema"]


def any_json(path: str) -> Target:
    def made() -> st.SearchStrategy[Any]:
        schema = schema_of(path, "application/json")
        good = from_schema(schema)
        bent = st.tuples(good, TEXTS | st.sampled_from(sorted(schema["properties"])), JSON).map(
            lambda parts: {**parts[0], parts[1]: parts[2]}
        )
        return good | bent | JSON

    def use(values: Any, folder: Path) -> None:
        content = json.dumps(values).encode(errors="surrogatepass")
        check(client().post(path, content=content, headers={"content-type": "application/json"}), path)

    return Target(st.deferred(made), use, 4)


def any_form(path: str) -> Target:
    def made() -> st.SearchStrategy[Any]:
        names = st.sampled_from(sorted(schema_of(path, "multipart/form-data")["properties"]))
        part = st.tuples(st.none(), TEXTS) | st.tuples(st.text(max_size=10), FILES)
        return st.lists(st.tuples(names | st.text(max_size=10), part), max_size=6)

    def use(parts: Any, folder: Path) -> None:
        sent = [
            (name, (file, value.encode(errors="replace") if isinstance(value, str) else value))
            for name, (file, value) in parts
        ]
        check(client().post(path, files=sent or [("image", ("a", PNG))]), path)

    return Target(st.deferred(made), use, 4)


def use_bytes(given: tuple[bytes, str], folder: Path) -> None:
    content, kind = given
    prefix = b"--b\r\n" if len(content) % 2 else b""
    check(client().post("/locate", content=prefix + content, headers={"content-type": kind}), "/locate")


def use_address(given: tuple[str, list[str]], folder: Path) -> None:
    method, parts = given
    check(client().request(method, "http://127.0.0.1/" + "/".join(quote(part, safe="") for part in parts)))


def use_headers(given: tuple[str, str, dict[str, str]], folder: Path) -> None:
    method, path, headers = given
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    check(client().request(method, path, headers=raw, content=b"{}" if method == "POST" else None))


@cache
def stored() -> tuple[str, str]:
    """The addresses of an image on the page, and of a search in it."""
    image = client().post("/page/images", files={"image": ("a.png", PNG)}).json()
    place = f"/page/{image['token']}"
    return place, f"{place}/{client().post(f'{place}/searches', json={'sentences': ['a']}).json()['token']}"


def use_upload(given: tuple[str, bytes], folder: Path) -> None:
    name, data = given
    answered = client().post("/page/images", files={"image": (name, data)})
    check(answered)
    if answered.status_code == 200:
        check(client().get(f"/{answered.json()['preview']}"))


def use_page(given: tuple[int, str, Any], folder: Path) -> None:
    """A file or a part of an image that is on the page, or a search in it."""
    which, name, question = given
    place, search = stored()
    if which == 0:
        content = json.dumps(question).encode(errors="surrogatepass")
        headers = {"content-type": "application/json"}
        check(client().post(f"{place}/searches", content=content, headers=headers))
    else:
        where = (f"{place}/", f"{place}/crop/", f"{search}/", f"{search}/0/")[which - 1]
        check(client().get(where + quote(name, safe="/")))


LOOKS = st.builds("look-{}.jpg".format, st.integers(-1, 9) | TEXTS)
WINDOWS = st.lists(st.integers(-1, 130) | NUMBERS, min_size=3, max_size=5).map(
    lambda values: "-".join(map(_digits, values)) + ".jpg"
)


def _digits(value: Any) -> str:
    return "9" * 400 if abs(value) == 10**400 else str(value)


TARGETS = {
    "/locate, JSON": any_json("/locate"),
    "/batch, JSON": any_json("/batch"),
    "/locate, form": any_form("/locate"),
    "/batch, form": any_form("/batch"),
    "/locate, bytes": Target(
        st.tuples(
            st.binary(max_size=300),
            st.sampled_from(["application/json", "multipart/form-data; boundary=b", "", "a/b"]),
        ),
        use_bytes,
        3,
    ),
    "any address": Target(
        st.tuples(
            st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD", "TRACE"]),
            st.lists(st.text(max_size=12) | st.sampled_from(["page", "static", "..", "docs"]), max_size=5),
        ),
        use_address,
        3,
    ),
    "any headers": Target(
        st.tuples(
            st.sampled_from(["GET", "POST", "OPTIONS"]),
            st.sampled_from(["/", "/health", "/metrics", "/locate", "/batch", "/page/config", "/openapi.json"]),
            st.fixed_dictionaries({}, optional=HEADERS),
        ),
        use_headers,
        3,
    ),
    "/page, uploads": Target(st.tuples(TEXTS, FILES), use_upload, 5),
    "/page, the rest": Target(
        st.tuples(
            st.integers(0, 4),
            TEXTS | LOOKS | WINDOWS | st.sampled_from(["answers.csv", "search.json", "frame.jpg", "../x"]),
            JSON,
        ),
        use_page,
        4,
    ),
}  # fmt: skip
