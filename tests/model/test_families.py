"""All that differs between the two families of detectors is hidden: everything works on both."""

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

import piza
from piza.config import PizaConfig
from piza.errors import InputError
from piza.model.families import FAMILIES, GROUNDING_DINO, MM_GROUNDING_DINO, family_of
from piza.model.io import load_folder, save_folder
from piza.model.piza import Piza

IMAGE = np.random.default_rng(0).integers(0, 255, (200, 320, 3), dtype=np.uint8)
SENTENCES = ["the red car", "a round sign left of the blue car"]

both = pytest.mark.parametrize("family", ["mm", "gd"])


def listing(family: str, tokenizer, **changes) -> Piza:
    """A model of this family that lists nine objects first."""
    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(
        method_options=options, first_pixels=128, later_pixels=96, num_proposals=9, num_attributes=4
    )
    model = Piza(tiny_detector(family, **changes), tokenizer, config)
    with torch.no_grad():  # fresh parts change little or nothing
        for parameter in (*model.proposals.refinement.parameters(), *model.matcher.parameters()):
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def test_a_detector_knows_its_family():
    assert family_of(tiny_detector("mm")) is MM_GROUNDING_DINO
    assert family_of(tiny_detector("gd")) is GROUNDING_DINO
    with pytest.raises(InputError, match="'swin'"):
        family_of(tiny_detector("gd").model.backbone.conv_encoder.model)


def test_each_family_has_classes_of_its_own():
    one, other = FAMILIES.values()
    for field in ("detector", "fusion_attention", "deformable_layer", "frozen_batch_norm"):
        assert getattr(one, field) is not getattr(other, field)


@both
def test_objects_are_listed_in_its_own_attention(family, tiny_tokenizer):
    model = listing(family, tiny_tokenizer)
    kinds = {type(layer.attention) for layer in model.proposals.refinement}
    assert kinds == {family_of(model.detector).deformable_attention}


@both
def test_a_search_with_a_list(family, tiny_tokenizer):
    model = listing(family, tiny_tokenizer)
    one, other = model.locate(IMAGE, SENTENCES, max_looks=3)
    assert one.box_xyxy != other.box_xyxy and 0 <= one.score <= 1
    texts = model.encode_text(SENTENCES)
    window = np.ascontiguousarray(IMAGE[:96, :96])
    first = model.first_look(texts, model.encode_frame(window), 0.0)
    later = model.refine(texts, [window, window], [0.2, 0.9])
    for found, count in ((first, 9), (later, model.detector.config.num_queries)):
        for one in found:
            assert one.boxes.shape == (count, 4) and one.scores.shape == (count,)
            assert (np.diff(one.scores) <= 0).all() and (one.boxes[:, 2:] >= one.boxes[:, :2]).all()


@both
def test_a_step_of_training_moves_detector_list_and_matcher(family, tiny_tokenizer):
    model = listing(family, tiny_tokenizer).train()
    proposals = model.proposals(model.pixels([IMAGE[:96, :96]]))
    ids, mask, _ = model.plain_prompter([[sentence] for sentence in SENTENCES])
    answers, relevance = model.matcher(ids[None], mask[None].bool(), proposals)
    text, pooling = model.encode_prompts([SENTENCES])
    grounding = model.ground(
        text, pooling, model.encode_images([IMAGE[:96, :96]]), [0.5], per_sentence_queries=True, training=True
    )
    parts = (answers, relevance, proposals.boxes, proposals.attributes, grounding.boxes, grounding.logits)
    sum(part.square().mean() for part in parts).backward()
    for part in (model.proposals, model.matcher, model.detector):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


@both
def test_saved_and_loaded_it_answers_the_same(family, tiny_tokenizer, tmp_path):
    model = listing(family, tiny_tokenizer)
    save_folder(model, tmp_path / "model")
    loaded = piza.load(str(tmp_path / "model"))
    assert family_of(loaded.detector) is family_of(model.detector) and loaded.config == model.config
    plain = load_folder(tmp_path / "model")
    before, same, after = (one.locate(IMAGE, SENTENCES[0], max_looks=2) for one in (model, plain, loaded))
    assert same.box_xyxy == before.box_xyxy and same.score == before.score
    np.testing.assert_allclose(
        after.box_xyxy, before.box_xyxy, atol=1e-3
    )  # its faster modules round otherwise
    assert after.score == pytest.approx(before.score, rel=1e-4, abs=1e-6)


@both
def test_exported_it_answers_the_same(family, tiny_tokenizer, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from transformers import RTDetrResNetConfig

    from piza.runtimes.export import export_model

    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    model = listing(family, tiny_tokenizer, backbone_config=backbone)
    export_model(model, tmp_path / "export")  # compares first and later looks itself
    exported = piza.load(str(tmp_path / "export"))
    before, after = (one.locate(IMAGE, SENTENCES[0], max_looks=2) for one in (model, exported))
    np.testing.assert_allclose(after.box_xyxy, before.box_xyxy, atol=0.1)
