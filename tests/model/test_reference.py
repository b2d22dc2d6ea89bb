import json
import os
import pickle
import sys
import types
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    ResNetConfig,
    SwinConfig,
)
from transformers.models.swin.modeling_swin import SwinPatchMerging

from piza.config import PizaConfig
from piza.errors import InputError
from piza.methods import METHODS
from piza.methods.context import zoom_embedding
from piza.model import grounder
from piza.model.box_history import pad_histories, round_progress
from piza.model.io import load_folder, save_folder
from piza.model.piza import Piza
from piza.model.reference import (
    UNKNOWN,
    ConversionReport,
    _reorder,
    build_reference,
    convert_reference,
    convert_state,
    reference_model,
)
from piza.model.reference_names import NEVER_USED, RECOMPUTED, TRAINING_ONLY

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
STATE = GOLDEN / "model_small_state.safetensors"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the published model's outputs are not beside the project"
)


def small_config(**changes) -> MMGroundingDinoConfig:
    sizes = {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 256,
        "decoder_ffn_dim": 128,
        "num_queries": 30,
    }
    return MMGroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=16, depths=[2, 2, 2, 2], num_heads=[1, 1, 2, 4], window_size=7, out_indices=[2, 3, 4]
        ),
        text_config=BertConfig(**json.loads((GOLDEN / "bert_tiny_config.json").read_text())),
        **(sizes | changes),
    )


def full_config() -> MMGroundingDinoConfig:
    swin = SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_indices=[2, 3, 4]
    )
    return MMGroundingDinoConfig(
        backbone_config=swin,
        text_config=BertConfig(),
        decoder_bbox_embed_share=False,
        decoder_cls_embed_share=False,
    )


class NoTokenizer:
    """Where a model is built but no sentence is read."""


@pytest.fixture(scope="module")
def converted() -> tuple[Piza, ConversionReport]:
    parts, report = convert_reference(STATE, small_config())
    return build_reference(parts, NoTokenizer(), str(STATE)), report


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "model_small_onestep.safetensors")


def error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite if the infinities do not match."""
    finite = expected.isfinite()
    if actual.shape != expected.shape or not torch.equal(actual[~finite], expected[~finite]):
        return float("inf")
    return (actual[finite] - expected[finite]).abs().max().item()


def final_boxes(logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(queries, tokens) logits and (queries, 4) cxcywh in [0, 1] -> scores, best first, and xyxy in pixels of
    320 x 200.
    """
    scores, order = logits.sigmoid().max(dim=-1).values.sort(descending=True)
    center, size = boxes[order].split(2, dim=-1)
    xyxy = torch.cat([center - size / 2, center + size / 2], dim=-1) * torch.tensor([320, 200, 320, 200])
    return scores, torch.minimum(xyxy.clamp(min=0), torch.tensor([320.0, 200, 320, 200]))


def published_embedding(model: Piza, golden: dict[str, Tensor]) -> Tensor:
    """From the golden history, as the published search does it: progress rounded, not clamped."""
    with torch.no_grad():
        history = model.history(*pad_histories([golden["bbox.history"]]))
        assert error(history.features, golden["bbox.features"]) < 1e-5
        assert torch.equal((history.stop >= 0.95).byte(), golden["bbox.eos"])
        progress = round_progress(history.progress)
        assert error(progress, golden["bbox.zoom_value"]) < 1e-6
        embedding = model.zoom(progress)
    assert error(embedding, golden["zoom_emb"]) < 1e-5
    return embedding


@needs_golden
def test_one_step_through_the_library_equals_the_published(converted, golden) -> None:
    model, _ = converted
    embedding = published_embedding(model, golden)
    with torch.no_grad(), zoom_embedding(embedding):
        out = model.detector(
            pixel_values=golden["image.normalized"],
            input_ids=golden["text.input_ids"],
            attention_mask=torch.ones_like(golden["text.input_ids"]),
            output_hidden_states=True,
        )
    for i in range(2):
        assert error(out.encoder_vision_hidden_states[i + 1], golden[f"encoder.layer.{i}"]) < 1e-4
        assert error(out.encoder_text_hidden_states[i + 1], golden[f"encoder.text.{i}"]) < 1e-4
    assert error(out.encoder_last_hidden_state_vision, golden["encoder.memory"]) < 1e-4
    assert error(out.encoder_last_hidden_state_text, golden["encoder.memory_text"]) < 1e-4
    assert error(out.intermediate_hidden_states[0], golden["decoder.hidden_states"][:, 0]) < 1e-4
    assert error(out.logits, golden["head.cls_logits"][-1]) < 1e-4
    assert error(out.pred_boxes, golden["head.boxes_cxcywh"][-1]) < 1e-5
    scores, boxes = final_boxes(out.logits[0], out.pred_boxes[0])
    assert error(scores, golden["final.scores"]) < 1e-4
    assert error(boxes, golden["final.bboxes"]) < 1e-2


