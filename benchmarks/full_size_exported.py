"""The exported sides of case d (full_size.py). Nothing here imports torch but the process that exports, started by `export`:

    python benchmarks/full_size_exported.py MODEL FOLDER

The exports are those of `piza export`, of random weights.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import material
import numpy as np
from parts import MicroBatches

INPUT, SMALLER = (1088, 800), (512, 384)  # the sides of what piza shows a model are multiples of 32
WIDTH, HEIGHT = 2560, 1920
WINDOWS = [
    np.array([WIDTH * (1 - s) / 2, HEIGHT * (1 - s) / 2, WIDTH * (1 + s) / 2, HEIGHT * (1 + s) / 2])
    for s in (1.0, 0.5, 0.25)
]
SENTENCE = "the red car " * 8  # 24 words, as the sentences of SOREC have
ENGINES = ("onnx", "openvino")


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    """Sides: an engine and the folder of the export, "onnx FOLDER"; later looks are smaller."""
    from piza import image as picture
    from piza.runtimes import load_exported

    engine, _, export = side.partition(" ")
    file, _ = material.street(folder / "material", WIDTH, HEIGHT)
    loaded = load_exported(export, engine)
    parts.watch(picture, "open_image", "decode")
    parts.watch(picture, "cut", "resize")
    for name, part in (("encode_text", "text"), ("encode_images", "picture"), ("refine", "refine")):
        parts.watch(loaded, name, part)

    def run() -> Any:
        frame = picture.open_image(file)
        texts = loaded.encode_text([SENTENCE])
        found: Any = None
        for number, window in enumerate(WINDOWS):
            image = picture.cut(frame, window, SMALLER if number else INPUT)
            (found,) = loaded.refine(texts, [image], [0.0])
        return found.boxes[0].tolist()

    return run


def export(model: str, folder: Path) -> None:
    """Writes the export (700 MB), in a process of its own; `model` lends its tokenizer."""
    subprocess.run([sys.executable, __file__, model, str(folder)], check=True)


def _export(model: str, folder: Path) -> None:
    from full_size import random_weights

    import piza
    from piza.model import accelerate
    from piza.model.io import PLAIN
    from piza.model.piza import Piza
    from piza.runtimes.export import export_model

    detector = random_weights()
    accelerate.apply(detector)  # as piza.load does
    export_model(Piza(detector, piza.load(model).tokenizer, PLAIN).eval(), folder)


if __name__ == "__main__":
    _export(sys.argv[1], Path(sys.argv[2]))
