"""How long one look takes in torch, ONNX Runtime and OpenVINO: the picture, the grounding, and the text before them.

    python benchmarks/runtimes.py [--model mini] [--runs 10] [--int8] [--runtimes onnx openvino]

One process, one thread, process CPU time (so that a busy machine does not blur it), the ways in turn within each run; prints
medians at the model's sizes of a first look (a frame of 4:3) and of a later one. Nothing here is asserted anywhere.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import piza
from piza.runtimes import load_exported
from piza.runtimes.export import export_model
from piza.search.zoom_path import frame_window, input_size

SENTENCE = "the round sign with a red border and the number 70"


def look(model: Any, window: np.ndarray, first: bool) -> dict[str, float]:
    """CPU milliseconds of the parts of one look; a later one encodes its window and grounds the sentence in one part."""
    times = [time.process_time()]
    texts = model.encode_text([SENTENCE])
    times.append(time.process_time())
    frame = model.encode_frame(window) if first else None
    times.append(time.process_time())
    if first:
        model.first_look(texts, frame, 0.0)
    else:
        model.refine(texts, [window], [0.5])
    times.append(time.process_time())
    parts = dict(zip(("text", "frame", "look"), 1000 * np.diff(times)))
    return {**parts, "all": sum(parts.values())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--int8", action="store_true", help="weights of eight bits as well")
    parser.add_argument("--runtimes", nargs="*", default=["onnx", "openvino"])
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    ways: dict[str, Any] = {"torch": piza.load(args.model)}
    config = ways["torch"].config
    with tempfile.TemporaryDirectory() as room:
        for kind in ("float32", "int8") if args.int8 else ("float32",):
            export_model(ways["torch"], Path(room) / kind, int8=kind == "int8")
            for runtime in args.runtimes:
                started = time.process_time()
                name = runtime if kind == "float32" else f"{runtime} {kind}"
                ways[name] = load_exported(Path(room) / kind, runtime, threads=1)
                print(f"{name}: loaded in {time.process_time() - started:.1f} s CPU", flush=True)
        for first, frame in ((True, (1600, 1200)), (False, (1000, 1000))):
            size = input_size(frame_window(frame), first, config.first_pixels, config.later_pixels)
            rng = np.random.default_rng(0)
            window = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
            with torch.inference_mode():
                for run in range(args.runs + 2):
                    for name, model in ways.items():
                        times = look(model, window, first)
                        if run > 1:  # the first ones warm up
                            found[name].append(times)
            print(
                f"{'first' if first else 'later'} look, {size[0]} x {size[1]}: ms CPU, median of {args.runs}"
            )
            whole = statistics.median(times["all"] for times in found["torch"])
            for name, runs in found.items():
                middle = {part: statistics.median(times[part] for times in runs) for part in runs[0]}
                parts = "  ".join(f"{part} {value:7.1f}" for part, value in middle.items())
                print(f"  {name:<14}{parts}   {whole / middle['all']:.2f} x", flush=True)


if __name__ == "__main__":
    main()
