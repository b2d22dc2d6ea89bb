"""A tracker gets the numbers, and its failures do not end a training."""

import sys
from types import SimpleNamespace

import accelerate.tracking  # noqa: F401 - looks which trackers there are, before a test hides some
import pytest
import torch

from piza.errors import InputError
from piza.training.distributed import connect
from piza.training.trackers import start_tracker


@pytest.fixture(autouse=True)
def connected():
    """accelerate's trackers ask it which process they are in."""
    connect("cpu")


def fake_trackio(monkeypatch, log):
    calls = []
    begun = SimpleNamespace(
        log=log or (lambda values, step: calls.append((step, values))),
        finish=lambda: calls.append("finish"),
    )

    def init(**options):
        calls.append(("init", options["project"], options["name"], options["resume"]))
        return begun

    config = SimpleNamespace(update=lambda values, **options: calls.append(values))
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init, config=config))
    return calls


def test_trackio_gets_the_numbers(monkeypatch, tmp_path):
    calls = fake_trackio(monkeypatch, None)
    tracker = start_tracker("trackio", tmp_path, "signs", {"lr": 1}, pytest.fail)
    tracker.record(20, {"loss": 3.5})
    tracker.finish()
    assert calls == [("init", "piza", "signs", "allow"), {"lr": 1}, (20, {"loss": 3.5}), "finish"]


def test_a_tracker_that_fails_is_left_alone(monkeypatch, tmp_path):
    def log(values, step):
        raise RuntimeError("no connection. And more")

    calls, said = fake_trackio(monkeypatch, log), []
    tracker = start_tracker("trackio", tmp_path, "signs", {}, said.append)
    for step in range(3):
        tracker.record(step, {"loss": 1.0})
    tracker.finish()
    assert (
        said == ["the tracker 'trackio' failed and is not used any more: no connection"] and len(calls) == 2
    )


VALUES = {20: {"loss": 3.5, "lr": 1e-4}, 40: {"loss": 2.25, "lr": 5e-5}}


def record(name, folder):
    """Runs a real tracker; whatever it cannot do fails the test."""
    tracker = start_tracker(
        name, folder, "signs", {"lr": 1e-4, "options": {"rank": 8}, "steps": None}, pytest.fail
    )
    for step, values in VALUES.items():
        tracker.record(step, values)
    tracker.finish()


def test_tensorboard_itself(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(20, 3.5), (40, 2.25)]


def test_wandb_itself_without_a_network(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for key, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    record("wandb", tmp_path)
    wandb.teardown()  # its own process writes the file
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    # The file's records are protobuf, in which names and JSON values are plain text.
    content = path.read_bytes()
    assert all(text in content for text in (b"signs", b"rank", b"loss", b"3.5", b"2.25"))


def test_mlflow_itself_in_a_local_store(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    record("mlflow", tmp_path)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("piza").experiment_id])
    assert run.info.run_name == "signs" and run.data.params["options"] == "{'rank': 8}"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(20, 3.5), (40, 2.25)]


def test_trackio_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    record("trackio", tmp_path)
    (run,) = trackio.Api().runs("piza")
    assert run.name == "signs"


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb", "mlflow"])
def test_one_that_is_not_installed_is_named(name, monkeypatch, tmp_path):
    for package in ("trackio", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in ("torch.utils.tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    with pytest.raises(InputError, match=f"pip install {name}"):
        start_tracker(name, tmp_path, "signs", {}, pytest.fail)


def test_none_does_nothing(tmp_path):
    tracker = start_tracker("none", tmp_path, "signs", {}, pytest.fail)
    tracker.record(1, {"loss": 1.0})
    tracker.finish()
    with pytest.raises(InputError, match="known are none, tensorboard, trackio, wandb, mlflow"):
        start_tracker("paper", tmp_path, "signs", {}, pytest.fail)