@needs_golden
def test_one_step_in_stages_equals_the_published(converted, golden) -> None:
    model, _ = converted
    embedding = published_embedding(model, golden)
    with torch.no_grad():
        ids = golden["text.input_ids"]
        text = grounder.encode_text(model.detector, ids, torch.ones_like(ids))
        assert error(text.features, golden["text.embedded"]) < 1e-4
        assert torch.equal(text.self_mask, golden["text.attention_mask_3d"])
        assert torch.equal(text.position_ids, golden["text.position_ids"])
        picture = grounder.encode_image(model.detector, golden["image.normalized"])
        assert error(picture.features, golden["encoder.in.feat"]) < 1e-4
        assert error(picture.positions, golden["encoder.in.pos"]) < 1e-5
        with zoom_embedding(embedding):
            look = grounder.ground(model.detector, text, picture)
    assert error(look.logits, golden["head.cls_logits"][..., : ids.shape[1]]) < 1e-4
    assert error(look.boxes, golden["head.boxes_cxcywh"]) < 1e-5
    assert error(look.proposal_logits.max(-1).values, golden["proposals.scores_max"]) < 1e-4
    scores, boxes = final_boxes(look.logits[-1, 0], look.boxes[-1, 0])
    assert error(scores, golden["final.scores"]) < 1e-4
    assert error(boxes, golden["final.bboxes"]) < 1e-2


@needs_golden
def test_pictures_are_normalized_as_published(converted, golden) -> None:
    model, _ = converted
    assert error(model.pixels([golden["raw_image_hwc_rgb_u8"].numpy()]), golden["image.normalized"]) < 1e-5


@needs_golden
def test_every_published_weight_is_used_or_listed(converted) -> None:
    model, report = converted
    assert report.used.keys() | report.unused.keys() == load_file(STATE).keys()
    assert not report.used.keys() & report.unused.keys()
    for key, why in report.unused.items():
        if why == NEVER_USED:
            assert ".transformer_layer." in key
        elif why == RECOMPUTED:
            assert key.endswith("relative_position_index")
        else:
            assert why == TRAINING_ONLY and key == "dn_query_generator.label_embedding.weight"
    assert len(report.unused) == 12 + 8 + 1
    ours = [name for names in report.used.values() for name in names]
    assert len(ours) == len(set(ours))
    assert set(ours) <= set(model.state_dict())
    assert str(len(report.used)) in str(report) and "relative_position_index" in str(report)


def published_state(name: str) -> tuple[dict[str, Tensor], set[str]]:
    """A list of published names as a state dict without data, and the names it marks as trained."""
    state, trained = {}, set()
    for line in (GOLDEN / name).read_text().splitlines():
        if not line.startswith("#"):
            before, _, rest = line.partition("[")
            shape, _, key = rest.partition("] ")
            state[key] = torch.empty([int(n) for n in shape.split(",") if n], device="meta")
            if " T " in before:
                trained.add(key)
    return state, trained


