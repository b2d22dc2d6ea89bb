"""Two processes train what one would with the doubled batch, whether each holds the whole model or a shard of it."""

import csv
import json
import os
import socket

import pytest
import torch
from tests.training.trained import StopsAt, make_place, settings, weights

import piza
from piza.errors import InputError
from piza.model.io import save_folder
from piza.training import distributed, run
from piza.training.distributed import connect, gather
from piza.training.run import train_model


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_tokenizer):
    return make_place(tmp_path_factory.mktemp("train"), tiny_tokenizer)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(run, "draw_log", lambda folder, say: None)


def in_two_processes(train, *arguments):
    """Call `train` in two processes, with what torchrun sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(
        _one_of_two, args=(port, train, *arguments), nprocs=2, start_method="fork"
    )


def _one_of_two(process, port, train, *arguments):
    numbers = dict(WORLD_SIZE=2, RANK=process, LOCAL_RANK=process, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    os.environ.update({name: str(number) for name, number in numbers.items()})
    train(*arguments)


EXACT = dict(steps=3, micro_batch=1, min_scale=0.7, augment=True)


def exact(place, out, **changes):
    return settings(place, out, **{**EXACT, **changes})


def validated(place):
    return dict(validate=str(place / "rows.json"), validate_every=3, validate_limit=5)


def assert_equal_trainings(two, one, begun):
    """Losses, norms, and how far weights moved from where they begun, but for the order in which numbers are added."""
    tables = [
        [
            {key: float(value) for key, value in line.items() if key not in ("s_per_step", "s_left")}
            for line in csv.DictReader(open(folder / "training" / "log.csv"))
        ]
        for folder in (one, two)
    ]
    assert len(tables[0]) == 3 and tables[0][0]["norm"] > 0
    for of_one, of_two in zip(*tables, strict=True):
        assert of_two == pytest.approx(of_one, rel=1e-3, abs=2e-4)
    begun, of_one, of_two = weights(begun), weights(one), weights(two)
    assert of_one.keys() == of_two.keys() == begun.keys()
    assert all(of_one[name].shape == of_two[name].shape for name in of_one)
    moved = sum(float((of_one[n] - begun[n]).square().sum()) for n in of_one) ** 0.5
    apart = sum(float((of_one[n] - of_two[n]).square().sum()) for n in of_one) ** 0.5
    assert moved > 0 and apart < 0.02 * moved


def assert_equal_validations(two, one):
    of_two, of_one = ((folder / "training" / "validation.csv").read_text() for folder in (two, one))
    assert of_two == of_one and ",5\n" in of_one.replace("\r", "")


@pytest.fixture(scope="module")
def in_one(place, tmp_path_factory):
    """By method: a training in one process, and the weights before its first step, by a rate that is next to nothing."""
    folder = tmp_path_factory.mktemp("one")
    for method, watched in (("adapter_plus", validated(place)), ("full", {})):
        train_model(exact(place, folder / method, batch=6, method=method, **watched))
        train_model(exact(place, folder / f"{method}-begun", batch=6, method=method, steps=1, lr=1e-30))
    return folder


def test_two_processes_are_one_with_the_doubled_batch(place, in_one, tmp_path):
    in_two_processes(train_model, exact(place, tmp_path / "two", batch=3, **validated(place)))
    assert_equal_trainings(tmp_path / "two", in_one / "adapter_plus", in_one / "adapter_plus-begun")
    assert_equal_validations(tmp_path / "two", in_one / "adapter_plus")


def stop_and_go_on(config):
    """Stopped in one process, which stops both, and gone on."""
    found = train_model(config, bar=lambda done, steps: StopsAt(1))
    assert found.stopped and found.steps < config.steps
    found = train_model(config)
    assert (found.steps, found.stopped) == (config.steps, False)


def test_two_processes_are_stopped_and_go_on(place, tmp_path):
    in_two_processes(stop_and_go_on, settings(place, tmp_path / "two", steps=3, batch=2))
    note = json.loads((tmp_path / "two" / "training" / "run.json").read_text())
    assert note["processes"] == 2
    with pytest.raises(InputError, match="2 processes"):
        train_model(settings(place, tmp_path / "two", steps=3, batch=2))


def sharded(train, config):
    """accelerate shards on graphics cards only, so it takes these two processes for cards; torch shards on the CPU, too."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2")
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    shares, counts = [], []

    class Watched(run.Trainer):
        def run(self, stop_after=None):
            shares.append(sum(hasattr(p, "full_tensor") for p in self.parameters) / len(self.parameters))
            return super().run(stop_after)

        def _backward(self, batch):
            counts.append(len(set(gather(len(batch.batches)))))
            return super()._backward(batch)

    run.Trainer = Watched
    train(config)
    assert min(shares) > 0.98  # all but a few scalars
    assert config.micro_batch == 1 or max(counts) > 1  # processes have unequal numbers of micro-batches


