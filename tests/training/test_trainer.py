"""Stopping and going on gives the result of going straight through; what breaks a run costs no finished step."""

import csv
import errno
import os
import signal

import numpy as np
import pytest
import torch
from tests.processes import in_child
from torch import nn

from piza.errors import InputError
from piza.files import atomic_write
from piza.training.checkpoint import CHECKPOINT, averaged_weights, checkpoint_step
from piza.training.optimizers import learning_rate
from piza.training.trainer import Callbacks, Trainer
from piza.training.trainer_config import TrainerConfig


def make_batch(step, process):
    rng = np.random.default_rng([step, process])
    x = torch.from_numpy(rng.normal(size=(16, 4)).astype(np.float32))
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])


def loss_of(model, batch):
    return {"loss": ((model(batch[0]) - batch[1]) ** 2).mean()}


def fresh():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


CONFIG = TrainerConfig(steps=60, lr=5e-2, warmup=5, log_every=10)


def train(model, folder, stop_after=None, config=CONFIG, make=make_batch, loss=loss_of, **callbacks):
    trainer = Trainer(model, list(model.parameters()), make, loss, config, folder, Callbacks(**callbacks))
    trainer.run(stop_after)
    return model


def assert_same(one, other):
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, atol=0, rtol=0)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return train(fresh(), tmp_path_factory.mktemp("straight"))


def test_resume_equals_going_straight_through(straight, tmp_path):
    train(fresh(), tmp_path, stop_after=23)
    assert_same(straight, train(fresh(), tmp_path))


def test_it_learns_and_logs(tmp_path):
    train(fresh(), tmp_path)
    rows = list(csv.DictReader(open(tmp_path / "log.csv")))
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])


def test_another_schedule_is_refused(tmp_path):
    train(fresh(), tmp_path, stop_after=5)
    with pytest.raises(InputError, match="schedule"):
        train(fresh(), tmp_path, config=TrainerConfig(steps=61, lr=1e-2))


def test_another_model_is_refused(tmp_path):
    train(fresh(), tmp_path, stop_after=5)
    with pytest.raises(InputError, match="another model"):
        train(nn.Sequential(nn.Linear(4, 1)), tmp_path)


def test_a_broken_loss_stops_and_keeps_the_checkpoint(tmp_path):
    train(fresh(), tmp_path, stop_after=5)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(FloatingPointError):
        train(fresh(), tmp_path, loss=lambda m, b: {"loss": m(b[0]).sum() * np.nan})
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(step, CONFIG) for step in range(60)]
    assert rates[0] < rates[2] < rates[4] and rates[5] > rates[30] > rates[59] > 0


@pytest.mark.parametrize("tenth", range(10))
def test_a_checkpoint_damaged_anywhere_is_refused_before_a_step(tenth, tmp_path):
    train(fresh(), tmp_path, stop_after=5)
    file = tmp_path / CHECKPOINT
    content = bytearray(file.read_bytes())
    at = min(len(content) - 1, 8 + tenth * len(content) // 10)
    content[at] ^= 0x15
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
        train(fresh(), tmp_path, after_step=lambda step: pytest.fail("it trained"))
    assert file.read_bytes() == content


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_cut_anywhere_is_refused(share, tmp_path):
    train(fresh(), tmp_path, stop_after=5)
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
        checkpoint_step(tmp_path)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
        train(fresh(), tmp_path)


def killed_at_12(step, process):
    if step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_batch(step, process)


def test_a_killed_worker_is_a_sentence_and_the_steps_done_are_kept(straight, tmp_path):
    with pytest.raises(InputError, match=r"was killed at step \d+: .*that of step \d+ stands"):
        train(fresh(), tmp_path, make=killed_at_12)
    assert checkpoint_step(tmp_path) >= 8  # what the worker was ahead, up to three batches, is made again
    assert_same(straight, train(fresh(), tmp_path))


def test_too_little_memory_is_a_sentence_and_the_steps_done_are_kept(straight, tmp_path):
    steps = []

    def hungry(model, batch):
        steps.append(len(steps))
        if len(steps) == 8:
            torch.empty(2**50)
        return loss_of(model, batch)

    with pytest.raises(InputError, match=r"not enough memory at step 8: .*that of step 7 stands"):
        train(fresh(), tmp_path, loss=hungry)
    assert checkpoint_step(tmp_path) == 7
    assert averaged_weights(tmp_path).keys() == fresh().state_dict().keys()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "more files may not be open"),
        (RuntimeError("unable to mmap 96 bytes from file </torch_1>: Cannot allocate memory (12)"), "memory"),
    ],
)
def test_limits_of_the_machine_are_a_sentence_and_the_steps_done_are_kept(error, words, tmp_path):
    steps = []

    def limited(model, batch):
        steps.append(len(steps))
        if len(steps) == 5:
            raise error
        return loss_of(model, batch)

    with pytest.raises(InputError, match=rf"{words}.* at step 5: .*that of step 4 stands"):
        train(fresh(), tmp_path, loss=limited)
    assert checkpoint_step(tmp_path) == 4


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError])
def test_a_bug_in_the_loss_is_no_input_error_and_the_steps_done_are_kept(kind, tmp_path):
    steps = []

    def buggy(model, batch):
        steps.append(len(steps))
        if len(steps) == 4:
            raise kind("shapes do not fit")
        return loss_of(model, batch)

    with pytest.raises(kind, match="shapes do not fit") as caught:
        train(fresh(), tmp_path, loss=buggy)
    assert not isinstance(caught.value, InputError) and checkpoint_step(tmp_path) == 3


def test_a_checkpoint_for_which_there_is_no_memory_is_a_sentence(tmp_path, monkeypatch):
    def hungry(*given):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("piza.training.checkpoint._copies", hungry)
    with pytest.raises(InputError, match=r"checkpoint of step 2 cannot be written .*allocate memory"):
        train(fresh(), tmp_path, stop_after=2)


def test_what_a_killed_write_left_is_swept(tmp_path):
    def killed_within():
        with atomic_write(tmp_path / CHECKPOINT) as part:
            part.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed_within) == signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    train(fresh(), tmp_path, stop_after=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, "log.csv"]
