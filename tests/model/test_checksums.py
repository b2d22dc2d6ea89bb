"""A model's files are those that were saved with it: what is lost, exchanged or mixed up is seen, and named."""

import json
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import tiny_detector

import piza
from piza.config import PizaConfig
from piza.errors import InputError
from piza.hub import CHECKSUMS, check_checksums, find_model, write_checksums
from piza.model import io
from piza.model.adapter_io import save_adapter
from piza.model.io import load_folder, model_files, save_folder
from piza.model.known_words import WORDS_FILE, write_known_words
from piza.model.piza import Piza


@pytest.fixture
def folder(tiny_piza, tmp_path):
    save_folder(tiny_piza, tmp_path / "model")
    write_known_words(tmp_path / "model", {"car": 9, "red": 7, "van": 5})
    write_checksums(tmp_path / "model", model_files(tmp_path / "model"))
    load_folder(tmp_path / "model")
    return tmp_path / "model"


def refused(folder, name) -> None:
    with pytest.raises(InputError, match=name) as caught:
        piza.load(str(folder))
    assert CHECKSUMS in str(caught.value) and "\n" not in str(caught.value)


def test_the_embedded_model_is_whole_and_every_file_of_it_is_named():
    folder = find_model("mini")
    check_checksums(folder)
    named = {line.split()[1] for line in (folder / CHECKSUMS).read_text().splitlines()}
    assert named == {path.name for path in folder.iterdir()} - {"piza.json", "README.md", CHECKSUMS}


def test_the_usual_tool_reads_the_list(folder):
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum")
    assert (
        subprocess.run(["sha256sum", "--strict", "-c", CHECKSUMS], cwd=folder, capture_output=True).returncode
        == 0
    )


def test_whole_lines_lost_from_the_end_of_a_list_of_words_are_seen(folder):
    file = folder / WORDS_FILE
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    refused(folder, WORDS_FILE)


@pytest.mark.parametrize("name", [WORDS_FILE, "tokenizer.json", "tokenizer_config.json"])
def test_a_lost_file_is_seen(folder, name):
    (folder / name).unlink()
    refused(folder, f"lacks {name}")


def test_two_weights_of_one_shape_that_are_exchanged_are_seen(folder):
    file = folder / "model.safetensors"
    weights = load_file(file)
    first = next(name for name in weights if weights[name].dim() == 2)
    other = next(n for n in weights if n != first and weights[n].shape == weights[first].shape)
    save_file({**weights, first: weights[other], other: weights[first]}, file, metadata={"format": "pt"})
    refused(folder, "model.safetensors")


def test_a_list_of_words_of_another_model_is_seen_and_does_not_survive_a_save(tiny_piza, folder):
    save_folder(tiny_piza, folder)  # it has no list
    assert not (folder / WORDS_FILE).exists()
    write_known_words(folder, {"zebra": 9})
    refused(folder, WORDS_FILE)


def test_a_save_that_was_killed_among_its_files_is_seen(tiny_piza, folder, monkeypatch):
    state = {name: tensor.clone() for name, tensor in tiny_piza.state_dict().items()}

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(io, "write_checksums", killed)
    with torch.no_grad():
        next(tiny_piza.parameters()).add_(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            save_folder(tiny_piza, folder)
    finally:
        tiny_piza.load_state_dict(state)
    refused(folder, "model.safetensors|lacks")


def test_settings_may_be_changed_and_a_folder_without_a_list_is_read(folder):
    path = folder / "piza.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "search": {**values["search"], "budget": 5}}))
    assert load_folder(folder).config.search.budget == 5
    (folder / CHECKSUMS).unlink()
    (folder / WORDS_FILE).unlink()
    assert load_folder(folder).prompter.known_words is None


def test_an_adapter_with_exchanged_weights_is_refused(tiny_tokenizer, tmp_path):
    tiny_detector("gd").save_pretrained(tmp_path / "plain")
    tiny_tokenizer.save_pretrained(tmp_path / "plain")
    config = PizaConfig(method="lora", method_options={"rank": 4, "embedding_dim": 32})
    model = Piza(load_folder(tmp_path / "plain").detector, tiny_tokenizer, config)
    save_adapter(model, tmp_path / "adapter", tmp_path / "plain")
    piza.load(str(tmp_path / "adapter"))
    file = tmp_path / "adapter" / "adapter.safetensors"
    weights = load_file(file)
    name = max(weights, key=lambda name: weights[name].numel())
    save_file({**weights, name: weights[name].flip(0)}, file, metadata={"format": "pt"})
    refused(tmp_path / "adapter", "adapter.safetensors")


@pytest.mark.parametrize(
    "content",
    [b"", b"zz  words.txt\n", b"\xff\xfe", b"0" * 64 + b"  ../model.safetensors\n", b"x" * 2_000_000],
)
def test_a_damaged_list_is_one_sentence(folder, content):
    (folder / CHECKSUMS).write_bytes(content)
    refused(folder, CHECKSUMS)
