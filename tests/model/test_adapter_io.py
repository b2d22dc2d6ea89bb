"""Adapter folders: put around the right base only, and every other case refused in one sentence."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import tiny_detector

import piza
from piza.config import PizaConfig
from piza.errors import InputError
from piza.hub import CHECKSUMS
from piza.model.adapter_io import load_adapter, save_adapter
from piza.model.io import save_folder
from piza.model.load import load_plain
from piza.model.piza import Piza

OPTIONS = {"rank": 4, "embedding_dim": 32}


def lora(detector, tokenizer) -> Piza:
    return Piza(detector, tokenizer, PizaConfig(method="lora", method_options=OPTIONS)).eval()


@pytest.fixture
def place(tiny_tokenizer, tmp_path):
    """base/, as transformers writes it, and adapter/ around it."""
    detector = tiny_detector()
    detector.save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    save_adapter(lora(detector, tiny_tokenizer), tmp_path / "adapter", "../base")
    return tmp_path


def refused(place, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_adapter(place / "adapter", **options)
    message = str(caught.value)
    assert "\n" not in message and str(place / "adapter") in message
    return message


def change(path, **entries) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_relative_base_is_found_from_the_adapter(place) -> None:
    model = piza.load(str(place / "adapter"))
    assert model.config.method == "lora" and not model.training
    again = load_adapter(place / "adapter", base=place / "base")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_both_together_may_move(place) -> None:
    (place / "elsewhere").mkdir()
    for name in ("base", "adapter"):
        shutil.move(place / name, place / "elsewhere" / name)
    load_plain(place / "elsewhere" / "adapter")


def test_a_base_by_hub_name(place, monkeypatch) -> None:
    change(place / "adapter" / "adapter.json", base="owner/name")
    monkeypatch.setattr("piza.hub._fetch", lambda name: place / "base")
    load_plain(place / "adapter")


def test_a_base_in_half_precision_is_known_again(tiny_tokenizer, tmp_path) -> None:
    detector = tiny_detector()
    config = PizaConfig(method_options={"condition": False})
    save_folder(Piza(detector, tiny_tokenizer, config), tmp_path / "half", half=True)
    save_adapter(lora(detector, tiny_tokenizer), tmp_path / "adapter", tmp_path / "half")
    load_plain(tmp_path / "adapter")


@pytest.mark.parametrize("base", ["../nowhere", "", "adapter.json", "x" * 5000, "a\0b", "no/such"])
def test_a_missing_base(base, place, monkeypatch) -> None:
    def fetch(name):
        raise InputError(f"the model {name!r} cannot be fetched")

    monkeypatch.setattr("piza.hub._fetch", fetch)
    change(place / "adapter" / "adapter.json", base=base)
    assert "cannot be used" in refused(place)


def test_a_base_of_other_sizes(place, tiny_tokenizer) -> None:
    other = tiny_detector(encoder_ffn_dim=48)
    other.save_pretrained(place / "base")
    assert "another shape" in refused(place)


def test_a_base_with_fewer_layers(place) -> None:
    tiny_detector(encoder_layers=1).save_pretrained(place / "base")
    assert "has no place" in refused(place)


def test_a_base_with_more_layers(place) -> None:
    tiny_detector(encoder_layers=3).save_pretrained(place / "base")
    assert "lacks" in refused(place)


def test_a_base_of_the_same_sizes_with_other_weights(place) -> None:
    other = tiny_detector()
    with torch.no_grad():
        other.model.encoder.layers[1].fusion_layer.attn.text_proj.weight.add_(0.1)
    other.save_pretrained(place / "base")
    assert "other weights" in refused(place)


def test_a_base_with_adapters_of_its_own(place, tiny_piza) -> None:
    save_folder(tiny_piza, place / "zooms")
    assert "adapters itself" in refused(place, base=place / "zooms")


def test_a_base_that_is_an_adapter_even_itself(place) -> None:
    assert "is an adapter itself" in refused(place, base=place / "adapter")


@pytest.mark.parametrize("name", ["adapter.safetensors", "piza.json"])
@pytest.mark.parametrize("content", [None, b"", b"hello", b"[1]"])
def test_a_damaged_folder(name, content, place) -> None:
    file = place / "adapter" / name
    file.unlink() if content is None else file.write_bytes(content)
    refused(place)


@pytest.mark.parametrize("content", [b"", b"hello", b"[1]", b"{}", b'{"base": "../base"}'])
def test_a_damaged_note(content, place) -> None:
    (place / "adapter" / "adapter.json").write_bytes(content)
    refused(place)


@pytest.mark.parametrize("options", [{"rank": 0}, {"depth": 3}, {"rank": "many"}])
def test_options_that_are_none(options, place) -> None:
    change(place / "adapter" / "piza.json", method_options=options)
    refused(place)


def test_an_option_that_no_weight_shows(place) -> None:
    options = json.loads((place / "adapter" / "piza.json").read_text())["method_options"]
    assert options == {"condition": True, "rank": 4, "alpha": 18.0, "embedding_dim": 32}
    del options["alpha"]
    change(place / "adapter" / "piza.json", method_options=options)
    assert "method_options.alpha: the field is missing" in refused(place)


def test_an_unknown_method(place) -> None:
    change(place / "adapter" / "piza.json", method="magic")
    assert "magic" in refused(place)


def test_weights_missing_or_too_many(place) -> None:
    (place / "adapter" / CHECKSUMS).unlink()
    file = place / "adapter" / "adapter.safetensors"
    weights = load_file(file)
    first = min(weights)
    save_file({name: tensor for name, tensor in weights.items() if name != first}, file)
    assert f"lacks the weight {first}" in refused(place)
    save_file({**weights, "else": torch.ones(1)}, file)
    assert "holds else, for which the model has no place" in refused(place)
