"""Files from others: what is damaged is refused in one sentence that names the file, and nothing in them is run."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import tiny_detector

import piza
from piza.config import PizaConfig, to_dict, write
from piza.errors import InputError
from piza.hub import CHECKSUMS
from piza.methods import METHODS
from piza.model.adapter_io import save_adapter
from piza.model.io import (
    check_finite,
    load_folder,
    load_weights,
    read_config,
    read_weights,
    reading,
    save_folder,
)

FULL = {"condition": True, "bottleneck": 8, "condition_text": False, "embedding_dim": 32}
SETTINGS = ("config.json", "piza.json", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def saved(tiny_piza, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_folder(tiny_piza, folder)
    (folder / CHECKSUMS).unlink()  # with it no damaged file would be looked into
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def plain(tiny_tokenizer, tmp_path):
    """A GroundingDINO's folder as transformers writes it."""
    tiny_detector("gd").save_pretrained(tmp_path / "plain")
    tiny_tokenizer.save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def refused(folder) -> str:
    with pytest.raises(InputError) as caught:
        piza.load(str(folder))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


def change(path, **entries) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def change_weight(path, name, tensor) -> None:
    save_file({**load_file(path), name: tensor}, path, metadata={"format": "pt"})


# C: nothing in a folder is run or fetched.


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", ["model", "plain"])
def test_code_in_a_folder_is_never_run(file, kind, request, tmp_path, monkeypatch):
    folder = request.getfixturevalue({"model": "folder", "plain": "plain"}[kind])
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    names = ("AutoConfig", "AutoModel", "AutoModelForZeroShotObjectDetection", "AutoTokenizer")
    change(folder / file, auto_map=dict.fromkeys(names, "evil.Evil"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    assert "auto_map" in refused(folder) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["text_config", "backbone_config"])
def test_code_for_a_part_is_never_run(key, folder):
    inner = json.loads((folder / "config.json").read_text())[key]
    change(folder / "config.json", **{key: {**inner, "auto_map": {"AutoModel": "evil.Evil"}}})
    assert "auto_map" in refused(folder)


def test_kernels_of_the_hub_are_not_fetched(folder):
    change(folder / "config.json", attn_implementation="owner/kernel")
    assert "attn_implementation" in refused(folder)


# Values of settings.


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"d_model": "wide"}, "d_model"),
        ({"d_model": 10**9}, "d_model"),
        ({"encoder_layers": 10**9}, "encoder_layers"),
        ({"encoder_layers": -3}, "encoder_layers"),
        ({"text_config": {"model_type": "bert", "vocab_size": 10**12}}, "text_config.vocab_size"),
        ({"text_config": 3}, "config.json"),
        ({"backbone_config": {"model_type": "magic"}}, "magic"),
        ({"backbone_config": None}, "model.safetensors"),
        ({"model_type": None}, "None"),
        ({"model_type": ["bert"]}, "bert"),
        ({"two_stage": False}, "two_stage"),
        ({"activation_function": "magic"}, "magic"),
        ({"decoder_attention_heads": 0}, "config.json"),
        ({"dropout": "much"}, "dropout"),
        ({"dropout": 7}, "dropout"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps: expected a finite number"),
        ({"init_std": float("inf")}, "init_std: expected a finite number"),
        ({"deep": json.loads("[" * 100 + "]" * 100)}, "deep"),
    ],
)
def test_a_wrong_value_in_config_json(entries, named, folder):
    change(folder / "config.json", **entries)
    message = refused(folder)
    assert str(folder) in message and named in message


def test_a_config_in_another_number_type_is_read_as_floats(folder):
    change(folder / "config.json", dtype="float16")
    assert next(load_folder(folder).detector.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"method_options": {"bottleneck": "8", "embedding_dim": 32}}, "bottleneck"),
        ({"method_options": {**FULL, "bottleneck": 10**9}}, "bottleneck"),
        ({"method_options": {"depth": 3}}, "depth"),
        ({"method_options": 3}, "method_options"),
        ({"num_proposals": 5, "num_attributes": 10**10}, "num_attributes"),
        ({"first_pixels": "480"}, "first_pixels"),
        ({"image_mean": [1e300, 0.0, 0.0]}, "image_mean"),
        ({"image_std": [1.0, 0.0, 1.0]}, "image_std"),
        ({"stop_at": float("nan")}, "stop_at"),
        ({"method": "magic"}, "magic"),
    ],
)
def test_a_wrong_value_in_piza_json(entries, named, folder):
    change(folder / "piza.json", **entries)
    message = refused(folder)
    assert "piza.json" in message and named in message


