"""A model's files are those that were saved with it: what is lost, exchanged or mixed up is seen, and named."""

import copy
import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import tiny_detector

import piza
from piza.config import PizaConfig
from piza.errors import InputError
from piza.hub import (
    CHECKSUMS,
    MODEL_FILES,
    SETTINGS_FILES,
    check_checksums,
    find_model,
    hash_files,
    write_checksums,
)
from piza.model import adapter_io, io
from piza.model.adapter_io import save_adapter
from piza.model.io import load_folder, save_folder
from piza.model.known_words import WORDS_FILE, write_known_words
from piza.model.piza import Piza
from piza.runtimes import export


@pytest.fixture
def folder(tiny_piza, tmp_path):
    save_folder(tiny_piza, tmp_path / "model")
    write_known_words(tmp_path / "model", {"car": 9, "red": 7, "van": 5})
    write_checksums(tmp_path / "model")
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


def test_every_file_that_is_written_of_a_model_is_known():
    written = {*io.OPTIONAL_FILES, io.WEIGHTS, io.DETECTOR_CONFIG, io.PIZA_CONFIG}
    written |= {adapter_io.WEIGHTS, adapter_io.CONFIG, adapter_io.NOTE, *export.FILES} - {CHECKSUMS}
    assert written == {*MODEL_FILES, *SETTINGS_FILES}


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


def test_lost_settings_do_not_make_it_a_plain_detector(folder):
    (folder / "piza.json").unlink()
    for _ in range(2):
        with pytest.raises(InputError, match=r"lacks piza\.json"):
            piza.load(str(folder))
        (folder / CHECKSUMS).unlink(missing_ok=True)


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


@pytest.fixture
def other_piza(tiny_piza):
    """The same model with other weights and a list of words."""
    other = copy.deepcopy(tiny_piza)
    other.prompter.known_words = {"zebra": 9}
    with torch.no_grad():
        next(other.parameters()).add_(1)
    return other


@pytest.mark.parametrize("moved", [1, 2, 4])
@pytest.mark.parametrize("new", [True, False])
def test_a_save_that_was_killed_among_its_files_is_seen(
    tiny_piza, other_piza, tmp_path, monkeypatch, moved, new
):
    folder = tmp_path / "model"
    if not new:
        save_folder(tiny_piza, folder)
    replace, done = os.replace, []

    def killed(source, target):
        if Path(target).parent == folder:
            done.append(target)
            if len(done) > moved:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_folder(other_piza, folder)
    monkeypatch.undo()
    refused(folder, "lacks" if new else "is not the file|lacks")
    save_folder(other_piza, folder)
    assert load_folder(folder).prompter.known_words == {"zebra": 9}


def test_a_save_that_fails_leaves_the_model_that_was_there(tiny_piza, other_piza, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(io, "write_known_words", full)
    with pytest.raises(InputError, match="No space left"):
        save_folder(other_piza, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_files_of_two_saves_at_once_are_not_confirmed_by_either(
    tiny_piza, other_piza, tmp_path, monkeypatch
):
    folder = tmp_path / "model"
    replace = os.replace

    def together(source, target):
        replace(source, target)
        if Path(target) == folder / "model.safetensors":  # all of the other comes in between
            monkeypatch.undo()
            save_folder(other_piza, folder)

    monkeypatch.setattr(os, "replace", together)
    save_folder(tiny_piza, folder)
    refused(folder, "is not the file|lacks")


def test_a_model_that_is_saved_while_another_is_read_does_not_come_into_it(
    tiny_piza, other_piza, tmp_path, monkeypatch
):
    save_folder(tiny_piza, tmp_path)
    read = io.read_known_words

    def late(folder):
        save_folder(other_piza, folder)
        return read(folder)

    monkeypatch.setattr(io, "read_known_words", late)
    refused(tmp_path, "was written to while it was read")
    monkeypatch.undo()
    load_folder(tmp_path)


@pytest.mark.parametrize("there", ["export.json", "adapter.json"])
def test_a_whole_model_is_not_saved_over_another_kind(tiny_piza, tmp_path, there):
    (tmp_path / there).write_text("{}")
    with pytest.raises(InputError, match=there):
        save_folder(tiny_piza, tmp_path)
    assert os.listdir(tmp_path) == [there]


def test_a_folder_that_cannot_be_made_is_one_sentence(tiny_piza, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(InputError, match="cannot write to"):
            save_folder(tiny_piza, place)
    assert (tmp_path / "file").read_text() == "mine"


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
    save_adapter(model, tmp_path / "adapter", tmp_path / "plain")  # over the damaged one
    first = hash_files(tmp_path / "adapter")
    (tmp_path / "adapter" / "notes.md").write_text("of nobody's business")
    (tmp_path / "plain" / "losses.png").write_bytes(b"")
    assert hash_files(tmp_path / "adapter") == first
    write_known_words(tmp_path / "plain", {"car": 9})  # of its base
    assert hash_files(tmp_path / "adapter") != first
    with pytest.raises(InputError, match="holds a whole model"):
        save_adapter(model, tmp_path / "plain", tmp_path / "plain")
    (tmp_path / "adapter" / "adapter.json").unlink()
    with pytest.raises(InputError, match=r"holds no adapter: it lacks adapter\.json"):
        piza.load(str(tmp_path / "adapter"))


@pytest.mark.parametrize(
    "content",
    [b"", b"zz  words.txt\n", b"\xff\xfe", b"0" * 64 + b"  ../model.safetensors\n", b"x" * 2_000_000],
)
def test_a_damaged_list_is_one_sentence(folder, content):
    (folder / CHECKSUMS).write_bytes(content)
    refused(folder, CHECKSUMS)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", WORDS_FILE])
def test_a_line_that_is_lost_is_seen(folder, name):
    lines = (folder / CHECKSUMS).read_text().splitlines(keepends=True)
    (folder / CHECKSUMS).write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")))
    refused(folder, f"{name} was not saved with this model")


def test_a_list_that_cannot_be_read_is_not_taken_for_none(folder):
    file = folder / CHECKSUMS
    file.unlink()
    file.symlink_to("nowhere")
    refused(folder, "expected a file")
    file.unlink()
    os.mkfifo(file)
    refused(folder, "expected a file")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: re.sub("[0-9a-f]{64}", lambda digest: digest[0].upper(), text),
        lambda text: "\ufeff" + text.replace("\n", "\r\n") + "\r\n",
        lambda text: "# of my model\n" + text.replace("  ", " *./"),
        lambda text: f"{text}{'0' * 64}  READ me, naïve\u2028.md\n{'0' * 64}  onnx/model.onnx\n",
    ],
)
def test_lists_as_other_systems_and_people_leave_them_are_read(folder, change):
    (folder / CHECKSUMS).write_bytes(change((folder / CHECKSUMS).read_text()).encode())
    load_folder(folder)
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    refused(folder, "config.json")


def test_files_without_end_are_not_read(folder):
    os.truncate(folder / "tokenizer.json", 10**12)  # takes no room on the disk
    for read in (load_folder, hash_files):
        with pytest.raises(InputError, match="at most 10 GB"):
            read(folder)


@pytest.mark.parametrize("with_sums", [True, False])
def test_a_clone_without_its_large_files_is_told_how_to_fetch_them(folder, with_sums):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 25741496\n"
    (folder / "model.safetensors").write_text(pointer)
    if not with_sums:
        (folder / CHECKSUMS).unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is only a pointer of git-lfs.*git lfs pull"):
        piza.load(str(folder))
