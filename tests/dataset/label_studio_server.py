"""A real Label Studio for tests and benchmarks: its package, SQLite, a folder of its own, and users who annotate."""

import contextlib
import http.cookiejar
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PROGRAM = "PIZA_LABEL_STUDIO"
"""Where `label-studio` is, if not on the PATH, or the address of one that runs. Its own environment keeps its many packages
apart."""

PATIENCE = 600  # seconds until it answers; a quarter of a minute on two idle cores
PASSWORD = "a long secret 1"


def program():
    """The path of the program, or None."""
    return os.environ.get(PROGRAM) or shutil.which("label-studio")


@contextlib.contextmanager
def serving(folder, **environment):
    """The address of a server whose data are in `folder`, or of the one that runs."""
    if program().startswith("http"):
        yield program().rstrip("/")
        return
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    quiet = {
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "COLLECT_ANALYTICS": "False",
    }  # it reports to nobody
    values = {**kept, **quiet, "HOME": str(folder), "LABEL_STUDIO_LATEST_VERSION_CHECK": "False"}
    command = [
        program(),
        "start",
        "--no-browser",
        "--data-dir",
        folder,
        "--internal-host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**values, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + PATIENCE
        while not _answers(address):
            assert process.poll() is None and time.monotonic() < end, Path(folder / "server.log").read_text()[
                -2000:
            ]
            time.sleep(1)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _answers(address):
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Person:
    """Somebody with a new account, who annotates as the page does. token: a personal access token."""

    def __init__(self, address, name):
        self.address, self.email = address, f"{name}-{secrets.token_hex(4)}@example.com"
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        page = self._opener.open(f"{address}/user/signup/").read().decode()
        form = {
            "csrfmiddlewaretoken": re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1],
            "email": self.email, "password": PASSWORD, "allow_newsletters": "false",
        }  # fmt: skip
        self._open(
            "/user/signup/", urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
        )
        self.token = self.ask("/api/token/", {})["token"]

    def ask(self, path, values=None, method=None):
        """What the server answers."""
        body = None if values is None else json.dumps(values).encode()
        answer = self._open(path, body, "application/json", method)
        return json.loads(answer) if answer else None

    def _open(self, path, body, kind, method=None):
        csrf = next((cookie.value for cookie in self._jar if cookie.name == "csrftoken"), "")
        headers = {"Content-Type": kind, "X-CSRFToken": csrf, "Referer": self.address}
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read()[:500]}") from None

    def annotate(self, task, choice, text=None, box=None):
        """Decide about a task, beginning with its prediction. box: in percent, x, y, width, height."""
        prediction = self.ask(f"/api/tasks/{task}/")["predictions"][0]["result"]
        for part in prediction:
            if part["type"] == "textarea" and part["from_name"] == "sentence" and text:
                part["value"]["text"] = [text]
            if part["type"] == "rectanglelabels" and box:
                part["value"].update(zip(("x", "y", "width", "height"), box, strict=True))
        choices = {
            "from_name": "decision",
            "to_name": "photo",
            "type": "choices",
            "value": {"choices": [choice]},
        }
        return self.ask(f"/api/tasks/{task}/annotations/", {"result": [*prediction, choices]})
