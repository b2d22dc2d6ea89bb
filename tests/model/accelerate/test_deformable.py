"""The fast sampling is the library's sampling, where it runs and where it steps aside."""

import math
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import MultiScaleDeformableAttention

from piza.model import accelerate, grounder
from piza.model.accelerate import deformable
from piza.model.accelerate.deformable import DEFORMABLE_SAMPLING, FastMMSampling, can_sample

LIBRARY = MultiScaleDeformableAttention()


@pytest.fixture
def sampling():
    if not can_sample():
        pytest.skip("no C compiler here")
    return FastMMSampling()


class _Elsewhere(torch.utils.data.Dataset):
    """Its items are worked out by the kernels, in whatever process asks for them."""

    def __init__(self, sampling):
        self.sampling = sampling

    def __len__(self):
        return 2

    def __getitem__(self, at):
        return gradients(self.sampling, given(seed=at))


def given(batch=2, queries=7, heads=3, width=8, shapes=((5, 4), (3, 7), (1, 1)), points=2, reach=1.6, seed=0):
    torch.manual_seed(seed)
    value = torch.randn(batch, sum(h * w for h, w in shapes), heads, width)
    places = 0.5 + reach * (torch.rand(batch, queries, heads, len(shapes), points, 2) - 0.5)
    weights = torch.randn(batch, queries, heads, len(shapes), points)
    return [value, torch.tensor(shapes), list(shapes), torch.tensor([0]), places, weights, 64]


@pytest.mark.parametrize("width", [1, 8, 24, 32, 33])
@pytest.mark.parametrize("reach", [0.9, 1.6, 40.0])  # inside, over the rim, mostly far outside
def test_it_samples_as_the_library(sampling, width, reach):
    inputs = given(width=width, reach=reach)
    torch.testing.assert_close(sampling(*inputs), LIBRARY(*inputs), atol=1e-5, rtol=1e-5)


def test_rims_corners_and_what_is_no_number(sampling):
    inputs = given(batch=1, queries=8, heads=1, points=1, shapes=((3, 2),))
    edges = [0.0, 1.0, 0.25, 0.75, -0.25, 1.25, 1e9, -1e9]
    inputs[4] = torch.tensor([[x, y] for x, y in zip(edges, reversed(edges))]).view(1, 8, 1, 1, 1, 2)
    torch.testing.assert_close(sampling(*inputs), LIBRARY(*inputs), atol=1e-5, rtol=1e-5)
    inputs[4] = torch.full_like(inputs[4], torch.nan)
    assert sampling(*inputs).isfinite().all()


def test_threads_and_strides_change_nothing(sampling, monkeypatch):
    inputs = given(queries=40)
    want = LIBRARY(*inputs)
    monkeypatch.setattr(deformable, "MIN_ROWS", 7)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(sampling(*inputs), want, atol=1e-5, rtol=1e-5)
    inputs[0] = inputs[0].transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(sampling(*inputs), want, atol=1e-5, rtol=1e-5)


def test_a_trace_samples_as_the_library_without_its_large_steps(sampling):
    inputs = given(queries=50)
    inputs[4] = inputs[4].requires_grad_()

    def sample(value, places, weights):
        return sampling(value, *inputs[1:4], places, weights, 64)

    asked = inputs[0], inputs[4], inputs[5]
    traced = torch.jit.trace(sample, asked, check_trace=False)
    torch.testing.assert_close(traced(*asked), LIBRARY(*inputs), atol=1e-5, rtol=1e-5)
    samples = inputs[5].numel() * inputs[0].shape[-1]  # of all levels
    assert all(math.prod(node.output().type().sizes()) < samples for node in _tensors(traced.graph))


def _tensors(graph):
    """The nodes of a trace with one tensor for an output, whose size is known."""
    return [n for n in graph.nodes() if n.outputsSize() == 1 and n.output().isCompleteTensor()]


def test_levels_that_are_not_those_of_the_value_are_refused(sampling):
    inputs = given()
    inputs[2] = [(5, 4), (3, 7), (9, 9)]
    with pytest.raises(ValueError, match="cells"):
        sampling(*inputs)


def gradients(module, inputs, needed=(0, 4, 5)):
    """What comes out, and the gradients of the inputs `needed`, of a sum of it with uneven weights."""
    inputs = list(inputs)
    for at in needed:
        inputs[at] = inputs[at].detach().requires_grad_()
    out = module(*inputs)
    back = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).sin().view_as(out)
    return [out.detach(), *torch.autograd.grad(out, [inputs[at] for at in needed], back)]


