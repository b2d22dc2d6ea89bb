"""The sampling of deformable attention on the CPU, in one pass, where a C compiler is at hand.

The library samples each level with `grid_sample`, one channel at a time, and weighs and adds the samples afterwards. The
kernel beside this file (deformable.c) walks once over queries, heads, levels and points and reads all channels of a
sample together; for gradients a second kernel walks the same way back. Both are compiled when first asked for, into the
user's cache. Without a compiler, on other devices, in double precision and when compiled by torch the library's own
sampling runs, and in traces one that needs less memory; half precision is sampled in float32. Gradients of gradients are
refused.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from piza.model.accelerate.base import Acceleration, is_tracing
from piza.model.families import GROUNDING_DINO, MM_GROUNDING_DINO

SOURCE = Path(__file__).with_name("deformable.c")
MIN_ROWS = 2000  # a second thread is not worth its start below this many queries
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC")

Shapes = list[tuple[int, int]]


class Kernels(NamedTuple):
    """The two functions of deformable.c; their arguments are described there."""

    sample: Callable[..., None]
    back: Callable[..., None]


class _FastSampling(nn.Module):
    """Mixed into the sampling of each family; it has no weights."""

    def forward(
        self,
        value: Tensor,
        spatial_shapes: Tensor,
        spatial_shapes_list: Shapes,
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        """The weighted sums of samples, (batch, queries, heads * width).

        value: (batch, cells, heads, width). sampling_locations: (batch, queries, heads, levels, points, 2), x and y in [0, 1].
        attention_weights: (batch, queries, heads, levels, points).
        """
        kind = value.dtype
        given = _without_halves(value, sampling_locations, attention_weights)
        value, sampling_locations, attention_weights = given
        kernels = _compiled()
        if kernels is not None and _fits(*given):
            if torch.is_grad_enabled() and any(v.requires_grad for v in given):
                found: Tensor = _Sampling.apply(kernels, spatial_shapes_list, *given)  # type: ignore[no-untyped-call]
                return found.to(kind)
            return _sample(kernels, spatial_shapes_list, *given).to(kind)
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return by_level(value, spatial_shapes_list, sampling_locations, attention_weights)
        sampled: Tensor = super().forward(
            value,
            spatial_shapes,
            spatial_shapes_list,
            level_start_index,
            sampling_locations,
            attention_weights,
            im2col_step,
        )
        return sampled.to(kind)


class FastSampling(_FastSampling, GROUNDING_DINO.deformable_sampling):  # type: ignore[name-defined]
    """A GroundingDINO's sampling."""


class FastMMSampling(_FastSampling, MM_GROUNDING_DINO.deformable_sampling):  # type: ignore[name-defined]
    """An MM-GroundingDINO's sampling."""


def can_sample(device: str = "cpu") -> bool:
    """Whether there are kernels for this kind of device; False where none can be compiled."""
    return device == "cpu" and _compiled() is not None


DEFORMABLE_SAMPLING = Acceleration(
    "deformable sampling",
    {
        GROUNDING_DINO.deformable_sampling: FastSampling,
        MM_GROUNDING_DINO.deformable_sampling: FastMMSampling,
    },
    lambda device: device == "cpu",  # without kernels as well, for what halves are
    in_training=True,
)


