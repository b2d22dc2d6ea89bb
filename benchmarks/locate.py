"""How long `mini` takes for one sentence on a large JPEG, from file to box, and where the time goes.

    python benchmarks/locate.py [--model mini] [--runs 15]

Beside it, in the same run, the naive search: every step opens the file, crops, and runs the library's whole forward.
Prints medians, the ratio, and the process's peak memory. Nothing here is asserted anywhere.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import piza
from piza.boxes import cxcywh_to_xyxy
from piza.data import scenes
from piza.path import frame_window, input_size, next_window
from piza.picture import cut, open_picture


def naive(model: "piza.Piza", file: Path, sentence: str, steps: int) -> np.ndarray:
    """The same looks with nothing kept between them."""
    box = window = None
    for step in range(steps):
        with Image.open(file) as opened:
            picture = np.asarray(opened.convert("RGB"))
        size = (picture.shape[1], picture.shape[0])
        window = frame_window(size) if step == 0 else next_window(box, window, size, model.config.path)
        pixels = model.pixels(
            [
                cut(
                    picture,
                    window,
                    input_size(window, step == 0, model.config.first_pixels, model.config.later_pixels),
                )
            ]
        )
        ids, mask, pooling = model.prompter([[sentence]])
        with torch.inference_mode(), model.zoom_context.use(model.zoom(torch.tensor([0.5 * step]))):
            out = model.detector(pixel_values=pixels, input_ids=ids, attention_mask=mask)
        score = out.logits[0, :, : ids.shape[1]].nan_to_num(neginf=0) @ pooling[0]
        best = cxcywh_to_xyxy(out.pred_boxes[0, int(score.argmax())].double().numpy())
        box = np.tile(window[:2], 2) + best * np.tile(window[2:] - window[:2], 2)
    return box


def median_ms(call, runs: int) -> float:
    call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    scene = scenes.render(7, (2560, 1920))
    sentence = scene.rows[0].ref
    model = piza.load(args.model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.jpg"
        Image.fromarray(scene.image).save(file, quality=92)
        picture = open_picture(file)
        result = model.locate(file, sentence, greedy=True)  # the looks that both take
        ours = median_ms(lambda: model.locate(file, sentence, greedy=True), args.runs)
        theirs = median_ms(lambda: naive(model, file, sentence, len(result.path)), args.runs)
        frame = frame_window(result.frame_size)
        size = input_size(frame, True, model.config.first_pixels, model.config.later_pixels)
        parts = {
            "open the JPEG": median_ms(lambda: open_picture(file), args.runs),
            "shrink the frame": median_ms(lambda: cut(picture, frame, size), args.runs),
            "look at an open picture": median_ms(
                lambda: model.locate(picture, sentence, greedy=True), args.runs
            ),
        }
        default = model.locate(file, sentence)
        searching = median_ms(lambda: model.locate(file, sentence), args.runs)
    print(
        f"2560x1920 JPEG, {torch.get_num_threads()} threads, {len(result.path)} looks, median of {args.runs} runs"
    )
    print(f"piza   {ours:7.1f} ms a sentence, file to box")
    print(f"naive  {theirs:7.1f} ms   ratio {theirs / ours:.2f}")
    for name, value in parts.items():
        print(f"  {name:<24}{value:7.1f} ms")
    print(f"the model's own search: {searching:.1f} ms, {default.looks} looks")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
