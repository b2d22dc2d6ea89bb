"""Every method, plain and conditioned, through the stages a search uses. A new method is tested by adding a row."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector
from torch import Tensor

from piza.config import PizaConfig
from piza.errors import InputError
from piza.methods import METHODS, train_only
from piza.model.adapter_io import save_adapter
from piza.model.io import load_folder, save_folder
from piza.model.load import load_plain
from piza.model.piza import Piza, merge_method

ROWS = {  # small numbers, all else as it comes
    "full": {"bottleneck": 8},
    "adapter_plus": {"image_bottleneck": 8, "text_bottleneck": 6},
    "lora": {"rank": 4, "alpha": 8.0},
    "coop": {"tokens": 3},
}
CASES = [(method, condition) for method in ROWS for condition in (False, True)]
EXACT = [("full", False), ("lora", False), ("lora", True)]  # a fresh one is the base
MERGED = [("lora", False)]

every = pytest.mark.parametrize(("method", "condition"), CASES)
PICTURES = np.random.default_rng(0).integers(0, 255, (3, 96, 128, 3), dtype=np.uint8)
PROMPTS = [
    ["the red car left of a blue sign"],
    ["a round sign with the number", "the car"],
    ["the blue car, left of the red car with a round sign, of the number"],
]
PROGRESS = (0.0, 0.4, 0.8)


def build(
    tokenizer, method: str, condition: bool, pooling: str = "mean", family: str = "mm", **options
) -> Piza:
    detector = tiny_detector(family)  # seeds torch: methods of one row start equal
    chosen = {**ROWS[method], "embedding_dim": 32, "condition": condition, **options}
    config = PizaConfig(
        method=method, method_options=chosen, token_pooling=pooling, first_pixels=128, later_pixels=96
    )
    return Piza(detector, tokenizer, config).eval()


def look(
    model: Piza, rows: slice = slice(None), progress: tuple[float, ...] = PROGRESS
) -> tuple[Tensor, ...]:
    text, pooling = model.encode_prompts(PROMPTS[rows])
    seen = model.encode_images(PICTURES[rows])
    found = model.ground(text, pooling, seen, torch.tensor(progress[rows]), training=True)
    return found.logits, found.boxes, found.proposal_logits, found.proposal_boxes


def still(model: Piza, **options) -> Tensor:
    """The last layer's boxes and sentence scores, without gradients."""
    with torch.no_grad():
        logits, boxes, *_ = look(model, **options)
    return torch.cat([logits[-1], boxes[-1]], -1)


def taught(model: Piza, steps: int = 3) -> Piza:
    """After some steps on what the method declares, each step as long in every weight that has a gradient.

    Three steps, because what starts at zero hides what lies behind it: in LoRA the up matrix moves first, then
    the down matrix and the projection, then the zoom embedding.
    """
    parameters = train_only(model, METHODS[model.config.method].trained_names(model))
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, eps=1e-30, weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(part[part.isfinite()].square().mean() for part in look(model)).backward()
        optimizer.step()
    return model


def test_every_method_is_in_the_matrix() -> None:
    assert ROWS.keys() == METHODS.keys()


@pytest.mark.parametrize(("method", "condition"), EXACT)
def test_a_fresh_method_equals_the_base(method: str, condition: bool, tiny_tokenizer) -> None:
    base = build(tiny_tokenizer, "full", False)
    fresh = build(tiny_tokenizer, method, condition)
    torch.testing.assert_close(still(fresh), still(base), atol=1e-5, rtol=0)


@every
def test_training_changes_exactly_what_the_method_declares(method, condition, tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, method, condition)
    names = METHODS[method].trained_names(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taught(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == names
    state = model.state_dict()
    moved = {name for name, _ in model.named_parameters() if not torch.equal(state[name], before[name])}
    assert moved == names
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_buffers() if name in before)


@every
def test_progress_matters_exactly_when_conditioned(method, condition, tiny_tokenizer) -> None:
    model = taught(build(tiny_tokenizer, method, condition))
    early, late = (still(model, progress=(p, p, p)) for p in (0.1, 0.8))
    assert torch.equal(early, late) is not condition
    zoom = {f"zoom.{name}" for name, _ in model.zoom.named_parameters()}
    assert METHODS[method].trained_names(model) & zoom == (zoom if condition else set())


@every
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_batch_equals_each_alone(method, condition, pooling, tiny_tokenizer) -> None:
    model = taught(build(tiny_tokenizer, method, condition, pooling))
    with torch.no_grad():
        together = look(model)
        for i in range(len(PROMPTS)):
            alone = look(model, slice(i, i + 1))
            width = alone[0].shape[-1]
            torch.testing.assert_close(together[1][:, i], alone[1][:, 0], atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(together[0][:, i, :, :width], alone[0][:, 0], atol=2e-5, rtol=1e-4)


@every
def test_saved_whole_and_loaded_it_is_equal(method, condition, tiny_tokenizer, tmp_path) -> None:
    model = taught(build(tiny_tokenizer, method, condition))
    save_folder(model, tmp_path / "m")
    loaded = load_folder(tmp_path / "m")
    assert asdict(loaded.config) == asdict(model.config)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(still(loaded), still(model))


@every
def test_saved_as_an_adapter_it_is_equal_and_small(method, condition, tiny_tokenizer, tmp_path) -> None:
    model = taught(build(tiny_tokenizer, method, condition))
    save_folder(build(tiny_tokenizer, "full", False), tmp_path / "base")
    if method == "full":
        with pytest.raises(InputError, match="every weight"):
            save_adapter(model, tmp_path / "adapter", tmp_path / "base")
        return
    save_adapter(model, tmp_path / "adapter", tmp_path / "base")
    loaded = load_plain(tmp_path / "adapter")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(still(loaded), still(model))
    stored = sum(tensor.numel() for tensor in model.history.state_dict().values())
    stored += sum(p.numel() for name, p in model.named_parameters() if p.requires_grad)
    stored += 0 if condition else sum(p.numel() for p in model.zoom.parameters())
    size = (tmp_path / "adapter" / "adapter.safetensors").stat().st_size
    assert 4 * stored <= size < 4 * stored + 40_000  # what was trained, the two small parts, and names


@every
def test_merged_equals_unmerged_or_is_refused(method, condition, tiny_tokenizer, tmp_path) -> None:
    model = taught(build(tiny_tokenizer, method, condition))
    before, config = still(model), asdict(model.config)
    if (method, condition) not in MERGED:
        with pytest.raises(InputError, match="merge"):
            merge_method(model)
        assert torch.equal(still(model), before) and asdict(model.config) == config
        return
    merge_method(model)
    torch.testing.assert_close(still(model), before, atol=1e-4, rtol=1e-4)
    save_folder(model, tmp_path / "merged")
    assert torch.equal(still(load_plain(tmp_path / "merged")), still(model))


@every
@pytest.mark.parametrize("family", ["mm", "gd"])
def test_a_search_runs(family, method, condition, tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, method, condition, family=family)
    picture = np.random.default_rng(1).integers(0, 255, (200, 320, 3), dtype=np.uint8)
    one, other = model.locate(picture, ["the red car", "a round sign"], max_looks=2)
    assert one.box_xyxy != other.box_xyxy and 0 <= one.score <= 1


@every
def test_a_method_is_not_applied_twice(method, condition, tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, method, condition)
    if (method, condition) == ("full", False):
        return  # puts nothing in
    with pytest.raises(ValueError, match="already in place"):
        METHODS[method].apply(model.detector, METHODS[method].config(**model.config.method_options))
