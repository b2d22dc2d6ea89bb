"""Convolutions with their norm and ReLU in one pass give the library's numbers, also of weights that changed meanwhile."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import MMGroundingDinoFrozenBatchNorm2d
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetConvLayer

from piza.model import accelerate
from piza.model.accelerate import conv as convolutions
from piza.model.accelerate.conv import FUSED_CONVOLUTIONS, FastConvLayer
from piza.model.accelerate.linear import has_onednn

pytestmark = pytest.mark.skipif(not has_onednn(), reason="torch without oneDNN")
PICTURE = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))


def layer(activation="relu", **how):
    torch.manual_seed(0)
    made = RTDetrResNetConvLayer(3, 5, activation=activation, **how)
    made.normalization = MMGroundingDinoFrozenBatchNorm2d(5)
    for name in ("weight", "bias", "running_mean"):
        getattr(made.normalization, name).copy_(torch.randn(5))
    made.normalization.running_var.copy_(0.1 + torch.rand(5))
    return nn.Sequential(made)


def fast(holder):
    FUSED_CONVOLUTIONS.apply(holder)
    FUSED_CONVOLUTIONS.apply(holder)
    return holder


@pytest.fixture
def used(monkeypatch):
    """A list that grows with each convolution that is folded."""
    calls, folded = [], convolutions.folded
    monkeypatch.setattr(convolutions, "folded", lambda layer: calls.append(1) or folded(layer))
    return calls


@pytest.mark.parametrize("how", [{}, {"stride": 2}, {"kernel_size": 1}, {"activation": None}])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_it_gives_the_library_s_numbers(how, form, used):
    holder, picture = layer(**how), PICTURE.contiguous(memory_format=form)
    want, names = holder(picture), list(holder.state_dict())
    torch.testing.assert_close(fast(holder)(picture), want, atol=1e-5, rtol=1e-5)
    assert used and list(holder.state_dict()) == names


@torch.no_grad()
def test_weights_that_changed_are_folded_anew(used):
    holder, other = fast(layer()), layer()
    holder(PICTURE)
    for changed in (holder[0].convolution.weight, holder[0].normalization.running_mean):
        changed.mul_(2)
        other.load_state_dict(holder.state_dict())
        torch.testing.assert_close(holder(PICTURE), other(PICTURE), atol=1e-5, rtol=1e-5)
    loaded = layer().state_dict()
    holder.load_state_dict(loaded)
    other.load_state_dict(loaded)
    torch.testing.assert_close(holder(PICTURE), other(PICTURE), atol=1e-5, rtol=1e-5)
    copied = copy.deepcopy(holder)
    copied[0].convolution.weight.zero_()
    torch.testing.assert_close(holder(PICTURE), other(PICTURE), atol=1e-5, rtol=1e-5)
    assert len(used) == 5


def test_training_traces_and_norms_that_learn_are_the_library_s(used):
    holder = fast(layer())
    assert holder(PICTURE).requires_grad
    with torch.no_grad():
        torch.jit.trace(holder, PICTURE, check_trace=False)
        holder[0].normalization = nn.BatchNorm2d(5)
        holder(PICTURE)
    assert not used
    assert type(pickle.loads(pickle.dumps(holder))[0]) is FastConvLayer


def test_without_onednn_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    holder = layer()
    accelerate.apply(holder)
    assert not FUSED_CONVOLUTIONS.is_available("cpu") and type(holder[0]) is RTDetrResNetConvLayer


@torch.no_grad()
def test_what_was_folded_is_in_no_pickle_and_goes_with_the_layer():
    holder = fast(layer())
    size = len(pickle.dumps(holder))
    holder(PICTURE)
    assert len(pickle.dumps(holder)) == size
    kept = len(convolutions._folded)
    del holder
    assert len(convolutions._folded) == kept - 1
