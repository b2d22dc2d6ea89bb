"""Model folders: what is saved is what is read, and what is broken is refused in one sentence."""

import json
import shutil

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

import piza
from piza.config import PizaConfig
from piza.errors import InputError
from piza.hub import CHECKSUMS
from piza.model.io import load_folder, save_folder
from piza.model.piza import Piza

PICTURE = np.random.default_rng(0).integers(0, 255, (200, 320, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tiny_piza, tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    save_folder(tiny_piza, path)
    return path


def copy_of(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_loaded_answers_are_equal(tiny_piza, folder):
    loaded = piza.load(str(folder))
    assert loaded.config == tiny_piza.config
    for name, tensor in tiny_piza.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=0, rtol=0)
    before, after = (m.locate(PICTURE, "the red car") for m in (tiny_piza, loaded))
    np.testing.assert_allclose(before.box_xyxy, after.box_xyxy, atol=1e-3)  # loaded, it samples by the kernel
    assert before.score == pytest.approx(after.score, rel=1e-4)


def test_a_model_that_lists_things_is_saved_and_loaded(tiny_listing_piza, tmp_path):
    save_folder(tiny_listing_piza, tmp_path / "m")
    loaded = piza.load(str(tmp_path / "m"))
    assert loaded.config == tiny_listing_piza.config and loaded.config.num_proposals == 9
    plain = load_folder(tmp_path / "m")
    before, same, after = (m.locate(PICTURE, "the red car") for m in (tiny_listing_piza, plain, loaded))
    assert same.box_xyxy == before.box_xyxy and same.score == before.score
    np.testing.assert_allclose(
        before.box_xyxy, after.box_xyxy, atol=1e-3
    )  # its faster modules round otherwise
    assert before.score == pytest.approx(after.score, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("share", [True, False])
def test_heads_that_are_shared_stay_shared(share, tiny_tokenizer, tmp_path):
    detector = tiny_detector(decoder_bbox_embed_share=share, decoder_cls_embed_share=share)
    options = {"bottleneck": 8, "embedding_dim": 32}
    model = Piza(
        detector, tiny_tokenizer, PizaConfig(method_options=options, first_pixels=128, later_pixels=96)
    ).eval()
    save_folder(model, tmp_path / "m")
    loaded = load_folder(tmp_path / "m")
    one, two = (m.locate(PICTURE, "the red car", max_looks=2) for m in (model, loaded))
    np.testing.assert_allclose(one.box_xyxy, two.box_xyxy, atol=1e-4)
    heads = loaded.detector.bbox_embed
    assert (heads[0].layers[0].weight is heads[1].layers[0].weight) == share


def test_half_precision_halves_the_file_and_hardly_moves_the_box(tiny_piza, folder, tmp_path):
    save_folder(tiny_piza, tmp_path / "half", half=True)
    sizes = [(f / "model.safetensors").stat().st_size for f in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_folder(tmp_path / "half")
    assert next(loaded.parameters()).dtype == torch.float32
    one, two = (m.locate(PICTURE, "the red car", max_looks=1) for m in (tiny_piza, loaded))
    assert abs(one.score - two.score) < 0.01


@pytest.mark.parametrize("family", ["mm", "gd"])
def test_a_plain_grounding_dino_answers_from_the_whole_frame(family, tiny_tokenizer, tmp_path):
    """The folder that transformers writes, as a hub name would fetch it."""
    tiny_detector(family).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    model = load_folder(tmp_path / "base")
    model.config.first_pixels = 128
    result = model.locate(PICTURE, "the red car")
    assert len(result.path) == 1 and result.windows == [(0, 0, 320, 200)]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(name, folder, tmp_path):
    broken = copy_of(folder, tmp_path)
    (broken / name).unlink()
    with pytest.raises(InputError, match=name):
        load_folder(broken)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_broken_weights_are_refused(damage, folder, tmp_path):
    broken = copy_of(folder, tmp_path)
    path = broken / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(InputError):
        load_folder(broken)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "magic"},
        {"unknown_option": 1},
        {"path": {"zoom": 3}},
        {
            "method_options": {
                "condition": True,
                "bottleneck": 9,
                "condition_text": False,
                "embedding_dim": 32,
            }
        },
        {"method_options": {"depth": 2}},
    ],
)
def test_a_wrong_config_is_refused(change, folder, tmp_path):
    broken = copy_of(folder, tmp_path)
    config = json.loads((broken / "piza.json").read_text())
    (broken / "piza.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError):
        load_folder(broken)


def test_another_kind_of_model_is_refused(folder, tmp_path):
    broken = copy_of(folder, tmp_path)
    (broken / CHECKSUMS).unlink()
    (broken / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="bert"):
        load_folder(broken)
