"""Changing sound content with a plain random generator: a hundred times faster than hypothesis, and without its shrinking."""

import copy
import json
import random
from typing import Any

VALUES: list[Any] = [
    None, True, -1, 0, 0.5, 10**12, 10**400, 1e308, float("nan"), float("inf"), "", " ", "x", "9" * 5000, "../a", "/etc/passwd",
    "a\0b", "\ud800", "\x1b[2J", [], {}, [[1]], {"a": 1}, [1, 2, 3, 4], [1e400, 0, 1, 1], "1e400", "\u00b2", "nan",
]  # fmt: skip
PIECES = [
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f",
    b"\n",
    b",",
    b'"',
    b"[",
    b"]",
    b"}",
    b"1e999",
    b"\xff\xd8",
    b"9" * 5000,
]


def mutated(rng: random.Random, seed: bytes) -> bytes:
    """Other content: changed as JSON where it is, or as bytes, or as both."""
    content = seed
    try:
        tree = json.loads(seed)
    except ValueError:
        tree = None
    if tree is not None and rng.random() < 0.7:
        content = json.dumps(bent(rng, tree)).encode(errors="surrogatepass")
        if rng.random() < 0.8:
            return content
    return damaged(rng, content)


def bent(rng: random.Random, tree: Any) -> Any:
    """A JSON value with one to three parts replaced, removed or doubled, wherever they stand."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        place = tree
        while isinstance(place, (dict, list)) and place:
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.7:
                place = place[key]
                continue
            kind = rng.random()
            if kind < 0.2:
                del place[key]
            elif kind < 0.3 and isinstance(place, list):
                place.append(place[key])
            elif kind < 0.4 and isinstance(place, dict):
                place[rng.choice(["x", "id", "bbox", "\ud800"])] = rng.choice(VALUES)
            else:
                place[key] = copy.deepcopy(rng.choice(VALUES))
            break
    return tree


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Bytes with some changed, cut off, put in or repeated."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(data) + 1)
        kind = rng.random()
        if kind < 0.1:
            del data[at:]
        elif kind < 0.3:
            data[at:at] = rng.choice(PIECES)
        elif kind < 0.4:
            data[at:at] = data[at : at + rng.randint(1, 64)]
        elif kind < 0.7:
            data[at : at + 1] = bytes([rng.randrange(256)])
        else:
            data[at : at + 4] = rng.choice(PIECES[:3])
    return bytes(data)
