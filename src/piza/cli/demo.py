"""What `make demo` shows: tiny objects found by sentences in large images, with the embedded model.

python -m piza.cli.demo --out demo

The images are street scenes drawn on the spot; their seeds and sentences were fixed before any model saw them, and no
scene of these seeds is in the training data. What the model gets wrong is shown like the rest.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from piza.cli.common import describe, guard
from piza.data.scenes import examples
from piza.errors import InputError

RIGHT = 0.5
"""A box is right if its IoU with the true box is at least this."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code, as `piza.cli.main.main` does."""
    return guard(lambda: _run(_parse(arguments)))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m piza.cli.demo", description="Find tiny objects in drawn streets."
    )
    parser.add_argument(
        "--out", metavar="DIR", default="demo", help="where images and drawings go (default: demo)"
    )
    parser.add_argument("--model", metavar="NAME", default="mini", help="mini, a model folder or a hub name")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    import piza
    from piza.boxes import iou_xyxy
    from piza.evaluation.metrics import ROUNDING

    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"cannot write to {options.out!r}: expected a folder, got a file")
    out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    model: Any = piza.load(options.model)
    print(f"model {options.model}, loaded in {time.perf_counter() - begin:.1f} s\n")

    right, times = 0, []
    for number, (seed, size) in enumerate(examples.SCENES, start=1):
        photo = out / f"street-{number}.jpg"
        rows = examples.draw_scene(seed, size, photo)
        print(f"{photo}, {size[0]} x {size[1]} pixels")
        for place, (row, result) in enumerate(
            zip(rows, model.locate(photo, [row.ref for row in rows]), strict=True), start=1
        ):
            drawing = photo.with_name(f"{photo.stem}-search-{place}.png")
            result.save_drawing(drawing)
            iou = float(iou_xyxy(result.box_xyxy, row.box_xyxy))
            right += iou >= RIGHT - ROUNDING
            times.append(result.milliseconds)
            print(describe(result))
            print(
                f"  truth  {'right' if iou >= RIGHT - ROUNDING else 'WRONG'}, IoU {iou:.2f} with the true box"
            )
            print(f"  drawn  {drawing}\n")
    print(
        f"{right} of {len(times)} right (IoU of at least {RIGHT} with the true box), "
        f"{sum(times) / len(times):.0f} ms a sentence; the drawings are in {out}"
    )


if __name__ == "__main__":
    sys.exit(main())
