"""Talking to a Label Studio server over its HTTP interface: as much of it as reviewing sentences needs."""

import json
import mimetypes
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from piza.errors import InputError, reason

TRIES = 3  # of a request that may be repeated
PAUSE = 1.0  # seconds before the second try; twice as long before the third
MAX_BYTES = 2**30  # of an answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: the token would go along."""


@dataclass
class LabelStudio:
    """A Label Studio server.

    url: its address. token: a personal access token (Account & Settings), or a legacy one where the organization allows
    those. seconds: the longest that one answer may take.
    """

    url: str
    token: str = field(repr=False)
    seconds: float = 120.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"expected the address of Label Studio such as http://localhost:8080, got {self.url!r}"
            )
        if not self.token.strip() or not self.token.isascii() or not self.token.isprintable():
            raise InputError(
                "expected a token of Label Studio in LABEL_STUDIO_API_KEY: make one under Account & Settings, "
                "Personal Access Token"
            )
        self.url, self.token = self.url.rstrip("/"), self.token.strip()
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._access = "" if self.token.count(".") == 2 else f"Token {self.token}"

    def me(self) -> dict[str, Any]:
        """The user whose token it is."""
        return self._object("GET", "/api/current-user/whoami")

    def users(self) -> dict[int, str]:
        """Mail addresses of all users by their numbers."""
        return {user["id"]: user["email"] for user in self._list("GET", "/api/users/")}

    def create_project(self, title: str, config: str, reviews: int, instruction: str) -> int:
        """Make a project whose tasks are done after so many annotations; returns its number."""
        values = {
            "title": title[:50],  # the most that it takes
            "label_config": config,
            "maximum_annotations": reviews,
            "expert_instruction": instruction,
            "show_instruction": True,
            "show_collab_predictions": True,
            "sampling": "Sequential sampling",
        }
        return int(self._object("POST", "/api/projects/", values)["id"])

    def project(self, number: int) -> dict[str, Any]:
        """The settings of a project."""
        return self._object("GET", f"/api/projects/{number}/")

    def upload(self, project: int, path: Path) -> str:
        """Put a file into a project, without a task; returns its address there."""
        answer = self._send(
            "POST",
            f"/api/projects/{project}/import?commit_to_project=false",
            *_form_of(path),
            again=False,
        )
        try:
            number = int(answer["file_upload_ids"][0])
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._strange(f"the upload of {path.name!r}") from None
        file = self._object("GET", f"/api/import/file-upload/{number}").get("file")
        if not isinstance(file, str):
            raise self._strange(f"the upload of {path.name!r}")
        return f"/data/{quote(file)}"

    def add_tasks(self, project: int, tasks: Sequence[dict[str, Any]]) -> None:
        """Add tasks, with their predictions."""
        answer = self._object("POST", f"/api/projects/{project}/import", list(tasks))
        if answer.get("task_count") != len(tasks):
            raise InputError(
                f"Label Studio took {answer.get('task_count')} of {len(tasks)} tasks; push again with --project {project}"
            )

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks of a project with their annotations."""
        query = "exportType=JSON&download_all_tasks=true"
        return self._list("GET", f"/api/projects/{project}/export?{query}")

    def _object(self, method: str, path: str, values: Any = None) -> dict[str, Any]:
        answer = self._send(method, path, *_json_of(values), again=method == "GET")
        if not isinstance(answer, dict):
            raise self._strange(path)
        return answer

    def _list(self, method: str, path: str) -> list[dict[str, Any]]:
        answer = self._send(method, path, *_json_of(None), again=True)
        if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
            raise self._strange(path)
        return answer

    def _send(self, method: str, path: str, kind: str, body: bytes | None, again: bool) -> Any:
        """An answer's JSON. again: whether it may be asked again after a failure, as nothing is made by it."""
        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            try:
                return self._once(method, path, kind, body)
            except urllib.error.HTTPError as error:
                if error.code == 401 and self.token.count(".") == 2 and self._access and not last:
                    self._access = ""  # access runs out after some minutes
                    continue
                if error.code not in (429, 500, 502, 503, 504) or not again or last:
                    raise self._refused(error, path) from None
            except (OSError, ValueError) as error:  # not reached, cut off, or no JSON
                if not again or last:
                    why = getattr(error, "reason", error)
                    raise InputError(
                        f"cannot use Label Studio at {self.url!r}: {reason(_as_error(why))}"
                    ) from None
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError

    def _once(self, method: str, path: str, kind: str, body: bytes | None) -> Any:
        if not self._access:
            pair = json.dumps({"refresh": self.token}).encode()
            answer = self._exchange("POST", "/api/token/refresh/", "application/json", pair, {})
            if not isinstance(answer, dict) or not isinstance(answer.get("access"), str):
                raise InputError(f"what answers at {self.url!r} gives no access for this token")
            self._access = f"Bearer {answer['access']}"
        return self._exchange(method, path, kind, body, {"Authorization": self._access})

    def _exchange(
        self, method: str, path: str, kind: str, body: bytes | None, headers: dict[str, str]
    ) -> Any:
        headers = {**headers, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with self._opener.open(request, timeout=self.seconds) as response:
            data = response.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"Label Studio at {self.url!r} answered with more than {MAX_BYTES // 2**20} MB")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise InputError(
                f"what answers at {self.url!r} does not speak as Label Studio does: {path} gave no JSON"
            ) from None

    def _refused(self, error: urllib.error.HTTPError, path: str) -> InputError:
        try:
            said = json.loads(error.read(100_000))
            words = str(said.get("validation_errors") or said.get("detail") or said)[:200]
        except (ValueError, OSError, AttributeError, RecursionError):
            words = f"status {error.code}"
        if 300 <= error.code < 400:
            return InputError(
                f"{self.url!r} sends to {error.headers.get('Location', 'elsewhere')!r:.200}; give that address"
            )
        if error.code in (401, 403):
            return InputError(
                f"Label Studio refuses the token ({words}); it takes a personal access token from Account & Settings, "
                "and legacy tokens only where they are turned on"
            )
        if error.code == 404:
            return InputError(
                f"Label Studio at {self.url!r} has nothing at {path.partition('?')[0]} ({words})"
            )
        return InputError(f"Label Studio refused {path.partition('?')[0]} with status {error.code}: {words}")

    def _strange(self, what: str) -> InputError:
        return InputError(f"Label Studio at {self.url!r} answered {what} in a way that is not known here")


def _as_error(why: Any) -> BaseException:
    return why if isinstance(why, BaseException) else OSError(str(why))


def _json_of(values: Any) -> tuple[str, bytes | None]:
    return "application/json", None if values is None else json.dumps(values).encode()


def _form_of(path: Path) -> tuple[str, bytes]:
    """One file as multipart/form-data."""
    boundary = secrets.token_hex(16)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    name = quote(path.name, safe=" ()[]-_.,+")  # a quote or a line's end would end the header
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    return (
        f"multipart/form-data; boundary={boundary}",
        head.encode() + data + f"\r\n--{boundary}--\r\n".encode(),
    )


def batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Parts of at most `size`, in order."""
    return (items[start : start + size] for start in range(0, len(items), size))
