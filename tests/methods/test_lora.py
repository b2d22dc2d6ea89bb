"""The low-rank update against its formula, and where it goes."""

import pytest
import torch
from tests.conftest import tiny_detector
from torch import nn
from torch.nn.functional import silu

from piza.errors import InputError
from piza.methods.context import zoom_embedding
from piza.methods.lora import LoraConfig, LoraLinear, LowRank, apply, merge, trained_names

IMAGE = {"self_attn." + n for n in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")}
TEXT = {"self_attn." + n for n in ("query", "key", "value", "out_proj")}
FFN = {"fc1", "fc2"}


def woken(update: LowRank) -> LowRank:
    nn.init.normal_(update.up.weight)
    return update


def test_the_formula() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, 5)
    layer = LoraLinear(linear, woken(LowRank(6, 5, rank=2, scale=3.0, embedding_dim=4)))
    x, embedding = torch.randn(2, 7, 6), torch.randn(2, 4)
    down, up, project = layer.update.down.weight, layer.update.up.weight, layer.update.project
    expected = linear(x)
    for i in range(2):
        low = x[i] @ down.T + silu(embedding[i]) @ project.weight.T + project.bias
        expected[i] = expected[i] + 3.0 * low @ up.T
    with zoom_embedding(embedding):
        torch.testing.assert_close(layer(x), expected)
    with pytest.raises(RuntimeError, match="zoom_embedding"):
        layer(x)


def test_alpha_over_rank_scales_the_update() -> None:
    detector = tiny_detector()
    apply(detector, LoraConfig(condition=False, rank=4, alpha=2.0))
    layer = detector.model.encoder.layers[0].deformable_layer.fc1
    x = torch.randn(1, 3, 32)
    woken(layer.update)
    torch.testing.assert_close(
        layer(x) - layer.linear(x), 0.5 * x @ layer.update.down.weight.T @ layer.update.up.weight.T
    )
    torch.testing.assert_close(layer.update.matrix(), 0.5 * layer.update.up.weight @ layer.update.down.weight)


def test_every_linear_layer_of_the_image_and_text_layers_and_no_other() -> None:
    detector = tiny_detector()
    apply(detector, LoraConfig(rank=2, embedding_dim=8))
    found = {name: module for name, module in detector.named_modules() if isinstance(module, LoraLinear)}
    start = "model.encoder.layers."
    image = {f"{start}{i}.deformable_layer.{name}" for i in range(2) for name in IMAGE | FFN}
    text = {f"{start}{i}.text_enhancer_layer.{name}" for i in range(2) for name in TEXT | FFN}
    assert found.keys() == image | text
    conditioned = {name for name, module in found.items() if module.update.project is not None}
    assert conditioned == {
        f"{start}{i}.deformable_layer.{name}" for i in range(2) for name in ("self_attn.output_proj", "fc2")
    }


def test_the_wrapped_weights_stay_frozen() -> None:
    detector = tiny_detector()
    apply(detector, LoraConfig(rank=2, embedding_dim=8))
    names = trained_names(detector)
    assert any(name.endswith("fc1.update.up.weight") for name in names)
    assert not any(".linear." in name for name in names)


def test_merging_restores_the_names_of_the_base() -> None:
    detector = tiny_detector()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    apply(detector, LoraConfig(condition=False, rank=2))
    woken(detector.model.encoder.layers[1].text_enhancer_layer.fc2.update)
    merge(detector)
    after = detector.state_dict()
    assert after.keys() == before.keys()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"model.encoder.layers.1.text_enhancer_layer.fc2.weight"}
    with pytest.raises(InputError, match="no LoRA"):
        merge(detector)


@pytest.mark.parametrize("rank", [0, -3])
def test_a_rank_below_one_is_refused(rank) -> None:
    with pytest.raises(InputError, match="rank"):
        apply(tiny_detector(), LoraConfig(rank=rank))
