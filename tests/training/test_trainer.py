"""Stopping and going on gives the result of going straight through."""

import csv

import numpy as np
import pytest
import torch
from torch import nn

from piza.errors import InputError
from piza.training.trainer import LoopConfig, learning_rate, train


def make_batch(step, process):
    rng = np.random.default_rng([step, process])
    x = torch.from_numpy(rng.normal(size=(16, 4)).astype(np.float32))
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])


def loss_of(model, batch):
    return {"loss": ((model(batch[0]) - batch[1]) ** 2).mean()}


def fresh():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


CONFIG = LoopConfig(steps=60, lr=5e-2, warmup=5, log_every=10)


def test_resume_equals_going_straight_through(tmp_path):
    straight, halved = fresh(), fresh()
    train(straight, list(straight.parameters()), make_batch, loss_of, CONFIG, tmp_path / "a")
    train(halved, list(halved.parameters()), make_batch, loss_of, CONFIG, tmp_path / "b", stop_after=23)
    resumed = fresh()
    train(resumed, list(resumed.parameters()), make_batch, loss_of, CONFIG, tmp_path / "b")
    for name, tensor in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, atol=0, rtol=0)


def test_it_learns_and_logs(tmp_path):
    model = fresh()
    train(model, list(model.parameters()), make_batch, loss_of, CONFIG, tmp_path)
    rows = list(csv.DictReader(open(tmp_path / "log.csv")))
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])


def test_another_schedule_is_refused(tmp_path):
    model = fresh()
    train(model, list(model.parameters()), make_batch, loss_of, CONFIG, tmp_path, stop_after=5)
    with pytest.raises(InputError, match="schedule"):
        train(model, list(model.parameters()), make_batch, loss_of, LoopConfig(steps=61, lr=1e-2), tmp_path)


def test_a_broken_loss_stops_and_keeps_the_checkpoint(tmp_path):
    model = fresh()
    train(model, list(model.parameters()), make_batch, loss_of, CONFIG, tmp_path, stop_after=5)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(FloatingPointError):
        train(
            model,
            list(model.parameters()),
            make_batch,
            lambda m, b: {"loss": m(b[0]).sum() * np.nan},
            CONFIG,
            tmp_path,
        )
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(step, CONFIG) for step in range(60)]
    assert rates[0] < rates[2] < rates[4] and rates[5] > rates[30] > rates[59] > 0
