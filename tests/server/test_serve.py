"""`piza serve`: its arguments, its models and its address."""

import socket
import subprocess
import sys

import pytest

from piza.cli.main import main
from piza.errors import InputError
from piza.server import app as server


def test_an_address_in_use_or_unknown_is_refused():
    with socket.create_server((server.HOST, 0)) as taken, pytest.raises(InputError, match="cannot serve at"):
        server.listen(server.HOST, taken.getsockname()[1])
    for unknown in ("256.1.2.3", "x" * 300, "a..b"):
        with pytest.raises(InputError, match="cannot serve at"):
            server.listen(unknown, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--port", "70000"],
        ["--timeout", "0"],
        ["--timeout", "1e400"],
        ["--upload", "x"],
        ["--queue-size", "-1"],
        ["--allow-origin", "*"],
        ["--allow-origin", "app.example"],
        ["--allow-origin", "https://app.example/path"],
        ["--allow-host", "http://app.example"],
        ["--allow-host", "*"],
        ["--allow-host", "app.example:80"],
        ["--allow-host", "cafe:8000"],
        ["--allow-host", "[::1"],
    ],
)
def test_wrong_arguments(wrong, capsys):
    assert main(["serve", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_options_reach_the_server(monkeypatch):
    given = []
    monkeypatch.setattr("piza.cli.serve.serve", lambda *values: given.append(values))
    options = "--model a --model b --port 0 --queue-size 3 --timeout 5 --upload 2 --allow-host x --allow-origin https://Y.example"
    assert main(["serve", *options.split()]) == 0
    config = server.ServeConfig(server.HOST, 0, 3, 5.0, 2.0, ("x",), ("https://y.example",))
    assert given == [(["a", "b"], "auto", config)]


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--port", "0"]) == 2
    assert "pip install 'piza[serve]'" in capsys.readouterr().err


def test_folders_of_the_same_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("piza.load", lambda name, device: name)
    folders = [tmp_path / part / "model" for part in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert server.load_models([str(folders[0]), "mini"], "cpu") == {"model": str(folders[0]), "mini": "mini"}
    with pytest.raises(InputError, match="two models are called 'model'"):
        server.load_models([str(folder) for folder in folders], "cpu")


def test_help_does_not_import_what_serving_needs():
    code = (
        "import sys; from piza.cli.main import guard, _parser; _parser().format_help();"
        "print(sorted({'fastapi', 'uvicorn', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