@needs_golden
@pytest.mark.parametrize(("kind", "bottleneck", "conditioned"), [("full", 256, True), ("demo", 512, False)])
def test_names_and_shapes_of_the_full_size_fit(kind: str, bottleneck: int, conditioned: bool) -> None:
    state, trained = published_state(f"state_dict_keys_{kind}_swin_t.txt")
    report = ConversionReport()
    parts = convert_state(state, full_config(), report)
    assert report.used.keys() | report.unused.keys() == state.keys()
    assert UNKNOWN not in report.unused.values()
    assert parts.method == "adapter_plus"
    assert (parts.options.image_bottleneck, parts.options.text_bottleneck) == (bottleneck, bottleneck)
    assert (parts.options.condition_image, parts.options.condition_text) == (conditioned, False)

    with torch.device("meta"):
        detector = MMGroundingDinoForObjectDetection(parts.detector_config)
        options = {
            "image_bottleneck": bottleneck,
            "text_bottleneck": bottleneck,
            "condition_image": conditioned,
        }
        model = Piza(detector, NoTokenizer(), PizaConfig(method="adapter_plus", method_options=options))
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    given = {name: tensor.shape for name, tensor in parts.weights.items()}
    assert given.items() <= expected.items()
    twice = {
        name
        for name in expected
        if name.startswith(("detector.model.decoder.bbox_embed", "detector.model.decoder.class_embed"))
    }
    assert set(expected.keys() - given.keys() - twice) == {
        f"detector.model.backbone.conv_encoder.model.swin.layernorm.{p}" for p in ("weight", "bias")
    }
    if kind == "full":  # the list says what the published code trains
        ours = {name for key in trained for name in report.used[key]}
        assert ours == METHODS["adapter_plus"].trained_names(model)


def test_downsampling_weights_are_reordered() -> None:
    """The published Swin gathers 2 x 2 patches with nn.Unfold, the library by slices: same numbers after
    reordering.
    """
    torch.manual_seed(0)
    x, ours = torch.randn(2, 6 * 8, 5), SwinPatchMerging(5)
    norm, reduction = nn.LayerNorm(20), nn.Linear(20, 10, bias=False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    ours.load_state_dict(
        {
            "norm.weight": _reorder(norm.weight.data),
            "norm.bias": _reorder(norm.bias.data),
            "reduction.weight": _reorder(reduction.weight.data),
        }
    )
    columns = nn.Unfold(2, stride=2)(x.transpose(1, 2).reshape(2, 5, 6, 8)).transpose(1, 2)
    torch.testing.assert_close(ours(x, (6, 8)), reduction(norm(columns)))


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    small_config().save_pretrained(folder)
    BertTokenizer(str(GOLDEN / "vocab.txt")).save_pretrained(folder)
    return folder


@needs_golden
def test_a_converted_model_is_saved_and_loaded(base_folder: Path, converted, golden, tmp_path: Path) -> None:
    model, report = reference_model(STATE, base_folder)
    assert report.used == converted[1].used
    config = model.config
    assert (config.zoom_scale, config.token_pooling, config.search.max_looks) == (1.0, "max", 5)
    ids, mask, _ = model.prompter([["The small red car is parked left of the white van, near the building."]])
    assert torch.equal(ids, golden["text.input_ids"]) and mask.all()

    save_folder(model, tmp_path / "out")
    again = load_folder(tmp_path / "out")
    assert json.dumps(asdict(again.config)) == json.dumps(asdict(model.config))
    state = again.state_dict()
    for name, tensor in model.state_dict().items():
        assert ".swin.layernorm." in name or torch.equal(tensor, state[name])
    with (
        torch.no_grad()
    ):  # the same answers too: how a model is put together is as much a part of it as its weights
        before, after = (one_look(m, golden["raw_image_hwc_rgb_u8"]) for m in (model, again))
    assert torch.equal(before, after)


def one_look(model: Piza, picture: Tensor) -> Tensor:
    """Boxes (queries, 4) of two sentences of different lengths, padded to one batch."""
    text, pooling = model.encode_prompts(
        [["The red car."], ["The white van to the left of the tall building."]]
    )
    features = model.encode_images([picture.numpy()] * 2)
    return model.ground(text, pooling, features, torch.tensor([0.0, 0.5])).boxes[-1]


@needs_golden
def test_a_trainers_checkpoint_is_read_without_running_anything_of_it(tmp_path: Path, converted) -> None:
    """Checkpoints of the published trainer hold logs, as objects of a package that is not installed here."""
    module = types.ModuleType("mmengine_like")
    exec("class HistoryBuffer:\n    def __init__(self):\n        self.history = [1.0, 2.0]", module.__dict__)
    module.HistoryBuffer.__module__ = module.__name__
    sys.modules[module.__name__] = module
    try:
        logs = {"log_scalars": {"train/loss": module.HistoryBuffer()}}
        torch.save(
            {"meta": {"epoch": 5}, "message_hub": logs, "state_dict": load_file(STATE)},
            tmp_path / "epoch_5.pth",
        )
    finally:
        del sys.modules[module.__name__]
    parts, report = convert_reference(tmp_path / "epoch_5.pth", small_config())
    assert report.skipped == ["mmengine_like.HistoryBuffer"]
    assert report.used == converted[1].used
    expected, _ = convert_reference(STATE, small_config())
    assert all(torch.equal(tensor, expected.weights[name]) for name, tensor in parts.weights.items())


class Touch:
    def __init__(self, call, path: Path) -> None:
        self.call, self.path = call, path

    def __reduce__(self):
        return self.call, (str(self.path),)


@needs_golden
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "made by the checkpoint"
    content = {"state_dict": {"level_embed": torch.zeros(4, 256)}, "x": Touch(os.mkdir, target)}
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError):
        build_reference(convert_reference(tmp_path / "bad.pth", small_config())[0], NoTokenizer(), "bad.pth")
    assert not target.exists()
    assert b"mkdir" in (tmp_path / "bad.pth").read_bytes()  # the file does ask for it


