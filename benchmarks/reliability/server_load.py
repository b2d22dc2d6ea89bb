"""`piza serve` under load: good requests among slow, cut and lying ones. Are the good ones answered right, is memory flat?

    python benchmarks/reliability/server_load.py --count 500 --parallel 16

The server is a process of its own, with the limits it has by default but for its time limit (--timeout). A good request
that is told to come back (503) does so. Right means: the box and the score that the same model gives in Python.
"""

import argparse
import base64
import io
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from PIL import Image

import piza
from piza.data.scenes.scene import render

SENTENCES = ["the red car", "the round sign", "the man in blue", "the tallest tree"]
GOOD = ("form", "json", "batch", "slow form", "page")
BAD = (
    "trickle", "cut head", "cut body", "gone", "too long", "too short", "no http", "lying image", "no image", "no sentence",
    "wrong host", "wrong type", "huge length", "half json",
)  # fmt: skip
ERRORS = {400, 403, 404, 408, 413, 503}


class Client:
    """What all requests share: the address, images as PNG files, and the right answers."""

    def __init__(self, address: tuple[str, int], model: Any, timeout: float) -> None:
        self.address, self.timeout = address, timeout
        frames = [render(seed, (512, 384)).image for seed in (1, 2)]
        self.files = [encoded(frame) for frame in frames]
        self.right = [[as_numbers(found.to_dict()) for found in model.locate(f, SENTENCES)] for f in frames]
        self.retries = 0

    def send(self, data: bytes, pieces: int = 1, pause: float = 0.0) -> tuple[int, Any]:
        """Status and JSON of the answer to these bytes, sent in some pieces."""
        with socket.create_connection(self.address, timeout=self.timeout) as link:
            size = -(-len(data) // pieces)
            try:
                for start in range(0, len(data), size):
                    link.sendall(data[start : start + size])
                    time.sleep(pause)
            except OSError:  # refused while it is sent: the answer says why
                pass
            return read_answer(link)

    def leave(self, data: bytes, wait: float) -> None:
        with socket.create_connection(self.address, timeout=self.timeout) as link:
            link.sendall(data)
            time.sleep(wait)


def encoded(frame: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


def as_numbers(answer: dict[str, Any]) -> tuple[Any, ...]:
    return (answer["expression"], *(round(v, 6) for v in answer["box_xyxy"]), round(answer["score"], 9))


def read_answer(link: socket.socket) -> tuple[int, Any]:
    data = b""
    while part := link.recv(65536):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        return 0, None
    try:
        content = json.loads(body) if body else None
    except ValueError:  # other than JSON
        content = body
    return int(head.split()[1]), content


def request(path: str, body: bytes, kind: str, host: str = "127.0.0.1", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


def form(image: bytes, sentences: list[str]) -> tuple[bytes, str]:
    parts = [b'content-disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + image]
    parts += [f'content-disposition: form-data; name="sentences"\r\n\r\n{s}'.encode() for s in sentences]
    return b"".join(b"--b\r\n" + p + b"\r\n" for p in parts) + b"--b--\r\n", "multipart/form-data; boundary=b"


def good(client: Client, kind: str, rng: random.Random) -> str:
    """Ask rightly until there is room; what came of it."""
    which, count = rng.randrange(2), rng.randint(1, 3)
    sentences, expected = SENTENCES[:count], client.right[which][:count]
    image = client.files[which]
    text = base64.b64encode(image).decode()
    if kind in ("form", "slow form"):
        data = request("/locate", *form(image, sentences))
    elif kind == "json":
        data = request(
            "/locate", json.dumps({"image": text, "sentences": sentences}).encode(), "application/json"
        )
    elif kind == "batch":
        items = [{"image": text, "sentences": sentences}, {"image": text[:100], "sentences": "x"}]
        data = request("/batch", json.dumps({"items": items}).encode(), "application/json")
    else:
        data = request("/page/images", *form(image, []))
    pieces, pause = (5, 0.3) if kind == "slow form" else (1, 0.0)
    for _ in range(2000):
        status, answer = client.send(data, pieces, pause)
        if status != 503:
            break
        client.retries += 1
        time.sleep(rng.uniform(0.5, 2.5))
    if status != 200:
        return f"wrong: status {status} {str(answer)[:100]}"
    if kind == "page":
        return "right" if answer["width"] == 512 else "wrong: image"
    if kind == "batch":
        first, second = answer["answers"]
        if first["error"] or not second["error"]:
            return "wrong: batch"
        answer = first["results"]
    found = [as_numbers(one) for one in (answer if isinstance(answer, list) else [answer])]
    return "right" if near(found, expected) else f"wrong: {found} for {expected}"


def near(found: list[tuple], expected: list[tuple]) -> bool:
    """The same sentences, boxes within a thousandth of a pixel and scores within a millionth: sentences that are asked together
    are computed in other batches than alone, which moves last digits."""
    return len(found) == len(expected) and all(
        one[0] == other[0]
        and all(abs(a - b) < 1e-3 for a, b in zip(one[1:5], other[1:5]))
        and abs(one[5] - other[5]) < 1e-6
        for one, other in zip(found, expected)
    )


def bad(client: Client, kind: str, rng: random.Random) -> str:
    """Ask wrongly; "refused", "left", or what went wrong."""
    body, typed = form(client.files[0], ["the red car"])
    match kind:
        case "trickle":
            return refusal(
                client.send(request("/locate", body[:40], typed, length=len(body)), 40, 0.4),
                {400, 408, 503, 0},
            )
        case "cut head":
            client.leave(b"POST /locate HTTP/1.1\r\nhost: 127.0.0.1\r\ncont", rng.random())
        case "cut body":
            client.leave(request("/locate", body, typed)[: rng.randrange(200, len(body))], rng.random())
        case "gone":
            client.leave(request("/locate", body, typed), rng.random() / 5)
        case "too long":  # says more than it sends, and waits
            client.leave(request("/locate", body, typed, length=len(body) + 1000), 2 * rng.random())
        case "too short":  # says less than it sends
            return refusal(client.send(request("/locate", body, typed, length=len(body) // 2)))
        case "no http":
            return refusal(client.send(rng.randbytes(200) + b"\r\n\r\n"))
        case "lying image":
            lie = client.files[0][:16] + b"\x08\xe1\x8f\x40\0\0\0\1" + client.files[0][24:]
            return refusal(client.send(request("/locate", *form(lie, ["a"]))))
        case "no image":
            return refusal(client.send(request("/locate", *form(rng.randbytes(3000), ["a"]))))
        case "no sentence":
            return refusal(client.send(request("/locate", *form(client.files[0], [" "]))))
        case "wrong host":
            return refusal(client.send(request("/locate", body, typed, host="evil.example")))
        case "wrong type":
            return refusal(client.send(request("/locate", body, "text/plain")))
        case "huge length":
            return refusal(client.send(request("/locate", b"x", typed, length=10**15)))
        case "half json":
            return refusal(client.send(request("/locate", b'{"image": "aaaa', "application/json")))
    return "left"


def refusal(answered: tuple[int, Any], expected: set[int] = ERRORS) -> str:
    status, content = answered
    shaped = status == 0 or (isinstance(content, dict) and list(content) == ["error"])
    return "refused" if status in expected and shaped else f"wrong: status {status} {str(content)[:100]}"


def one(client: Client, number: int) -> tuple[str, str]:
    """Request `number`: its kind is a function of the number."""
    rng = random.Random(number)
    kind = rng.choice(GOOD) if rng.random() < 0.6 else rng.choice(BAD)
    try:
        return kind, (good if kind in GOOD else bad)(client, kind, rng)
    except OSError as error:  # the server closed on a client that does wrong
        return kind, "closed" if kind in BAD else f"wrong: {error!r}"


def memory(pid: int) -> float:
    """Memory that a process holds now, in MB."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--timeout", type=float, default=60.0, help="of the server; more on a busy machine")
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "piza",
        "serve",
        "--model",
        options.model,
        "--port",
        "0",
        "--timeout",
        str(options.timeout),
    ]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    address = ("127.0.0.1", int(server.stderr.readline().split()[1].rsplit(":", 1)[1]))
    events: Counter[str] = Counter()

    def listen(lines: Any) -> None:
        for line in lines:
            events[json.loads(line)["event"] if line.startswith("{") else line[:80]] += 1

    threading.Thread(target=listen, args=(server.stderr,), daemon=True).start()
    client = Client(address, piza.load(options.model), 4 * options.timeout)
    for number in range(8):  # until all is loaded and warm
        good(client, GOOD[number % len(GOOD)], random.Random(number))
    client.retries, began = 0, time.monotonic()
    seen: Counter[tuple[str, str]] = Counter()
    sizes = [memory(server.pid)]
    with ThreadPoolExecutor(options.parallel) as pool:
        for number, found in enumerate(pool.map(partial(one, client), range(options.count)), start=1):
            seen[found] += 1
            if number % max(options.count // 10, 1) == 0:
                sizes.append(memory(server.pid))
                print(f"{number} requests, {sizes[-1]:.0f} MB, {time.monotonic() - began:.0f} s", flush=True)
    health, state = client.send(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    server.send_signal(signal.SIGTERM)
    code = server.wait(600)  # a busy machine takes its time
    wrong = {key: count for key, count in seen.items() if key[1].startswith("wrong")}
    answered = sum(count for (kind, came), count in seen.items() if kind in GOOD and came == "right")
    asked = sum(count for (kind, _), count in seen.items() if kind in GOOD)
    print(
        f"{options.count} requests, {options.parallel} in parallel, in {time.monotonic() - began:.0f} s: {answered} of {asked} good "
        f"ones answered right ({client.retries} times told to come back), {options.count - asked} others refused or cut; "
        f"memory {sizes[0]:.0f} MB at first, {sizes[len(sizes) // 2]:.0f} in the middle, {sizes[-1]:.0f} in the end, at most "
        f"{max(sizes):.0f}; health {health} {state}; exit code {code}; lines of the log: {dict(events)}"
    )
    for key, count in sorted(wrong.items()):
        print(count, key)
    raise SystemExit(bool(wrong) or events["fault"] > 0)


if __name__ == "__main__":
    main()
