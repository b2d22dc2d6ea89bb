"""How long the sampling of deformable attention takes on the CPU: the library's, the kernel's, and a gather.

    python benchmarks/sampling.py [--runs 5] [--whole] [--only training]

One process, one thread, process CPU time (so that a busy machine does not blur it), the ways in turn within each run;
prints medians and ratios to the library's. Sizes are those of one encoder layer and one decoder layer of the full-size
architecture at 800 x 1066 pixels, and of `mini` at 672 x 512. The library's and the kernel's are measured in training as
well: forward and backward together, with the gradients of value, places and weights, in the batches `mini` is trained
with (three frames; twelve small windows). --only takes the cases whose names hold a word. With --whole, a full-size
model with random weights takes a look at 800 x 1066 pixels with each of two ways as well. No time is asserted anywhere.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import MultiScaleDeformableAttention

from piza.model.accelerate.deformable import DEFORMABLE_SAMPLING, FastMMSampling, can_sample

Shapes = list[tuple[int, int]]
Sizes = tuple[int, Shapes, int | None, int, int, int]
FULL: Shapes = [(100, 134), (50, 67), (25, 34), (13, 17)]
MINI: Shapes = [(64, 84), (32, 42), (16, 21)]
CASES: dict[str, Sizes] = {  # batch, levels, queries (None: every cell), heads, width of a head, points
    "full size, encoder layer": (1, FULL, None, 8, 32, 4),
    "full size, decoder layer": (1, FULL, 900, 8, 32, 4),
    "mini, encoder layer": (1, MINI, None, 4, 24, 2),
    "mini, decoder layer": (1, MINI, 60, 4, 24, 2),
}
SMALL: Shapes = [(28, 28), (14, 14), (7, 7)]
TRAINING: dict[str, Sizes] = {
    "training, encoder layer, frames": (3, MINI, None, 4, 24, 2),
    "training, decoder layer, frames": (3, MINI, 960, 4, 24, 2),
    "training, encoder layer, windows": (12, SMALL, None, 4, 24, 2),
    "training, decoder layer, windows": (12, SMALL, 60, 4, 24, 2),
    "training, full size, encoder layer": (1, FULL, None, 8, 32, 4),
}


def gather(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same sum as one weighted `embedding_bag` over the four neighbors of every sample."""
    batch, cells, heads, width = value.shape
    sides = torch.tensor(shapes)
    starts = (sides.prod(1).cumsum(0) - sides.prod(1))[:, None]
    rows, columns = sides[:, 0, None], sides[:, 1, None]
    place = locations * torch.stack([columns, rows], -1) - 0.5
    low = place.floor()
    part = place - low
    x, y = low.long().unbind(-1)
    head = torch.arange(heads)[:, None, None]
    sample = torch.arange(batch)[:, None, None, None, None] * cells
    indices, shares = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            inside = (x + dx >= 0) & (x + dx < columns) & (y + dy >= 0) & (y + dy < rows)
            share = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
            cell = (
                starts
                + (y + dy).clamp(min=0).minimum(rows - 1) * columns
                + (x + dx).clamp(min=0).minimum(columns - 1)
            )
            indices.append((sample + cell) * heads + head)
            shares.append(share * weights * inside)
    bags = torch.stack(indices, -1).flatten(0, 2).flatten(1)
    found = torch.nn.functional.embedding_bag(
        bags,
        value.reshape(-1, width),
        mode="sum",
        per_sample_weights=torch.stack(shares, -1).flatten(0, 2).flatten(1),
    )
    return found.view(batch, -1, heads * width)


def inputs(
    batch: int, shapes: Shapes, queries: int | None, heads: int, width: int, points: int
) -> tuple[Tensor, Shapes, Tensor, Tensor]:
    torch.manual_seed(0)
    cells = sum(h * w for h, w in shapes)
    count = queries or cells
    value = torch.randn(batch, cells, heads, width)
    # Samples lie around the query's own place, as they do in a model; a few of them outside.
    if queries is None:
        places = torch.cat(
            [
                torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(-1)
                for h, w in shapes
            ]
        )
    else:
        places = torch.rand(count, 2)
    offsets = 0.05 * torch.randn(batch, count, heads, len(shapes), points, 2)
    weights = torch.randn(batch, count, heads, len(shapes) * points).softmax(-1)
    weights = weights.view(batch, count, heads, -1, points)
    return value, shapes, places[None, :, None, None, None] + offsets, weights


def compare(title: str, ways: Mapping[str, Callable[[], object]], runs: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if run:  # the first one warms up
                times[name].append(1000 * (time.process_time() - started))
    first = statistics.median(next(iter(times.values())))
    print(title)
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"  {name:<12}{middle:9.2f} ms CPU   {first / middle:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--only", default="", metavar="WORD")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not can_sample():
        raise SystemExit("there is no C compiler here, so there is no kernel to measure")
    fast, library = FastMMSampling(), MultiScaleDeformableAttention()
    with torch.inference_mode():
        for case, sizes in CASES.items():
            if args.only not in case:
                continue
            value, shapes, places, weights = inputs(*sizes)
            given = (value, torch.tensor(shapes), shapes, torch.tensor([0]), places, weights, 64)
            want = library(*given)
            for found in (fast(*given), gather(value, shapes, places, weights)):
                torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-4)
            ways = {
                "library": lambda given=given: library(*given),
                "gather": lambda v=value, s=shapes, p=places, w=weights: gather(v, s, p, w),
                "kernel": lambda given=given: fast(*given),
            }
            compare(f"{case}: {places.shape[1]} queries", ways, args.runs)
        if args.whole:
            whole_look(args.runs)
    for case, sizes in TRAINING.items():
        if args.only in case:
            compare_training(case, library, fast, inputs(*sizes), args.runs)


def compare_training(
    case: str,
    library: torch.nn.Module,
    fast: torch.nn.Module,
    given: tuple[Tensor, Shapes, Tensor, Tensor],
    runs: int,
) -> None:
    value, shapes, places, weights = given
    leaves = [value.requires_grad_(), places.requires_grad_(), weights.requires_grad_()]
    wanted = torch.randn(len(value), places.shape[1], value.shape[2] * value.shape[3])

    def train(way: torch.nn.Module) -> tuple[Tensor, ...]:
        out = way(value, torch.tensor(shapes), shapes, torch.tensor([0]), places, weights, 64)
        return torch.autograd.grad(out, leaves, wanted)

    for ours, theirs in zip(train(fast), train(library), strict=True):
        # By norm: where a place meets a cell's center the sum has a kink, and rounding decides which side is taken.
        assert (ours - theirs).norm() < 1e-2 * theirs.norm()
    ways = {"library": lambda: train(library), "kernel": lambda: train(fast)}
    compare(f"{case}: {len(value)} x {places.shape[1]} queries, forward and backward", ways, runs)


def whole_look(runs: int) -> None:
    from count_parameters import full_size

    from piza.model import grounder

    detector = full_size().eval()
    pixels = torch.randn(1, 3, 800, 1066)
    ids = torch.tensor([[101, *range(2000, 2024), 1012, 102]])

    def look() -> None:
        text = grounder.encode_text(detector, ids, torch.ones_like(ids))
        grounder.ground(detector, text, grounder.encode_image(detector, pixels))

    def library() -> None:
        DEFORMABLE_SAMPLING.undo(detector)
        look()

    def kernel() -> None:
        DEFORMABLE_SAMPLING.apply(detector)
        look()

    compare("a full-size look, 800 x 1066 pixels", {"library": library, "kernel": kernel}, runs)


if __name__ == "__main__":
    main()