def beside_the_centers(inputs):
    """Moves places a little off the centers of cells: there the gradient jumps, and rounding decides to which side."""
    sides = inputs[1].flip(-1)[:, None]
    cells = inputs[4] * sides - 0.5
    part = (cells - cells.floor()).clamp(0.01, 0.99)
    return [*inputs[:4], (cells.floor() + part + 0.5) / sides, *inputs[5:]]


def assert_alike(found, want):
    for ours, theirs in zip(found, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 1},
        {"width": 24, "reach": 0.9},
        {"width": 33, "reach": 40.0},
        {"batch": 1, "queries": 1, "heads": 1, "shapes": ((1, 1),), "points": 1},
        {"batch": 3, "queries": 1500, "heads": 4, "width": 24, "shapes": ((24, 32), (12, 16), (6, 8))},
        {"batch": 12, "queries": 5, "width": 24, "shapes": ((28, 28), (14, 14), (7, 7)), "reach": 1.1},
    ],
)
def test_gradients_are_the_librarys(sampling, sizes):
    inputs = beside_the_centers(given(**sizes))
    assert_alike(gradients(sampling, inputs), gradients(LIBRARY, inputs))


def test_gradients_are_the_kernels_own(sampling, monkeypatch):
    monkeypatch.setattr(MultiScaleDeformableAttention, "forward", None)  # whoever calls it fails
    inputs = given()
    assert len(gradients(sampling, inputs)) == 4
    value = inputs[0].requires_grad_()
    (first,) = torch.autograd.grad(sampling(*inputs).square().sum(), value, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_gradients_on_the_rim_at_centers_and_half_outside(sampling):
    sides = (4, 8)  # powers of two: no rounding, so that both find the same side of every kink
    steps = [torch.arange(-1.5, side + 1.0, 0.25) for side in sides]
    rows, columns = (((step + 0.5) / side) for step, side in zip(steps, sides, strict=True))
    places = torch.cartesian_prod(columns, rows)
    inputs = given(batch=1, queries=len(places), heads=1, shapes=(sides,), points=1)
    inputs[4] = places.view(1, -1, 1, 1, 1, 2)
    assert_alike(gradients(sampling, inputs), gradients(LIBRARY, inputs))


@pytest.mark.parametrize("needed", [(0,), (4,), (5,), (0, 5), (4, 5)])
def test_only_the_gradients_needed_are_made(sampling, needed):
    inputs = beside_the_centers(given())
    assert_alike(gradients(sampling, inputs, needed), gradients(LIBRARY, inputs, needed))


@pytest.mark.parametrize("threads", [2, 3, 5, 64])
def test_gradients_are_the_same_with_any_number_of_threads(sampling, monkeypatch, threads):
    inputs = given(queries=40)
    want = gradients(sampling, inputs)
    monkeypatch.setattr(deformable, "MIN_ROWS", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for ours, alone in zip(gradients(sampling, inputs), want, strict=True):
        assert ours.equal(alone)


def test_gradients_of_strided_tensors(sampling):
    inputs = given()
    found = []
    for module in (sampling, LIBRARY):
        value = inputs[0].transpose(1, 2).contiguous().requires_grad_()
        out = module(value.transpose(1, 2), *inputs[1:])
        out.sum().backward()  # its gradient is one number, expanded
        found.append([value.grad])
    assert_alike(*found)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:DeprecationWarning")
def test_other_numbers_and_traces_are_the_librarys(sampling):
    inputs = given()
    doubles = [v.double() if torch.is_tensor(v) and v.is_floating_point() else v for v in inputs]
    for ours, theirs in zip(gradients(sampling, doubles), gradients(LIBRARY, doubles), strict=True):
        assert ours.dtype == torch.float64
        assert ours.equal(theirs)

    def look(value, places, weights):
        return sampling(value, *inputs[1:4], places, weights, 64)

    others = given(seed=1)
    traced = torch.jit.trace(look, (inputs[0].requires_grad_(), *inputs[4:6]))
    torch.testing.assert_close(traced(others[0], *others[4:6]), LIBRARY(*others))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes do not fork here"
)
def test_a_forked_worker_has_the_kernels_too(sampling, monkeypatch):
    monkeypatch.setattr(deformable, "MIN_ROWS", 1)  # threads have run before the fork
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    want = [gradients(sampling, given(seed=seed)) for seed in range(2)]
    loader = torch.utils.data.DataLoader(
        _Elsewhere(sampling), batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60
    )
    for found, before in zip(loader, want, strict=True):
        assert all(ours.equal(theirs) for ours, theirs in zip(found, before, strict=True))
    assert all(a.equal(b) for a, b in zip(gradients(sampling, given(seed=0)), want[0], strict=True))


def test_a_detector_learns_the_same():
    detector = tiny_detector()
    torch.manual_seed(0)
    pixels, ids = torch.randn(2, 3, 96, 128), torch.tensor([[101, 6, 8, 1012, 102]] * 2)

    def learn():
        detector.zero_grad()
        text = grounder.encode_text(detector, ids, torch.ones_like(ids))
        found = grounder.ground(detector, text, grounder.encode_image(detector, pixels))
        (found.boxes.square().sum() + found.logits.clamp(-9, 9).sum() / 9).backward()
        return {name: p.grad for name, p in detector.named_parameters() if p.grad is not None}

    want = learn()
    if not can_sample():
        pytest.skip("no C compiler here")
    DEFORMABLE_SAMPLING.apply(detector)
    got = learn()
    assert got.keys() == want.keys()
    assert any("value_proj" in name for name in got)
    assert any("sampling_offsets" in name for name in got)
    for name, theirs in want.items():
        assert (got[name] - theirs).norm() <= 1e-3 * theirs.norm() + 1e-5, name


def test_a_detector_answers_the_same_and_keeps_its_names():
    detector = tiny_detector()
    torch.manual_seed(0)
    pixels, ids = torch.randn(2, 3, 96, 128), torch.tensor([[101, 6, 8, 1012, 102]] * 2)

    def look():
        with torch.no_grad():
            text = grounder.encode_text(detector, ids, torch.ones_like(ids))
            return grounder.ground(detector, text, grounder.encode_image(detector, pixels))

    want, names = look(), list(detector.state_dict())
    if not can_sample():
        pytest.skip("no C compiler here")
    DEFORMABLE_SAMPLING.apply(detector)
    fast = [module for module in detector.modules() if isinstance(module, FastMMSampling)]
    assert len(fast) == 4  # two encoder and two decoder layers
    assert list(detector.state_dict()) == names
    got = look()
    np.testing.assert_allclose(got.boxes.numpy(), want.boxes.numpy(), atol=1e-4)
    np.testing.assert_allclose(got.logits.numpy(), want.logits.numpy(), atol=1e-3)
    assert type(pickle.loads(pickle.dumps(fast[0]))) is FastMMSampling
    DEFORMABLE_SAMPLING.undo(detector)
    assert not any(isinstance(module, FastMMSampling) for module in detector.modules())
    assert (look().boxes == want.boxes).all()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_sampled_as_floats_far_outside_of_a_level_as_well(dtype, compiled, monkeypatch, tmp_path):
    """torch's own sampling of halves reads what lies beside a level."""
    if not compiled:
        deformable._compiled.cache_clear()
        monkeypatch.setenv("CC", "/nowhere/cc")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        value, sizes, shapes, starts, places, weights, step = given()
        halves = [one.to(dtype) for one in (value, 9 * places - 4, weights)]
        floats = [one.float() for one in halves]
        got = FastMMSampling()(halves[0], sizes, shapes, starts, halves[1], halves[2], step)
        want = LIBRARY(floats[0], sizes, shapes, starts, floats[1], floats[2], step)
        assert got.dtype == dtype
        torch.testing.assert_close(got.float(), want, atol=0.02, rtol=0.02)
    finally:
        if not compiled:
            deformable._compiled.cache_clear()


def test_without_a_compiler_nothing_changes_and_a_pickled_model_samples_as_the_library(monkeypatch, tmp_path):
    deformable._compiled.cache_clear()
    monkeypatch.setenv("CC", "/nowhere/cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        holder = torch.nn.ModuleList([MultiScaleDeformableAttention()])
        accelerate.apply(holder)
        assert not can_sample() and type(holder[0]) is FastMMSampling
        inputs = given()  # as if it had come from a machine with a compiler
        assert torch.equal(FastMMSampling()(*inputs), LIBRARY(*inputs))
    finally:
        deformable._compiled.cache_clear()
