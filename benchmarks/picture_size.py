"""Cost against the size of the picture, 1 to 50 megapixels: zooming, a sliding window and a grid of tiles.

Zooming is measured from file to box, the model's own search on a few sentences about the same street drawn at each size.
The looks of the two grids are counted (piza.evaluation.tiles, windows of the model's own later input, a pixel of the picture a
pixel of the input), and their time is that count times the measured time of one look in a batch, with the decoding: half an
hour would not suffice to run them.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import material
from parts import MicroBatches
from sides import measure

SIZES = ((1155, 866), (1633, 1225), (2582, 1936), (4000, 3000), (5774, 4330), (8165, 6124))
SENTENCES = 3
TILES = 8  # in the batch whose look is timed
RUNS = 3


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    import numpy as np
    import torch

    import piza
    from piza.data.sorec import Row
    from piza.evaluation import baselines
    from piza.evaluation.tiles import tile_windows
    from piza.image import open_image

    loaded = piza.load(model)
    tile = loaded.config.later_pixels

    def one(size: tuple[int, int]) -> dict[str, Any]:
        file, sentences = material.street(folder / "material", *size)
        times, looks = [], []
        for sentence in sentences[:SENTENCES]:
            of_sentence = []
            for _ in range(RUNS):
                started = time.perf_counter()
                found = loaded.locate(file, sentence)
                of_sentence.append(1000 * (time.perf_counter() - started))
            times.append(statistics.median(of_sentence))
            looks.append(found.num_looks)
        started = time.perf_counter()
        open_image(file)
        decode = 1000 * (time.perf_counter() - started)
        counts = {
            "sliding": len(tile_windows(size, tile, baselines.SLIDING_OVERLAP)),
            "tiles": len(tile_windows(size, tile, baselines.TILES_OVERLAP)),
        }
        return {
            "megapixels": size[0] * size[1] / 1e6,
            "looks": {"zooming": float(np.mean(looks)), **counts},
            "ms": {"zooming": float(np.mean(times)), **{k: decode + n * each for k, n in counts.items()}},
        }

    street = open_image(material.street(folder / "material", *SIZES[0])[0])
    rows = [Row("", (0.0, 0.0, 1.0, 1.0), "the car", 0)]
    part = np.ascontiguousarray(street[: 2 * tile, : TILES // 2 * tile])
    with torch.inference_mode():
        baselines.tile_grid(loaded, part, rows, tile=tile, overlap=0.0)
        taken = [baselines.tile_grid(loaded, part, rows, tile=tile, overlap=0.0)[0] for _ in range(RUNS)]
    each = statistics.median(result.milliseconds / result.num_looks for result in taken)
    return lambda: [{**one(size), "tile": tile, "ms_of_a_tile": each} for size in SIZES]


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    found = measure("image_size", ["all"], folder, model, 1, warm=0)["all"].answer
    plot(found, folder / "sizes.png")
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    lines = [
        "| megapixels | looks: zooming | sliding | tiles | time: zooming | sliding | tiles |",
        "|---:|" + "---:|" * 6,
    ]
    for one in found:
        looks, ms = one["looks"], one["ms"]
        cells = [
            f"{one['megapixels']:.0f}",
            f"{looks['zooming']:.1f}",
            f"{looks['sliding']}",
            f"{looks['tiles']}",
        ]
        cells += [f"{ms['zooming']:.0f} ms", *(f"{ms[way] / 1000:.1f} s" for way in ("sliding", "tiles"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(found: list[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ways = {
        "zooming": ("zooming", "#c2410c"),
        "tiles": ("grid of tiles", "#1d4ed8"),
        "sliding": ("sliding window", "#64748b"),
    }
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    places = [one["megapixels"] for one in found]
    for axis, key, title in zip(axes, ("looks", "ms"), ("looks a sentence", "milliseconds a sentence")):
        for way, (name, color) in ways.items():
            dashed = "--" if key == "ms" and way != "zooming" else "-"
            values = [one[key][way] for one in found]
            axis.plot(places, values, dashed, color=color, marker="o", markersize=4)
            axis.annotate(f" {name}", (places[-1], values[-1]), color=color, va="center", fontsize=9)
        axis.set(xscale="log", yscale="log", xlabel="megapixels", title=title, xlim=(0.9, 190))
        axis.set_xticks([1, 2, 5, 12, 25, 50], ["1", "2", "5", "12", "25", "50"])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.savefig(file, dpi=150)
