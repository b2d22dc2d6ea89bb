"""`--device` means the same everywhere, and what cannot be used is one sentence."""

import argparse
import errno

import pytest
import torch

import piza
from piza.cli import main as cli
from piza.cli.common import guard
from piza.devices import check_device, device_failure, needing_torch
from piza.errors import InputError
from piza.grounders.base import load_grounder
from piza.runtimes import engines
from piza.server.app import load_models


@pytest.fixture
def two_cards(monkeypatch):
    """A machine with two cards, as far as torch says; what is put on them is not."""
    real = torch.zeros

    def zeros(*size, device="cpu", **options):
        if str(device) not in ("cpu", "cuda", "cuda:0", "cuda:1"):
            raise RuntimeError("CUDA error: invalid device ordinal")
        return real(*size, **options)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "zeros", zeros)


@pytest.fixture
def no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_is_a_card_if_there_is_one(two_cards):
    assert check_device() == check_device("auto") == check_device("cuda") == "cuda"
    assert check_device("cuda:1") == check_device(torch.device("cuda", 1)) == "cuda:1"
    assert check_device("cpu") == "cpu"


def test_a_process_of_several_takes_the_card_of_its_number(two_cards):
    assert check_device("auto", local_rank=1) == check_device("cuda", local_rank=1) == "cuda:1"
    assert check_device("cuda:0", local_rank=1) == "cuda:0" and check_device("cpu", local_rank=1) == "cpu"
    with pytest.raises(InputError, match="'cuda:2' cannot be used here: there are 2 cards, cuda:0 to cuda:1"):
        check_device("auto", local_rank=2)


def test_auto_is_the_processor_where_there_is_no_card(no_card):
    assert check_device() == check_device(torch.device("cpu")) == check_device("cpu:0") == "cpu"
    with pytest.raises(InputError, match="'cuda' cannot be used here: torch sees no graphics card with CUDA"):
        check_device("cuda")


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "cuda:x", "CUDA", "cuda:-1", "meta", "cpu:1", "", "auto:0", None, 0]
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="expected auto, cpu, cuda, cuda:N or mps, got"):
        check_device(name)


@pytest.fixture
def place(tmp_path, tiny_piza):
    from PIL import Image

    from piza.model.io import save_folder

    save_folder(tiny_piza, tmp_path / "model")
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "rows.json").write_text(
        '[{"image": "a.png", "bbox": [5, 5, 9, 9], "ref": "The car.", "id": 0}]'
    )
    return tmp_path


def commands(place):
    model, rows, images = str(place / "model"), str(place / "rows.json"), str(place)
    return {
        "locate": ["locate", str(place / "a.png"), "the car", "--model", model],
        "evaluate": ["evaluate", rows, "--images", images, "--model", model],
        "evaluate, kept": [
            "evaluate",
            rows,
            "--images",
            images,
            "--model",
            model,
            "--predictions",
            f"{place}/p.jsonl",
        ],
        "serve": ["serve", "--model", model, "--port", "0"],
        "train": [
            "train",
            rows,
            "--images",
            images,
            "--base",
            model,
            "--out",
            f"{place}/out",
            "--method",
            "full",
        ],
    }


@pytest.mark.parametrize("command", ["locate", "evaluate", "evaluate, kept", "serve", "train"])
@pytest.mark.parametrize(
    "device, words", [("cuda", "torch sees no"), ("cuda:7", "torch sees no"), ("gpu", "expected auto")]
)
def test_every_command_refuses_in_the_same_words(command, device, words, place, no_card, capsys):
    before = sorted(place.rglob("*"))
    assert cli.main([*commands(place)[command], "--device", device]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("piza: ") and words in err and err.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_every_command_and_function_chooses_by_itself(place, no_card, monkeypatch):
    assert str(piza.load(str(place / "model")).device) == "cpu"
    assert cli.main([*commands(place)["locate"], "--device", "auto"]) == 0
    assert piza.locate(str(place / "a.png"), "the car", model=str(place / "model")).box_xyxy
    (loaded,) = load_models([str(place / "model")], "auto").values()
    assert str(loaded.device) == "cpu"


def test_predictions_go_on_on_the_same_device_only(place, no_card, two_cards, monkeypatch):
    from piza.cli.common import chosen_device

    options = argparse.Namespace(model=str(place / "model"), runtime=None, device="auto")
    assert chosen_device(options) == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device(options) == "cpu"


def test_a_chat_model_is_elsewhere():
    with pytest.raises(InputError, match="--device cuda does not reach it"):
        load_grounder("chat:some@http://localhost:1/v1", "cuda")


def test_a_device_that_is_too_small_or_lacks_an_operation_is_a_sentence(capsys):
    def run(error):
        def action():
            raise error

        return guard(action)

    assert run(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has ...")) == 2
    assert "the memory of the device does not suffice (CUDA out of memory)" in capsys.readouterr().err
    assert (
        run(
            NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device. ...")
        )
        == 2
    )
    assert "'aten::x' is not currently implemented" in capsys.readouterr().err
    for error in (
        MemoryError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("unable to mmap 96 bytes from file </torch_1>: Cannot allocate memory (12)"),
        RuntimeError("can't start new thread"),
        RuntimeError("could not create a primitive"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ):
        assert run(error) == 2
        assert "there is not enough memory for this" in capsys.readouterr().err
    for error in (RuntimeError("a bug"), ImportError("cannot import name 'x'")):
        with pytest.raises(type(error)):
            run(error)
    assert device_failure(NotImplementedError()) is None


def test_torch_that_cannot_be_mapped_is_a_lack_of_memory_and_not_of_torch():
    with pytest.raises(InputError, match=r"^there is not enough memory for this \(libtorch_cpu\.so: failed"):
        with needing_torch():
            raise ImportError("libtorch_cpu.so: failed to map segment from shared object")
    with pytest.raises(InputError, match="this needs torch"), needing_torch():
        raise ImportError("No module named 'torch'")


def test_a_runtime_without_memory_does_not_blame_its_file(monkeypatch, tmp_path):
    class RuntimeException(Exception):  # as ONNX Runtime's
        pass

    def fail(path, threads):
        raise RuntimeException("[ONNXRuntimeError] : 6 : Exception during initialization: std::bad_alloc")

    monkeypatch.setitem(engines.RUNTIMES, "onnx", fail)
    with pytest.raises(InputError, match=r"^there is not enough memory"):
        engines.load_graph(tmp_path / "a.onnx", "onnx")