@pytest.mark.parametrize(
    "field", ["first_pixels", "search", "search.budget", "search.evidence.none", "path.answers"]
)
def test_a_field_that_piza_json_has_lost(field, folder):
    values = json.loads((folder / "piza.json").read_text())
    place = values
    for name in field.split(".")[:-1]:
        place = place[name]
    del place[field.split(".")[-1]]
    (folder / "piza.json").write_text(json.dumps(values))
    assert f"piza.json: {field}: the field is missing" in refused(folder)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_an_option_of_a_method_that_piza_json_has_lost(method, tmp_path):
    """Its default would be taken, and not all of them show in the shapes of the weights."""
    file, options = tmp_path / "piza.json", to_dict(METHODS[method].config())
    write(PizaConfig(method=method, method_options=options), file)
    assert read_config(file).method_options.keys() == options.keys()
    for lost in options:
        change(file, method_options={name: value for name, value in options.items() if name != lost})
        with pytest.raises(InputError, match=rf"piza\.json: method_options\.{lost}: the field is missing"):
            read_config(file)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("return_dict", None),
        ("backbone_config.output_hidden_states", "x"),
        ("backbone_config.layer_norm_eps", 0.5),
        ("text_config.num_attention_heads", -1),
        ("positional_embedding_temperature", -1),
        ("text_config", None),
    ],
)
def test_a_field_of_config_json_that_no_model_has(field, value, folder):
    values = json.loads((folder / "config.json").read_text())
    *parts, name = field.split(".")
    (values[parts[0]] if parts else values)[name] = value
    (folder / "config.json").write_text(json.dumps(values))
    said = refused(folder)
    assert "config.json" in said and name in said


@pytest.mark.parametrize("field", ["decoder_attention_heads", "layer_norm_eps", "text_config.hidden_act"])
def test_a_field_that_config_json_has_lost(field, folder):
    values = json.loads((folder / "config.json").read_text())
    *parts, name = field.split(".")
    place = values[parts[0]] if parts else values
    del place[name]
    (folder / "config.json").write_text(json.dumps(values))
    assert f"config.json: {field}: the field is missing" in refused(folder)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 100_000]
)
def test_files_that_are_no_settings(name, content, folder):
    (folder / name).write_bytes(content)
    assert name in refused(folder)


def test_a_size_of_400_digits(folder):
    change(folder / "config.json", d_model=10**400)
    assert "d_model" in refused(folder)


def test_a_tokenizer_without_a_token_for_unknown_words(folder):
    values = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**values, "unk_token": None}))
    assert "tokenizer" in refused(folder)


def test_a_tokenizer_of_another_model(folder):
    tokens = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokens["model"]["vocab"]
    tokens["model"]["vocab"] = {**vocabulary, ".": vocabulary["the"], "the": vocabulary["."]}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert "1012" in refused(folder)
    tokens["model"]["vocab"] = {word: number for word, number in vocabulary.items() if word != "red"}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert "expected a token for each id" in refused(folder)  # "red" would be read as an unknown word
    tokens["model"]["vocab"] = {**vocabulary, "more": 99_999}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert "99999" in refused(folder)


def test_any_damage_is_one_sentence_or_none(saved, tmp_path):
    """Values of other types, keys that are gone and flipped bytes, a fixed sample of them."""
    rng = random.Random(0)
    values = [None, True, -1, 0, 10**12, 1e300, "x", "", [], {}, [[1]], {"a": 1}]
    for number in range(24):
        folder = tmp_path / str(number)
        shutil.copytree(saved, folder)
        name = rng.choice(SETTINGS)
        content = (folder / name).read_bytes()
        if rng.random() < 0.3:
            at = rng.randrange(len(content))
            content = content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        else:
            tree = json.loads(content)
            inner = tree
            key = rng.choice(list(inner))
            while isinstance(inner[key], dict) and inner[key] and rng.random() < 0.6:
                inner = inner[key]
                key = rng.choice(list(inner))
            if rng.random() < 0.3:
                del inner[key]
            else:
                inner[key] = rng.choice(values)
            content = json.dumps(tree).encode()
        (folder / name).write_bytes(content)
        try:
            load_folder(folder)
        except InputError as error:
            assert "\n" not in str(error) and str(folder) in str(error), (name, str(error))
        shutil.rmtree(folder)