def by_level(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """What the library's sampling gives, one level added to the next.

    For graphs, whose engines keep what is between two steps: the library puts the samples of all levels side by side, and
    their products with the weights as well.
    """
    batch, _, heads, width = value.shape
    queries = locations.shape[1]
    sums = value.new_zeros(())
    for number, level in enumerate(value.split([rows * columns for rows, columns in shapes], 1)):
        maps = level.flatten(2).transpose(1, 2).reshape(batch * heads, width, *shapes[number])
        places = (2 * locations[:, :, :, number] - 1).transpose(1, 2).flatten(0, 1)
        samples = nn.functional.grid_sample(maps, places, padding_mode="zeros", align_corners=False)
        shares = weights[:, :, :, number].transpose(1, 2).flatten(0, 1)[:, None]
        sums = sums + (samples * shares).sum(-1)
    return sums.view(batch, heads * width, queries).transpose(1, 2)


def _without_halves(*given: Tensor) -> tuple[Tensor, ...]:
    """The same in float32 on the CPU, where torch's `grid_sample` of sixteen bits reads memory beside the level."""
    halves = (torch.float16, torch.bfloat16)
    if is_tracing() or not any(v.device.type == "cpu" and v.dtype in halves for v in given):
        return given
    return tuple(v.float() for v in given)


def _fits(*given: Tensor) -> bool:
    """Whether the kernels can take these: floats on the CPU, and no trace of tensors that hold nothing."""
    plain = all(v.device.type == "cpu" and v.dtype == torch.float32 for v in given)
    return plain and not is_tracing()


class _Sampling(torch.autograd.Function):
    """`_sample` with gradients of value, locations and weights."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, shapes: Shapes, value: Tensor, locations: Tensor, weights: Tensor
    ) -> Tensor:
        ctx.kernels, ctx.shapes = kernels, shapes
        ctx.save_for_backward(value, locations, weights)
        return _sample(kernels, shapes, value, locations, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        value, locations, weights = ctx.saved_tensors
        gradients = _sample_back(ctx.kernels, ctx.shapes, value, locations, weights, back, needed[0])
        return None, None, *(grad if need else None for grad, need in zip(gradients, needed, strict=True))


def _sample(kernels: Kernels, shapes: Shapes, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    value, locations, weights = (v.detach().contiguous() for v in (value, locations, weights))
    batch, cells, heads, width = value.shape
    queries = locations.shape[1]
    sides = torch.tensor(shapes, dtype=torch.int64)
    if int(sides.prod(1).sum()) != cells:
        raise ValueError(f"expected {cells} cells in levels of {shapes}")
    out = value.new_empty(batch, queries, heads * width)
    pointers = [v.data_ptr() for v in (value, sides, locations, weights, out)]
    sizes = (queries, cells, heads, width, len(shapes), locations.shape[4])
    rows = batch * queries
    _in_threads(lambda first, last: kernels.sample(*pointers, first, last, *sizes), rows, rows)
    return out


def _sample_back(
    kernels: Kernels,
    shapes: Shapes,
    value: Tensor,
    locations: Tensor,
    weights: Tensor,
    back: Tensor,
    value_needed: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The gradients of value (None unless needed), locations and weights, `back` being that of the sums."""
    value, locations, weights, back = (v.detach().contiguous() for v in (value, locations, weights, back))
    batch, cells, heads, width = value.shape
    queries = locations.shape[1]
    sides = torch.tensor(shapes, dtype=torch.int64)
    to_value = torch.zeros_like(value) if value_needed else None
    to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
    tensors = (value, sides, locations, weights, back, to_value, to_locations, to_weights)
    pointers = [None if v is None else v.data_ptr() for v in tensors]
    sizes = (queries, cells, heads, width, len(shapes), locations.shape[4])
    # Queries share cells, heads and images do not: a thread has whole heads, and no cell is written by two.
    parts = batch * heads
    _in_threads(lambda first, last: kernels.back(*pointers, first, last, *sizes), parts, batch * queries)
    return to_value, to_locations, to_weights


def _in_threads(call: Callable[[int, int], None], parts: int, rows: int) -> None:
    """`call(first, last)` over all parts, cut among as many threads as so many rows are worth; none outlives this."""
    threads = max(1, min(torch.get_num_threads(), parts, rows // MIN_ROWS))
    cuts = [parts * thread // threads for thread in range(threads + 1)]
    if threads == 1:
        call(0, parts)
    else:  # the lock of Python is given back during a call
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, cuts[:-1], cuts[1:]))


@cache
def _compiled() -> Kernels | None:
    """The kernels, compiled now or taken from the cache; None where there is no compiler or it fails."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piza"
        name = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
        file = home / f"deformable-{name}.so"
        if not file.exists():
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home) as work:
                part = Path(work) / file.name
                command = [compiler, *FLAGS, str(SOURCE), "-o", str(part), "-lm"]
                subprocess.run(command, check=True, capture_output=True, timeout=120)
                part.replace(file)
        library = ctypes.CDLL(str(file))
        sample, back = library.piza_sample, library.piza_sample_back
    except (
        OSError,
        RuntimeError,
        subprocess.SubprocessError,
        AttributeError,
    ):  # RuntimeError: a user with no home
        return None
    for kernel, pointers in ((sample, 5), (back, 8)):
        kernel.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * 8
        kernel.restype = None
    return Kernels(sample, back)
