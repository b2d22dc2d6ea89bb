"""`piza train` reads its arguments, says what happened, and refuses bad input in one sentence."""

import json
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tests.conftest import tiny_detector

from piza.cli import main as cli
from piza.config import TrainConfig
from piza.training import run
from piza.training.checkpoint import checkpoint_step
from piza.training.run import TrainResult


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_tokenizer):
    place = tmp_path_factory.mktemp("cli_train")
    tiny_detector().save_pretrained(place / "base")
    tiny_tokenizer.save_pretrained(place / "base")
    picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(picture).save(place / "a.jpg")
    row = {"image": "a.jpg", "bbox": [30, 40, 18, 14], "ref": "the red car", "id": 1}
    (place / "rows.json").write_text(json.dumps([row]))
    (place / "none.json").write_text("[]")
    (place / "object.json").write_text(json.dumps(row))
    return place


def command(place, *more):
    return ["train", str(place / "rows.json"), "--images", str(place), "--base", str(place / "base"), *more]


@pytest.fixture
def asked(monkeypatch):
    """What `train_model` was asked for; it answers `asked.answer`."""

    class Asked(list):
        answer = TrainResult(steps=10, planned=10, stopped=False, skipped=0, replaced=0)

    asked = Asked()

    def train_model(config, log, bar):
        asked.append(config)
        return asked.answer

    monkeypatch.setattr(run, "train_model", train_model)
    return asked


def test_arguments_become_settings(place, asked, capsys):
    more = "--method lora --plain --merge --option rank=8 --option alpha=4.5 --steps 3 --lr 1e-3 --micro-batch 2 --augment"
    assert cli.main(command(place, "--out", "o", *more.split())) == 0
    config = asked[0]
    assert (config.method, config.plain, config.merge, config.options) == (
        "lora", True, True, {"rank": 8, "alpha": 4.5},
    )  # fmt: skip
    assert (config.steps, config.lr, config.micro_batch, config.augment, config.out) == (
        3,
        1e-3,
        2,
        True,
        "o",
    )
    out, err = capsys.readouterr()
    assert out == "" and "wrote o" in err


def test_what_is_not_said_is_as_published(place, asked):
    assert cli.main(command(place, "--out", "o")) == 0
    rest = {"rows": str(place / "rows.json"), "images": str(place), "base": str(place / "base"), "out": "o"}
    assert asked[0] == TrainConfig(**rest)
    config = asked[0]
    assert (config.lr, config.max_grad_norm, config.weight_decay, config.epochs, config.backbone_lr) == (
        2e-4,
        0.1,
        1e-4,
        5,
        0.1,
    )


def test_a_stopped_training_says_how_to_go_on(place, asked, capsys):
    asked.answer = TrainResult(steps=4, planned=10, stopped=True, skipped=0, replaced=2)
    assert cli.main(command(place, "--out", "o")) == 130
    err = capsys.readouterr().err
    assert "stopped after step 4 of 10" in err and "the same command goes on" in err and "2 times" in err


def test_it_trains_and_evaluates(place, tmp_path, capsys):
    """From the command to a model that the other commands take; the plot is drawn, and each step is told."""
    out = tmp_path / "out"
    more = "--steps 2 --batch 2 --crops-per-image 2 --first-pixels 128 --later-pixels 128 --min-scale 1 --history-steps 3 --log-every 1 --device cpu"
    assert cli.main(command(place, "--out", str(out), *more.split())) == 0
    printed, err = capsys.readouterr()
    assert printed == "" and "step 2 of 2, loss" in err and "adapter_plus, told the zoom" in err
    with Image.open(out / "training" / "losses.png") as plot:
        assert plot.width > 500
    assert (
        cli.main(
            ["evaluate", str(place / "rows.json"), "--images", str(place), "--model", str(out), "--json"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    assert cli.main(command(place, "--out", str(out), *more.split(), "--lr", "1")) == 2
    assert "--lr 0.0002, now it is 1.0" in capsys.readouterr().err


def test_a_worker_killed_from_outside_is_a_sentence_and_the_same_command_goes_on(place, tmp_path, capsys):
    out = tmp_path / "out"
    log = out / "training" / "log.csv"
    more = (
        "--steps 30 --batch 1 --plain --first-pixels 128 --min-scale 1 --workers 1 --log-every 1 --device cpu"
    )
    arguments = command(place, "--out", str(out), *more.split())

    def kill_the_worker():
        while not log.exists() or log.read_text().count("\n") < 3:
            time.sleep(0.005)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_worker, daemon=True)
    killer.start()
    assert cli.main(arguments) == 2
    killer.join(10)
    *_, last = capsys.readouterr().err.splitlines()
    assert "was killed at step" in last and "the same command goes on" in last
    assert 2 <= checkpoint_step(out / "training") < 30 and not list(out.rglob(".*"))
    assert cli.main(arguments) == 0 and checkpoint_step(out / "training") == 30


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train"], "the file of rows is needed"),
        (["train", "gone.json", "--images", ".", "--base", "mini", "--out", "o"], "gone.json"),
        (["train", "{place}/none.json", "--images", ".", "--base", "mini", "--out", "o"], "no rows"),
        (["train", "{place}/object.json", "--images", ".", "--base", "mini", "--out", "o"], "list of rows"),
        (["--out", "o", "--method", "magic"], "adapter_plus, coop, full, lora"),
        (["--out", "o", "--steps", "none"], "whole number"),
        (["--out", "o", "--lr", "fast"], "fast"),
        (["--out", "o", "--option", "rank"], "NAME=VALUE"),
        (["--out", "o", "--option", "rank=many"], "many"),
        (["--out", "o", "--option", "depth=2"], "no option 'depth'"),
        (["--out", "o", "--method", "coop", "--merge"], "cannot be merged"),
        (["--out", "o", "--images", "nowhere"], "nowhere"),
        (["--out", "o", "--base", "nowhere"], "nowhere"),
        (["--out", ""], "expected the name of a folder"),
        (["--out", "{place}/rows.json"], "got a file"),
        (["--out", "{place}"], "new or empty folder"),
        (["--out", "o", "--validate", "gone.json"], "gone.json"),
        (["--out", "o", "--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [text.format(place=place) for text in arguments]
    assert cli.main(arguments if arguments[0] == "train" else command(place, *arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.startswith("piza: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