# The list of words.


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "cut short"),
        (b"the 9\nred 7\nca", "cut short"),
        (b"the 9\nred 7\ncar 5", "cut short"),
        (b"red 7\nthe 9\n", "line 2: expected the words in the order"),
        (b"the 9\nred 7\nthe 5\n", "line 3: expected each word once"),
        (b"\xef\xbb\xbfthe 9\n", "line 1: expected one word in lower case"),
        (b"THE 9\n", "line 1: expected one word in lower case"),
        (b"t\0e 9\n", "line 1: expected one word in lower case"),
        (b" 9\n", "line 1: expected one word in lower case"),
        (b"the -9\n", "line 1: expected a word and a count"),
        (b"the 9 9\n", "line 1: expected a word and a count"),
        (b"the " + b"9" * 30 + b"\n", "line 1: expected a word and a count"),
        (b"\n", "line 1: expected a word and a count"),
    ],
)
def test_a_list_of_words_that_is_damaged(content, named, folder):
    (folder / "words.txt").write_bytes(content)
    message = refused(folder)
    assert "words.txt" in message and named in message


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_list_of_words_with_the_line_ends_of_another_system(end, folder):
    (folder / "words.txt").write_bytes(end.join([b"the 9", b"red 7", b"seldom 2", b""]))
    assert load_folder(folder).prompter.known_words == {"the": 9, "red": 7}


# Weights.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["detector.model.level_embed", "zoom.mlp.0.bias", "history.project.weight"])
def test_a_weight_that_is_not_finite(name, value, folder):
    tensor = load_file(folder / "model.safetensors")[name]
    tensor.view(-1)[0] = value
    change_weight(folder / "model.safetensors", name, tensor)
    message = refused(folder)
    assert name in message and "not finite" in message


def test_a_weight_that_is_not_finite_in_a_plain_detector(plain):
    file = plain / "model.safetensors"
    change_weight(file, "model.level_embed", torch.full_like(load_file(file)["model.level_embed"], torch.nan))
    assert "model.level_embed" in refused(plain)


def test_a_plain_detector_without_a_weight(plain):
    file = plain / "model.safetensors"
    weights = load_file(file)
    del weights["model.text_projection.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    assert "model.text_projection.weight" in refused(plain)


def test_a_weight_that_is_not_finite_in_an_adapter(tiny_tokenizer, plain, tmp_path):
    from piza.config import PizaConfig
    from piza.model.piza import Piza

    config = PizaConfig(method="lora", method_options={"rank": 4, "embedding_dim": 32})
    model = Piza(load_folder(plain).detector, tiny_tokenizer, config)
    save_adapter(model, tmp_path / "adapter", plain)
    piza.load(str(tmp_path / "adapter"))
    (tmp_path / "adapter" / CHECKSUMS).unlink()
    file = tmp_path / "adapter" / "adapter.safetensors"
    name, tensor = next(iter(load_file(file).items()))
    change_weight(file, name, torch.full_like(tensor, torch.inf))
    assert name in refused(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (torch.zeros(5), "shape"),
        (torch.zeros(32, dtype=torch.int64), "int64"),
        (torch.full((32,), 1e300, dtype=torch.float64), "too large"),
    ],
)
def test_a_weight_that_does_not_fit(tensor, problem, folder):
    change_weight(folder / "model.safetensors", "zoom.mlp.0.bias", tensor)
    message = refused(folder)
    assert "zoom.mlp.0.bias" in message and problem in message


def test_nothing_is_changed_by_weights_that_do_not_fit(tiny_piza):
    module = torch.nn.Linear(2, 3)
    before = module.weight.clone()
    with pytest.raises(InputError, match=r"file lacks the weight bias"):
        load_weights(module, {"weight": torch.ones(3, 2)}, "file")
    with pytest.raises(InputError, match="more"):
        load_weights(module, {**module.state_dict(), "more": torch.ones(1)}, "file")
    assert torch.equal(module.weight, before)


def test_weights_that_overflow_are_noticed_when_they_answer(folder):
    file = folder / "model.safetensors"
    name = "detector.model.text_projection.weight"
    change_weight(file, name, torch.full_like(load_file(file)[name], 3e38))
    model = piza.load(str(folder))
    with pytest.raises(InputError, match="NaN"):
        model.locate(np.zeros((96, 128, 3), np.uint8), "the red car")


def test_huge_but_finite_weights_are_read():
    check_finite({"a": torch.full((4,), 3e38)}, "file")
    with pytest.raises(InputError, match="file: b"):
        check_finite({"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])}, "file")


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, (10**9).to_bytes(8, "little") + b"{}"])
def test_files_that_hold_no_weights(content, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        read_weights(tmp_path / "weights.safetensors")


def test_a_file_is_not_blamed_for_a_lack_of_memory(tmp_path):
    with pytest.raises(InputError, match=r"^there is not enough memory for this \(\[enforce fail"):
        with reading(tmp_path / "piza.json"):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. can't allocate memory")
