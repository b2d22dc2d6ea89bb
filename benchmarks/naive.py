"""The search as it is written first: nothing is kept between looks, and the library does each of them whole.

Every step opens the file, cuts and resizes with Pillow, and runs the library's `forward`, text and all; one sentence at
a time; whether to stop is asked when the backbone of the next look has run, as in the published code. It looks at the
windows that a plan names (`plan`), so that both sides take the same looks.

    python benchmarks/naive.py PHOTO SENTENCE    # with `mini`, following its own boxes: what a cold start is compared with
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from piza.boxes import cxcywh_to_xyxy, xyxy_to_xywh
from piza.methods.context import zoom_embedding
from piza.search.zoom_path import frame_window, input_size, next_window

SIDES = ("plan", "naive", "published")
Plan = dict[str, Any]
"""Of one sentence: windows, sizes, progress of its looks, the box they led to, stopped, and the windows' frame."""


def load_stock(name: str) -> Any:
    """A model as it is read, with none of what `piza.load` does for speed."""
    from piza.hub import find_model
    from piza.model.load import load_plain

    return load_plain(find_model(name))


def plan(model: Any, file: Path, sentence: str) -> Plan:
    """A greedy search with nothing shared and no short cuts: the looks that all sides take, and the boxes to agree with."""
    import piza.search.predictor

    with Image.open(file) as opened:
        picture = np.array(opened.convert("RGB"))
    before = piza.search.predictor.cut
    piza.search.predictor.cut = _whole_cut  # the short cuts of shrinking are what is to be compared
    try:
        result = model.locate(picture, sentence, greedy=True)
    finally:
        piza.search.predictor.cut = before
    return {
        "sentence": sentence,
        "windows": [step.window_xyxy for step in result.path],
        "sizes": [step.input_size for step in result.path],
        "progress": [step.progress for step in result.path],
        "box": result.box_xyxy,
        "stopped": result.stopped,
        "frame": result.frame_size,
    }


def at_one_size(given: Plan, config: Any) -> Plan:
    """The same looks, all of them with an input as large as the first one's, as the published code takes them."""
    sizes = [
        input_size(np.array(window), True, config.first_pixels, config.later_pixels)
        for window in given["windows"]
    ]
    return {**given, "sizes": sizes, "one_size": True}


def side(name: str, model: str, file: Path, asked: Sequence[tuple[Path, str]], parts: Any) -> Any:
    """A run of one of SIDES: boxes of all that is asked. "plan" takes the looks and writes them to a file, "naive" takes
    them again, "published" with one input size."""
    loaded = load_stock(model)
    if name == "plan":
        plans = [plan(loaded, picture, sentence) for picture, sentence in asked]
        file.write_text(json.dumps(plans))
        return lambda: [given["box"] for given in plans]
    plans = json.loads(file.read_text())
    if name == "published":
        plans = [at_one_size(given, loaded.config) for given in plans]
    watch(parts, loaded)
    return lambda: [
        search(loaded, picture, given).tolist() for (picture, _), given in zip(asked, plans, strict=True)
    ]


def _whole_cut(picture: NDArray, window: NDArray, size: tuple[int, int]) -> NDArray:
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, box=tuple(window)))


def search(model: Any, file: Path, given: Plan) -> NDArray:
    """The looks of a plan; returns the last look's best box, xyxy in frame pixels."""
    box = np.zeros(4)
    history = [frame_window(tuple(given["frame"]))]
    for window, size, progress in zip(given["windows"], given["sizes"], given["progress"], strict=True):
        window = np.array(window)
        pixels = see(model, file, window, size)
        ids, mask, pooling = model.prompter([[given["sentence"]]])
        with torch.inference_mode(), zoom_embedding(model.zoom(torch.tensor([progress]))):
            out = model.detector(pixel_values=pixels, input_ids=ids, attention_mask=mask)
        logits = out.logits[0, :, : ids.shape[1]].nan_to_num(neginf=0)
        mean = model.config.token_pooling == "mean"
        scores = (logits @ pooling[0]) if mean else logits.max(-1, keepdim=True)[0]
        best = cxcywh_to_xyxy(out.pred_boxes[0, int(scores[:, 0].argmax())].double().numpy())
        box = np.tile(window[:2], 2) + best * np.tile(window[2:] - window[:2], 2)
        history.append(box)
        model.read_history([xyxy_to_xywh(np.array(history))])
    if given["stopped"] == "stop":  # a backbone runs, and then the search hears that it is at its end
        window = next_window(box, np.array(given["windows"][-1]), tuple(given["frame"]), model.config.path)
        size = input_size(
            window, given.get("one_size", False), model.config.first_pixels, model.config.later_pixels
        )
        pixels = see(model, file, window, size)
        with torch.inference_mode():
            model.detector.model.backbone(pixels, torch.ones_like(pixels[:, 0], dtype=torch.long))
    return box


def see(model: Any, file: Path, window: NDArray, size: tuple[int, int]) -> torch.Tensor:
    return model.pixels([np.array(shrink(decode(file), window, size))])


def decode(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        return opened.convert("RGB")


def shrink(picture: Image.Image, window: NDArray, size: tuple[int, int]) -> Image.Image:
    return picture.resize(tuple(size), Image.Resampling.BILINEAR, box=tuple(window))


def watch(parts: Any, model: Any) -> None:
    from parts import watch_library

    this = sys.modules[__name__]
    parts.watch(this, "decode", "decode")
    parts.watch(this, "shrink", "resize")
    watch_library(parts, model)


def main() -> None:
    file, sentence = Path(sys.argv[1]), sys.argv[2]
    started = time.perf_counter()
    model = load_stock("mini")
    config: SimpleNamespace = model.config
    with Image.open(file) as opened:
        frame = opened.size
    window = frame_window(frame)
    box = np.zeros(4)
    for step in range(2):
        size = input_size(window, step == 0, config.first_pixels, config.later_pixels)
        look = {"windows": [window], "sizes": [size], "progress": [0.5 * step], "frame": frame}
        box = search(model, file, {**look, "sentence": sentence, "stopped": "stop" if step else ""})
        window = next_window(box, window, frame, config.path)
    print(box.tolist(), f"{time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
