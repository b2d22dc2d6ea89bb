"""The sampling of deformable attention on the CPU, in one pass, where a C compiler is at hand.

The library samples each level with `grid_sample`, one channel at a time, and weighs and adds the samples afterwards. The
kernel beside this file (deformable.c) walks once over queries, heads, levels and points and reads all channels of a
sample together. It is compiled when first asked for, into the user's cache. It has no gradients: where they are wanted, on
other devices, in other number types and in traces the library's own sampling runs.
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
from typing import Any

import torch
from torch import Tensor, nn

SOURCE = Path(__file__).with_name("deformable.c")
LIBRARY_NAME = "MultiScaleDeformableAttention"  # of transformers' class, in each of its models
LEAST_ROWS = 2000  # a second thread is not worth its start below this many queries


class FastSampling(nn.Module):
    """Stands where the library's sampling stood, with the same call; it has no weights, so no name changes."""

    def __init__(self, portable: nn.Module, kernel: Callable[..., None]):
        super().__init__()
        self.portable = portable
        self._kernel = kernel

    def forward(
        self,
        value: Tensor,
        spatial_shapes: Tensor,
        spatial_shapes_list: list[tuple[int, int]],
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        """value (batch, cells, heads, width); sampling_locations (batch, queries, heads, levels, points, 2), x and y in
        [0, 1]; attention_weights (batch, queries, heads, levels, points) -> (batch, queries, heads * width)."""
        if _fits(value, sampling_locations, attention_weights):
            return _sample(self._kernel, value, spatial_shapes_list, sampling_locations, attention_weights)
        return self.portable(
            value,
            spatial_shapes,
            spatial_shapes_list,
            level_start_index,
            sampling_locations,
            attention_weights,
            im2col_step,
        )

    def __deepcopy__(self, memo: Any) -> "FastSampling":
        return FastSampling(self.portable, self._kernel)  # nothing in it is of one model

    def __reduce__(self) -> Any:
        return _portable_again, (self.portable,)  # a kernel cannot be sent to another process


def use_fast_sampling(detector: nn.Module) -> bool:
    """Lets every deformable attention of a GroundingDINO sample by the kernel, in place; weights and names stay.

    Returns whether it does: False, and nothing is changed, where no kernel can be compiled. Twice is once.
    """
    kernel = _compiled()
    if kernel is None:
        return False
    for parent in list(detector.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == LIBRARY_NAME and not isinstance(parent, FastSampling):
                setattr(parent, name, FastSampling(child, kernel))
    return True


def use_library_sampling(detector: nn.Module) -> None:
    """Undoes `use_fast_sampling`."""
    for parent in list(detector.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FastSampling):
                setattr(parent, name, child.portable)


def _fits(*given: Tensor) -> bool:
    """Whether the kernel can take these: floats on the CPU, without gradients, and no trace of tensors that hold nothing."""
    gradients = torch.is_grad_enabled() and any(v.requires_grad for v in given)
    plain = all(v.device.type == "cpu" and v.dtype == torch.float32 for v in given)
    return plain and not gradients and not torch.jit.is_tracing() and not torch.compiler.is_compiling()


def _sample(
    kernel: Callable[..., None],
    value: Tensor,
    shapes: list[tuple[int, int]],
    locations: Tensor,
    weights: Tensor,
) -> Tensor:
    value, locations, weights = (v.detach().contiguous() for v in (value, locations, weights))
    batch, cells, heads, width = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    sides = torch.tensor(shapes, dtype=torch.int64)
    if int(sides.prod(1).sum()) != cells:
        raise ValueError(f"levels of {shapes} cells were given, and {cells} cells")
    out = value.new_empty(batch, queries, heads * width)
    pointers = [v.data_ptr() for v in (value, sides, locations, weights, out)]
    sizes = (queries, cells, heads, width, len(shapes), points)
    rows = batch * queries
    threads = min(torch.get_num_threads(), max(1, rows // LEAST_ROWS))
    cuts = [rows * part // threads for part in range(threads + 1)]
    if threads == 1:
        kernel(*pointers, 0, rows, *sizes)
    else:  # the lock of Python is given back during a call
        with ThreadPoolExecutor(threads) as pool:
            list(
                pool.map(lambda span: kernel(*pointers, *span, *sizes), zip(cuts[:-1], cuts[1:], strict=True))
            )
    return out


def _portable_again(portable: nn.Module) -> nn.Module:
    return portable


@cache
def _compiled() -> Callable[..., None] | None:
    """The kernel, compiled now or taken from the cache; None where there is no compiler or it fails."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    source = SOURCE.read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piza"
    file = home / f"deformable-{hashlib.sha256(source).hexdigest()[:16]}.so"
    try:
        if not file.exists():
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home) as room:
                part = Path(room) / file.name
                command = [compiler, "-O3", "-fno-math-errno", "-fno-trapping-math"]
                command += ["-shared", "-fPIC", str(SOURCE), "-o", str(part), "-lm"]
                subprocess.run(command, check=True, capture_output=True, timeout=120)
                part.replace(file)
        kernel = ctypes.CDLL(str(file)).piza_sample
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None
    kernel.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 8
    kernel.restype = None
    return kernel
