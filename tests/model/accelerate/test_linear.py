"""Products in oneDNN give torch's numbers, and step aside where they would not."""

import pickle

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.models.swin.configuration_swin import SwinConfig
from transformers.models.swin.modeling_swin import SwinMLP

from piza.model import accelerate
from piza.model.accelerate import linear as products
from piza.model.accelerate.linear import ONEDNN_PRODUCTS, FastLinear, feed_forward, is_plain

pytestmark = pytest.mark.skipif(not products.has_onednn(), reason="torch without oneDNN")


class Other(nn.Linear):
    pass


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(products, "MIN_WEIGHTS", 0)


@pytest.fixture
def used(monkeypatch):
    """A list that grows with each product that oneDNN computes; the smallest ones, too."""
    monkeypatch.setattr(products, "MIN_PRODUCTS", 0)
    calls, product = [], products._product
    monkeypatch.setattr(
        products, "_product", lambda x, linear, name: calls.append(name) or product(x, linear, name)
    )
    return calls


def fast(module):
    ONEDNN_PRODUCTS.apply(module)
    ONEDNN_PRODUCTS.apply(module)
    return module


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 4, 5)])
@torch.no_grad()
def test_a_layer_gives_torch_s_numbers(bias, shape, used):
    torch.manual_seed(0)
    holder = nn.Sequential(nn.Linear(5, 6, bias=bias))
    names, x = list(holder.state_dict()), torch.randn(shape)
    want = holder(x)
    torch.testing.assert_close(fast(holder)(x), want)
    assert used == ["none"] and list(holder.state_dict()) == names


@torch.no_grad()
def test_it_takes_what_does_not_lie_in_order(used):
    torch.manual_seed(0)
    holder, x = nn.Sequential(nn.Linear(5, 6)), torch.randn(2, 5, 7).transpose(1, 2)[:, ::2]
    want = holder(x)
    torch.testing.assert_close(fast(holder)(x), want)
    assert used


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("name", ["relu", "gelu"])
@torch.no_grad()
def test_a_feed_forward_network_is_the_same_in_parts(name, rows, used, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(products, "ROWS", rows)
    layers, x = nn.ModuleList([nn.Linear(5, 16), nn.Linear(16, 4)]), torch.randn(2, 4, 5)
    want = layers[1](ACT2FN[name](layers[0](x)))
    fast(layers)
    torch.testing.assert_close(feed_forward(layers[0], ACT2FN[name], layers[1], x), want)
    assert used == [name, "none"] * -(-8 // rows)


@torch.no_grad()
def test_an_activation_that_it_does_not_know_is_computed_by_itself(used):
    layers, x = fast(nn.ModuleList([nn.Linear(5, 16), nn.Linear(16, 4)])), torch.randn(8, 5)
    torch.testing.assert_close(
        feed_forward(layers[0], nn.GELU("tanh"), layers[1], x), layers[1](nn.GELU("tanh")(layers[0](x)))
    )
    assert set(used) == {"none"}


@torch.no_grad()
def test_swin_s_network_is_the_library_s(used):
    torch.manual_seed(0)
    holder, x = nn.Sequential(SwinMLP(SwinConfig(), 8)), torch.randn(2, 9, 8)
    want = holder(x)
    torch.testing.assert_close(fast(holder)(x), want)
    assert used == ["gelu", "none"]


def test_training_and_traces_are_torch_s(used):
    holder, x = fast(nn.Sequential(nn.Linear(5, 6))), torch.randn(3, 5)
    assert holder(x).requires_grad
    with torch.no_grad():
        torch.jit.trace(holder, x, check_trace=False)
        holder.double()(x.double())
    assert not used


@torch.no_grad()
def test_small_products_are_torch_s(monkeypatch):
    monkeypatch.setattr(products, "_product", None)  # calling it would raise
    fast(nn.Sequential(nn.Linear(5, 6)))(torch.randn(3, 5))


def test_small_layers_stay_torch_s(monkeypatch):
    monkeypatch.setattr(products, "MIN_WEIGHTS", 10)
    holder = fast(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 4)))
    assert [type(layer) for layer in holder] == [nn.Linear, FastLinear]


def test_only_what_is_a_linear_layer_and_nothing_else_is_plain():
    holder = fast(nn.Sequential(nn.Linear(2, 2), Other(2, 2)))
    assert type(holder[0]) is FastLinear and type(holder[1]) is Other
    assert is_plain(holder[0]) and is_plain(nn.Linear(2, 2)) and not is_plain(holder[1])
    assert type(pickle.loads(pickle.dumps(holder))[0]) is FastLinear


def test_without_onednn_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    holder = nn.Sequential(nn.Linear(2, 2))
    accelerate.apply(holder)
    assert not ONEDNN_PRODUCTS.is_available("cpu") and type(holder[0]) is nn.Linear
