"""A tracker gets the numbers, and its failures do not end a training."""

import sys
from types import SimpleNamespace

import pytest

from piza.errors import InputError
from piza.training.trackers import start_tracker


def fake_trackio(monkeypatch, log):
    calls = []
    module = SimpleNamespace(
        init=lambda **options: calls.append(("init", options["project"], options["name"], options["config"])),
        log=log or (lambda values, step: calls.append((step, values))),
        finish=lambda: calls.append("finish"),
    )
    monkeypatch.setitem(sys.modules, "trackio", module)
    return calls


def test_trackio_gets_the_numbers(monkeypatch, tmp_path):
    calls = fake_trackio(monkeypatch, None)
    tracker = start_tracker("trackio", tmp_path, "signs", {"lr": 1}, pytest.fail)
    tracker.record(20, {"loss": 3.5})
    tracker.finish()
    assert calls == [("init", "piza", "signs", {"lr": 1}), (20, {"loss": 3.5}), "finish"]


def test_a_tracker_that_fails_is_left_alone(monkeypatch, tmp_path):
    def log(values, step):
        raise RuntimeError("no connection. And more")

    calls, said = fake_trackio(monkeypatch, log), []
    tracker = start_tracker("trackio", tmp_path, "signs", {}, said.append)
    for step in range(3):
        tracker.record(step, {"loss": 1.0})
    tracker.finish()
    assert (
        said == ["the tracker 'trackio' failed and is not used any more: no connection"] and len(calls) == 1
    )


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_one_that_is_not_installed_is_named(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=f"pip install {name}"):
        start_tracker(name, tmp_path, "signs", {}, pytest.fail)


def test_none_does_nothing(tmp_path):
    tracker = start_tracker("none", tmp_path, "signs", {}, pytest.fail)
    tracker.record(1, {"loss": 1.0})
    tracker.finish()
    with pytest.raises(InputError, match="known are none, tensorboard, trackio"):
        start_tracker("paper", tmp_path, "signs", {}, pytest.fail)
