"""Adapter+, alone and inside full fine-tuning, on the library's own forward; all methods are in test_matrix.py."""

import copy
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save
from torch import Tensor, nn
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    ResNetConfig,
    SwinConfig,
)

from piza.errors import InputError
from piza.methods import METHODS, adapter_state, load_adapter_state, train_only
from piza.methods.adapter_plus import AdapterPlus, AdapterPlusConfig
from piza.methods.context import current_embedding, zoom_embedding
from piza.methods.full import FullConfig
from piza.model.box_history import BoxHistoryEncoder
from piza.model.zoom_embedding import ZoomEmbedding

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
DIM = 32
SMALL = {"image_bottleneck": 8, "text_bottleneck": 6, "embedding_dim": 16}

CASES = {  # method, config, whether the zoom embedding reaches the grounder
    "adapter_plus": ("adapter_plus", AdapterPlusConfig(**SMALL), True),
    "adapter_plus-both": ("adapter_plus", AdapterPlusConfig(condition_text=True, **SMALL), True),
    "adapter_plus-plain": ("adapter_plus", AdapterPlusConfig(condition_image=False, **SMALL), False),
    "adapter_plus-off": (
        "adapter_plus",
        AdapterPlusConfig(condition=False, condition_text=True, **SMALL),
        False,
    ),
    "full": ("full", FullConfig(bottleneck=8, embedding_dim=16), True),
    "full-plain": ("full", FullConfig(condition=False), False),
}


def base(backbone: str = "swin", share: bool = False, mm: bool = True) -> nn.Module:
    torch.manual_seed(0)
    if backbone == "swin":
        backbone_config = SwinConfig(
            embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 2], window_size=4, out_indices=[2, 3]
        )
    else:
        backbone_config = ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 24],
            depths=[1, 1, 1],
            layer_type="basic",
            out_indices=[2, 3],
        )
    shared = {"decoder_bbox_embed_share": share}
    if mm:
        shared["decoder_cls_embed_share"] = share
    config = (MMGroundingDinoConfig if mm else GroundingDinoConfig)(
        backbone_config=backbone_config,
        text_config=BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
        ),
        d_model=DIM,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=24,
        encoder_n_points=2,
        decoder_n_points=2,
        num_feature_levels=3,
        num_queries=10,
        fusion_droppath=0.0,
        **shared,
    )
    model = (MMGroundingDinoForObjectDetection if mm else GroundingDinoForObjectDetection)(config).eval()
    for (
        name,
        parameter,
    ) in model.named_parameters():  # wake what starts at (nearly) zero, so that everything matters
        if name.endswith(("_param", "layers.2.weight")):
            nn.init.normal_(parameter, std=0.3)
    return model