def test_shards_are_the_whole(place, in_one, tmp_path):
    """Of weights, gradients, moments and average; also stopped and gone on. The result is a whole model."""
    two = tmp_path / "two"
    in_two_processes(sharded, stop_and_go_on, exact(place, two, batch=3, method="full"))
    assert_equal_trainings(two, in_one / "full", in_one / "full-begun")
    assert piza.load(str(two)).locate(str(place / "photos" / "0.jpg"), "the red car").windows


def test_shards_of_an_adapter_are_validated_together(place, in_one, tmp_path):
    two = tmp_path / "two"
    in_two_processes(sharded, train_model, exact(place, two, batch=3, **validated(place)))
    assert_equal_trainings(two, in_one / "adapter_plus", in_one / "adapter_plus-begun")
    assert_equal_validations(two, in_one / "adapter_plus")


@pytest.fixture
def listing(tiny_listing_piza, tmp_path):
    """Settings of a training whose micro-batches use different parameters each: frames teach the list, windows do not."""
    save_folder(tiny_listing_piza, tmp_path / "base")
    return dict(base=str(tmp_path / "base"), method="full")


def test_parameters_that_a_micro_batch_does_not_use(place, listing, tmp_path):
    one, two, begun = (tmp_path / name for name in ("one", "two", "begun"))
    in_two_processes(train_model, exact(place, two, batch=3, **listing))
    train_model(exact(place, one, batch=6, **listing))
    train_model(exact(place, begun, batch=6, **{**listing, "steps": 1, "lr": 1e-30}))
    assert_equal_trainings(two, one, begun)


def test_shards_where_processes_have_unequal_numbers_of_micro_batches(place, listing, tmp_path):
    """What two processes do with the whole model is what they do with its shards."""
    sizes = dict(micro_batch=None, batch=4, crops_per_image=2, **listing)
    whole, shards, begun = (tmp_path / name for name in ("whole", "shards", "begun"))
    in_two_processes(train_model, exact(place, whole, **sizes))
    in_two_processes(sharded, train_model, exact(place, shards, **sizes))
    in_two_processes(train_model, exact(place, begun, **{**sizes, "steps": 1, "lr": 1e-30}))
    assert_equal_trainings(shards, whole, begun)


def test_shards_on_processors_are_refused(place, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match=r"asked to shard the model \(FSDP\).*graphics cards only"):
        train_model(settings(place, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "launched, asked, found",
    [("no", None, "no"), ("bf16", None, "bf16"), ("bf16", "fp32", "no"), ("no", "bf16", "bf16")],
)
def test_the_launcher_names_the_precision_and_an_option_wins(launched, asked, found, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    assert connect("cpu", asked).mixed_precision == found
    monkeypatch.setenv(
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"
    )  # would divide losses that are weighted already
    assert connect("cpu", asked).gradient_accumulation_steps == 1


def test_what_a_launcher_asks_for_and_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(InputError, match="'fp16'; expected no or bf16"):
        connect("cpu")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert connect("auto").device.type == "cpu"


def test_several_processes_do_not_share_a_named_card(monkeypatch):
    monkeypatch.setattr(distributed, "check_device", lambda device, local_rank: device)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="a card each, expected --device auto, cpu or cuda, got 'cuda:0'"):
        connect("cuda:0")


def test_the_one_card_of_a_process_needs_no_number(monkeypatch):
    monkeypatch.setattr(distributed, "check_device", lambda device, local_rank: "cuda")
    assert str(connect("auto").device) == "cuda"
    connect("cpu")


def test_without_accelerate_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(InputError, match=r"needs accelerate; install it with pip install 'piza\[train\]'"):
        connect("cpu")
