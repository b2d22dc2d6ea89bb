"""What a graphics card does: `mini`'s answers and their time beside the CPU's, and training at full size.

    python benchmarks/card.py [--device cuda] [--steps 8] [--batch 4] [--pixels 0]

Full size is the architecture of the published checkpoint (172 M parameters) with random weights: time and memory are what is
measured, no accuracy. Prints a line for each. --pixels: root of the area of frames; 0: as in training by default.
"""

import argparse
import csv
import shutil
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from count_parameters import full_size

import piza
from piza.cli.main import main as command
from piza.data.sorec import read_rows
from piza.hub import find_model

TRAININGS = [  # method, precision
    ("adapter_plus", "fp32"),
    ("adapter_plus", "bf16"),
    ("lora", "bf16"),
    ("full", "fp32"),
    ("full", "bf16"),
]


def sentences(folder: Path, device: str) -> None:
    """The answers of `mini` on a device and on the CPU."""
    rows = read_rows(folder / "rows.json")[:24]
    models = {name: piza.load("mini", device=name) for name in dict.fromkeys((device, "cpu"))}
    found: dict[str, list[Any]] = {}
    for name, model in models.items():
        times = []
        for row in rows:
            start = time.perf_counter()
            result = model.locate(folder / "images" / row.image, row.expression)
            times.append(time.perf_counter() - start)
            found.setdefault(name, []).append(result.box_xyxy)
        print(f"mini on {name}: {1000 * median(times[4:]):.0f} ms a sentence, file to box", flush=True)
    one, other = (np.array(found[name], float) for name in (device, "cpu"))
    away = np.abs(one - other).max(1)
    print(f"boxes: {int((away < 1).sum())} of {len(rows)} within a pixel of the CPU's", flush=True)


def training(folder: Path, base: Path, device: str, steps: int, batch: int, pixels: int) -> None:
    """Seconds a step and peak memory of each training."""
    more = ["--first-pixels", str(pixels), "--later-pixels", str(pixels)] if pixels else []
    for method, precision in TRAININGS:
        out = folder / f"{method}_{precision}"
        if device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        code = command(
            [
                *("train", str(folder / "rows.json"), "--images", str(folder / "images")),
                *("--base", str(base), "--out", str(out), "--method", method, "--precision", precision),
                *("--steps", str(steps), "--batch", str(batch), "--device", device, "--log-every", "1"),
                *("--history-steps", "20", *more),
            ]
        )
        if code:
            print(f"{method} {precision}: exit code {code}", flush=True)
            continue
        with open(out / "training/log.csv") as lines:
            log = list(csv.DictReader(lines))
        # The pace is a mean over all steps so far; the first ones load kernels.
        half = len(log) // 2
        first, last = (float(log[at]["s_per_step"]) * (at + 1) for at in (half, -1 + len(log)))
        pace = (last - first) / (len(log) - 1 - half)
        peak = torch.cuda.max_memory_allocated() / 2**30 if device != "cpu" else float("nan")
        print(f"{method} {precision}: {pace:.2f} s a step of {batch} windows, {peak:.1f} GiB", flush=True)
        shutil.rmtree(out)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--pixels", type=int, default=0)
    args = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        command(["data", "scenes", str(folder / "streets"), "--count", "6", "--seed", "2027"])
        sentences(folder / "streets", args.device)
        torch.manual_seed(0)
        base = folder / "base"
        full_size().save_pretrained(base)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(Path(find_model("mini")) / name, base / name)
        training(folder / "streets", base, args.device, args.steps, args.batch, args.pixels)


if __name__ == "__main__":
    main()