class Whole(nn.Module):
    """What a method is applied to in practice: grounder, zoom embedding and box-history encoder together."""

    def __init__(self, grounder: nn.Module, method: str, config: AdapterPlusConfig | FullConfig) -> None:
        super().__init__()
        METHODS[method].apply(grounder, config)
        self.grounder = grounder
        if CASES_CONDITION[config]:
            self.zoom = ZoomEmbedding(config.embedding_dim)
        self.progress = BoxHistoryEncoder()
        self.eval()

    def forward(self, progress: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        n = len(progress)
        ids = torch.tensor([[101, 1996, 2417, 2482, 1012, 102], [101, 1996, 2317, 3696, 1012, 102]])[:n]
        with zoom_embedding(self.zoom(progress)) if hasattr(self, "zoom") else nullcontext():
            out = self.grounder(pixel_values=torch.rand(n, 3, 64, 64), input_ids=ids)
        return (
            out.logits[..., :6],
            out.pred_boxes,
            out.enc_outputs_coord_logits,
            out.enc_outputs_class[..., :6],
        )


CASES_CONDITION = {config: condition for _, config, condition in CASES.values()}


def whole(case: str, **kwargs) -> Whole:
    method, config, _ = CASES[case]
    return Whole(base(**kwargs), method, config)


def names_of(case: str, model: nn.Module) -> set[str]:
    return METHODS[CASES[case][0]].trained_names(model)


def boxes_and_scores(model: Whole, progress: tuple[float, ...] = (0.0, 0.6)) -> Tensor:
    with torch.no_grad():
        logits, boxes, *_ = model(torch.tensor(progress))
    return torch.cat([logits, boxes], dim=-1)


@pytest.mark.parametrize("case", CASES)
def test_only_what_the_method_declares_is_trained(case: str) -> None:
    model = whole(case)
    names = names_of(case, model)
    parameters = train_only(model, names)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == names
    assert len(parameters) == len(names)
    assert not any(p.requires_grad for p in model.progress.parameters())

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(parameters, lr=1e-2)
    sum(finite(part).square().sum() for part in model(torch.tensor([0.0, 0.6]))).backward()
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= names
    assert len(moved) > 0.8 * len(names)


def finite(x: Tensor) -> Tensor:
    return x.masked_fill(~x.isfinite(), 0.0)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("backbone", ["swin", "resnet"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_reaches_everything_declared(case: str, backbone: str, share: bool) -> None:
    model = whole(case, backbone=backbone, share=share)
    parameters = train_only(model, names_of(case, model))
    sum(finite(part).square().sum() for part in model(torch.tensor([0.0, 0.6]))).backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without == set()
    assert all(p.grad.isfinite().all() for p in parameters)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_saved_and_loaded_alone_it_gives_equal_outputs(case: str, share: bool) -> None:
    model = whole(case, share=share)
    names = names_of(case, model)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.add_(torch.randn_like(parameter) * 0.02)
    expected = boxes_and_scores(model)

    state = load(save(adapter_state(model, names)))
    fresh = whole(case, share=share)
    assert not torch.allclose(boxes_and_scores(fresh), expected)
    load_adapter_state(fresh, state, names_of(case, fresh))
    assert torch.equal(boxes_and_scores(fresh), expected)


@pytest.mark.parametrize("case", CASES)
def test_the_condition_reaches_the_output_exactly_when_asked(case: str) -> None:
    model = whole(case)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, AdapterPlus) and module.project is not None:
                module.project.weight.normal_(std=0.3)
    early, late = boxes_and_scores(model, (0.0,)), boxes_and_scores(model, (0.8,))
    assert torch.equal(early, late) is not CASES[case][2]


@pytest.mark.parametrize("case", ["adapter_plus", "adapter_plus-both"])
def test_each_row_of_a_batch_has_its_own_condition(case: str) -> None:
    model = whole(case)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, AdapterPlus) and module.project is not None:
                module.project.weight.normal_(std=0.3)
    both = boxes_and_scores(model, (0.0, 0.6))
    torch.testing.assert_close(both[0], boxes_and_scores(model, (0.0, 0.2))[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both[1], boxes_and_scores(model, (0.0, 0.2))[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mm", [True, False])
@pytest.mark.parametrize("case", ["adapter_plus", "adapter_plus-plain", "full"])
def test_a_fresh_method_is_nearly_the_base(case: str, mm: bool) -> None:
    plain = Whole(base(mm=mm), "full", CASES["full-plain"][1])
    adapted = whole(case, mm=mm)
    with torch.no_grad():
        expected, got = plain(torch.tensor([0.3])), adapted(torch.tensor([0.3]))
    memory_expected, memory_got = expected[3], got[3]
    assert not torch.equal(memory_expected, memory_got)
    assert (memory_expected - memory_got).abs().max() < 0.02 * memory_expected.abs().max()


def test_a_copy_answers_the_same() -> None:
    model = whole("adapter_plus-both")
    twin = copy.deepcopy(model)
    assert torch.equal(boxes_and_scores(twin), boxes_and_scores(model))


def test_the_embedding_is_forgotten_after_use() -> None:
    with zoom_embedding(torch.ones(1, 16)):
        with zoom_embedding(torch.zeros(1, 16)):
            assert current_embedding().sum() == 0
        assert current_embedding().sum() == 16
    with pytest.raises(KeyError), zoom_embedding(torch.ones(1, 16)):
        raise KeyError
    with pytest.raises(RuntimeError, match="zoom_embedding"):
        current_embedding()


def test_a_conditioned_model_without_a_condition_says_so() -> None:
    model = whole("adapter_plus")
    with pytest.raises(RuntimeError, match="zoom_embedding"):
        model.grounder(
            pixel_values=torch.rand(1, 3, 64, 64), input_ids=torch.tensor([[101, 2482, 1012, 102]])
        )


def test_adapters_are_not_put_in_twice() -> None:
    model = base()
    METHODS["adapter_plus"].apply(model, CASES["adapter_plus"][1])
    with pytest.raises(ValueError, match="already in place"):
        METHODS["adapter_plus"].apply(model, CASES["adapter_plus"][1])


def test_four_adapters_a_layer_and_every_norm_of_the_grounder_is_trained() -> None:
    model = whole("adapter_plus")
    assert sum(isinstance(m, AdapterPlus) for m in model.modules()) == 4 * 2
    names = names_of("adapter_plus", model)
    norms = [
        path
        for path, m in model.named_modules()
        if isinstance(m, nn.LayerNorm)
        and not path.startswith("progress.")
        and not path.endswith("swin.layernorm")
    ]
    assert {f"{path}.weight" for path in norms} <= names
    text_norms = {n for n in names if n.startswith("grounder.model.text_backbone")}
    assert len(text_norms) == 2 * 5  # the embedding's and two a layer
    assert not any("swin.layernorm." in name for name in names)


def test_names_hold_for_a_part_of_the_model_too() -> None:
    model = whole("adapter_plus")
    inside = {
        n.removeprefix("grounder.") for n in names_of("adapter_plus", model) if n.startswith("grounder.")
    }
    assert METHODS["adapter_plus"].trained_names(model.grounder) == inside
    assert METHODS["adapter_plus"].trained_names(model.zoom) == {n for n, _ in model.zoom.named_parameters()}


def test_a_wrong_checkpoint_is_refused_and_changes_nothing() -> None:
    model = whole("adapter_plus")
    names = names_of("adapter_plus", model)
    state = {name: tensor + 1 for name, tensor in adapter_state(model, names).items()}
    first = sorted(names)[0]
    before = adapter_state(model, names)
    with pytest.raises(InputError, match="lacks"):
        load_adapter_state(model, {n: t for n, t in state.items() if n != first}, names)
    with pytest.raises(InputError, match="unknown"):
        load_adapter_state(model, {**state, "else": torch.ones(1)}, names)
    with pytest.raises(InputError, match="shape"):
        load_adapter_state(model, {**state, first: torch.ones(3, 3, 3)}, names)
    after = adapter_state(model, names)
    assert all(torch.equal(after[name], before[name]) for name in names)
    with pytest.raises(InputError, match="no parameter"):
        train_only(model, {"nothing.weight"})


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published modules' outputs are not beside the project")
@pytest.mark.parametrize(("name", "bottleneck", "embedding"), [("embed", 256, 256), ("noembed", 512, None)])
def test_adapter_equals_the_published(name: str, bottleneck: int, embedding: int | None) -> None:
    golden = load_file(GOLDEN / f"adapter_plus_{name}.safetensors")
    ours = {"scaling": "scale", "linear_down": "down", "linear_up": "up", "emb_proj": "project"}
    module = AdapterPlus(256, bottleneck, embedding)
    state = {}
    for key, value in golden.items():
        kind, _, rest = key.partition(".")
        if kind == "state":
            head, dot, tail = rest.partition(".")
            state[ours[head] + dot + tail] = value
    module.load_state_dict(state)
    with torch.no_grad():
        y = module(golden["in.hidden_states"], golden.get("in.embed"))
    torch.testing.assert_close(y, golden["out.y"], rtol=1e-5, atol=1e-5)


def test_a_fresh_adapter_starts_as_published() -> None:
    torch.manual_seed(0)
    adapter = AdapterPlus(256, 256, 256)
    assert torch.equal(adapter.scale, torch.ones(256))
    for linear in (adapter.down, adapter.up):
        assert abs(linear.weight.std().item() - 0.01) < 5e-4
        assert not linear.bias.any()