@needs_golden
def test_the_history_encoder_may_come_from_a_file_of_its_own(
    tmp_path: Path, base_folder: Path, converted
) -> None:
    state = load_file(STATE)
    grounder_only = {key: t for key, t in state.items() if not key.startswith("bbox_encoder.")}
    history_only = {
        key.removeprefix("bbox_encoder."): t for key, t in state.items() if key not in grounder_only
    }
    save_file(grounder_only, tmp_path / "model.safetensors")
    save_file(history_only, tmp_path / "history.safetensors")
    with pytest.raises(InputError, match="no box-history encoder"):
        reference_model(tmp_path / "model.safetensors", base_folder)
    model, _ = reference_model(tmp_path / "model.safetensors", base_folder, tmp_path / "history.safetensors")
    for name, tensor in converted[0].history.state_dict().items():
        assert torch.equal(model.history.state_dict()[name], tensor)


@needs_golden
def test_other_variants_of_the_checkpoint_convert_too() -> None:
    state = load_file(STATE)
    report = ConversionReport()
    convert_state({"ema_steps": torch.ones(1), **state}, small_config(), report)
    assert report.unused["ema_steps"] == UNKNOWN
    plain = {
        key: t for key, t in state.items() if ".adapter" not in key and not key.startswith("zoom_embedding")
    }
    parts = convert_state(plain, small_config(), report)
    assert parts.method == "full" and parts.options.condition is False
    build_reference(parts, NoTokenizer(), "plain")
    unconditioned = {key: t for key, t in state.items() if ".emb_proj." not in key}
    parts = convert_state(unconditioned, small_config(), report)
    model = build_reference(parts, NoTokenizer(), "unconditioned")
    assert (parts.method, parts.options.condition_image) == ("adapter_plus", False)
    assert torch.equal(model.zoom.mlp[0].weight, state["zoom_embedding.temb.dense.0.weight"])


@needs_golden
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_layers": 3}, "lacks"),
        ({"encoder_layers": 1}, "no place"),
        ({"decoder_layers": 1}, "no place"),
        ({"num_queries": 31}, "shape"),
        ({"encoder_ffn_dim": 512}, "shape"),
    ],
)
def test_a_base_of_other_sizes_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parts, _ = convert_reference(STATE, small_config(**changes))
        build_reference(parts, NoTokenizer(), "the checkpoint")


@needs_golden
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, base_folder: Path) -> None:
    files = {
        "text.pth": b"hello\n",
        "empty.pth": b"",
        "cut.safetensors": STATE.read_bytes()[:5000],
        "pickle.pth": pickle.dumps([1, 2]),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"a": 1}, tmp_path / "numbers.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    torch.save({"state_dict": {}}, tmp_path / "nothing.pth")
    for name in [*files, "numbers.pth", "list.pth", "nothing.pth", "missing.pth"]:
        with pytest.raises(InputError, match="checkpoint") as caught:
            convert_reference(tmp_path / name, small_config())
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="MM-GroundingDINO"):
        convert_reference(STATE, GroundingDinoConfig())
    with pytest.raises(InputError, match="resnet"):
        convert_reference(STATE, MMGroundingDinoConfig(backbone_config=ResNetConfig()))
    with pytest.raises(InputError, match="base"):
        reference_model(STATE, tmp_path / "no such base")
