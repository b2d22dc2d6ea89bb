"""Numbers as a user types them, in every option of every command: what makes no sense is refused by its name and range."""

import argparse

import pytest

from piza.cli.main import _parser, main
from piza.config import Evidence, PathConfig, SearchConfig, TrainConfig
from piza.data.scenes import write as write_scenes
from piza.dataset.candidates import tiled
from piza.dataset.endpoint import EndpointConfig
from piza.dataset.grouping import group_photos
from piza.dataset.merge import dedupe_rows
from piza.dataset.selection import SelectionConfig
from piza.dataset.split import split_rows
from piza.errors import InputError
from piza.server.app import ServeConfig, serve

TEXT_OPTIONS = {
    "--size",
    "--allow-host",
    "--allow-origin",
    "--split",
    "--parts",
}  # with a type, but no number
NO_NUMBERS = ["nan", "-nan", "inf", "-inf", "1e400", "x", "", " ", "1_0", "\u0663", "0x10", "3,5", "9" * 5000]
SENSELESS = {  # finite, but out of range; of these commands everything needed is given
    "train": {
        "--epochs": ["0", "-1", "1e300"], "--lr": ["0", "-0.1", "1e300"], "--backbone-lr": ["-1", "1e300"],
        "--max-grad-norm": ["0", "-1", "1e300"], "--weight-decay": ["-1", "1e300"], "--ema-decay": ["-1", "1", "2"],
        "--min-scale": ["0", "-1", "1.5"], "--save-every": ["-1", "1e300"], "--batch": ["0", "9" * 30],
        "--first-pixels": ["31", "4097"], "--workers": ["0", "1025"], "--seed": ["-1", "9" * 30], "--warmup": ["-1"],
    },
    "data propose": {
        "--min-score": ["7", "-1", "1e300"], "--min-share": ["0", "101", "1e300"], "--max-share": ["0", "101"],
        "--min-side": ["0", "-3", "1e300"], "--tiles": ["0", "33", "9" * 30], "--per-photo": ["0", "3.5", "9" * 30],
    },
    "data describe": {
        "--temperature": ["-0.1", "2.1", "1e300"], "--timeout": ["0", "1e300"], "--retries": ["-1", "101"],
        "--per-minute": ["0", "1e300"], "--parallel": ["0", "1025"], "--price-in": ["-1", "1e300"],
    },
    "data split": {"--near": ["0", "-1", "1e300"], "--similar": ["-2", "257"], "--parts": ["a=nan", "a=1e400", "a=0,b=1", "a=1e308"]},
    "data verify page": {"--port": ["-1", "65536", "3.5"]},
    "evaluate": {"--workers": ["0", "1025"], "--tile": ["0", "65536"], "--overlap": ["1", "-0.1"], "--min-score": ["1.1", "-1"]},
    "serve": {"--port": ["65536"], "--timeout": ["0", "-1", "1e300"], "--upload": ["0", "1e300"], "--queue-size": ["-1"]},
}  # fmt: skip
NEEDED = {
    "train": ["rows.json", "--images", ".", "--base", "mini", "--out", "out"],
    "data describe": [
        "a.jsonl", "--images", ".", "--out", "b.jsonl", "--endpoint", "http://localhost:9", "--model", "m",
        "--max-cost", "1", "--price-out", "1",
    ],
}  # fmt: skip


def number_options(parser, command=()):
    """Each option of each command that is read as a number."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from number_options(inner, (*command, name))
        elif action.type is not None and action.option_strings[0] not in TEXT_OPTIONS:
            yield command, action.option_strings[0]


def refused(arguments, capsys) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and len(printed.err) < 250
    return printed.err


def test_no_option_takes_what_is_no_number(capsys):
    options = list(number_options(_parser()))
    assert len(options) > 60
    for command, option in options:
        for text in NO_NUMBERS:
            message = refused([*command, f"{option}={text}"], capsys)
            assert f"{option}: expected a" in message, (command, message)


@pytest.mark.parametrize("command", SENSELESS)
def test_a_number_out_of_range(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option, texts in SENSELESS[command].items():
        for text in texts:
            message = refused([*command.split(), *NEEDED.get(command, []), f"{option}={text}"], capsys)
            assert option[2:].replace("-", "_") in message.replace("-", "_"), message
            assert "expected" in message, message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cls", "field", "values"),
    [
        (SelectionConfig, "min_score", [7.0, -1.0, float("nan"), "0.5"]),
        (SelectionConfig, "min_side", [-1.0, 1e300]),
        (SearchConfig, "budget", [0, 10**30, 3.5, True]),
        (SearchConfig, "min_score", [7.0, float("nan")]),
        (Evidence, "later", [1e300, float("inf")]),
        (PathConfig, "last_zoom", [1e300]),
        (EndpointConfig, "timeout", [0.0, 1e300]),
        (EndpointConfig, "retries", [-1, 101]),
        (TrainConfig, "lr", [0.0, 1e300, float("nan")]),
        (TrainConfig, "epochs", [1e300]),
    ],
)
def test_the_same_in_python(cls, field, values):
    given = {"rows": "r", "images": "i", "base": "b", "out": "o"} if cls is TrainConfig else {}
    given |= {"url": "http://localhost:9", "model": "m"} if cls is EndpointConfig else {}
    for value in values:
        with pytest.raises(InputError, match=field):
            cls(**given, **{field: value})


def test_functions_refuse_the_same(tmp_path):
    rows = [{"image": "a.png", "bbox": [0, 0, 1, 1], "ref": "a", "id": 1}]
    calls = {
        "tiles": [lambda n=n: tiled(lambda image: [], n) for n in (0, 33, 2.5, 10**30)],
        "similar": [lambda n=n: dedupe_rows(rows, tmp_path, n) for n in (-1, 257, 2.5)],
        "near": [lambda n=n: group_photos(["a.png"], tmp_path, near=n) for n in (0, float("nan"), 1e300)],
        "shares": [lambda n=n: split_rows(rows, tmp_path, {"a": n}) for n in (0, float("nan"), 1e308)],
        "workers": [lambda n=n: write_scenes(tmp_path / "s", 1, 0, workers=n) for n in (0, 1025)],
        "count": [lambda n=n: write_scenes(tmp_path / "s", n, 0) for n in (0, 10**30, 1.5)],
        "port": [lambda n=n: serve(config=ServeConfig(port=n)) for n in (-1, 65536, 80.5)],
        "seconds": [lambda n=n: serve(config=ServeConfig(seconds=n)) for n in (0, float("nan"), 1e300)],
    }
    for name, tries in calls.items():
        for call in tries:
            with pytest.raises(InputError, match=f"{name}.*expected|expected.*{name}"):
                call()
    assert list(tmp_path.iterdir()) == []
