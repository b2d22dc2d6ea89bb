"""Case d: three looks of the full-size architecture (172 M parameters, random weights) at windows of 1066 x 800 pixels.

Random weights say when to stop at random, so the looks are forced: the frame of a 2560x1920 JPEG, a quarter and a sixteenth
of its area around the center, each shrunk or enlarged to the same input. What is compared is the cost, and the boxes: those of
all queries in the last look. Rows more show later looks at 512 x 384, in torch and exported (full_size_exported.py).
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import full_size_exported as exported
import material
import numpy as np
import torch
from count_parameters import full_size
from full_size_exported import HEIGHT, SMALLER, WIDTH, WINDOWS
from parts import MicroBatches
from sides import measure
from table import agreement, row

INPUT = (1066, 800)
IDS = torch.tensor([[101, *range(2000, 2024), 1012, 102]])  # 24 words, as the sentences of SOREC have


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    """Sides: "naive", "piza", "smaller" (later looks are)."""
    file, _ = material.street(folder / "material", WIDTH, HEIGHT)
    detector = random_weights()
    run = (
        _naive(detector, file, parts) if side == "naive" else _piza(detector, file, parts, side == "smaller")
    )
    return torch.inference_mode()(run)


def random_weights() -> Any:
    torch.manual_seed(0)
    detector = full_size().eval()
    with torch.no_grad():  # so that no part is silent: fresh heads and fusion scales are near zero
        for parameter in detector.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return detector


def _pixels(cut: Any) -> torch.Tensor:
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    return ((torch.from_numpy(np.array(cut)).float() - mean) / std).permute(2, 0, 1)[None]


def _naive(detector: Any, file: Path, parts: MicroBatches) -> Any:
    import naive

    class Holder:
        pass

    holder: Any = Holder()
    holder.detector = detector
    naive.watch(parts, holder)

    def run() -> Any:
        out: Any = None
        for window in WINDOWS:
            pixels = _pixels(naive.shrink(naive.decode(file), window, INPUT))
            out = detector(pixel_values=pixels, input_ids=IDS, attention_mask=torch.ones_like(IDS))
        # The next look's backbone, after which the published code asks whether to stop.
        pixels = _pixels(naive.shrink(naive.decode(file), WINDOWS[-1], INPUT))
        detector.model.backbone(pixels, torch.ones_like(pixels[:, 0], dtype=torch.long))
        return out.pred_boxes[0].tolist()

    return run


def _piza(detector: Any, file: Path, parts: MicroBatches, smaller: bool) -> Any:
    from piza import image
    from piza.model import accelerate, grounder

    accelerate.apply(detector)  # as piza.load does
    for module, name, part in (
        (image, "open_image", "decode"),
        (image, "cut", "resize"),
        (grounder, "encode_text", "text"),
        (grounder, "encode_image", "picture"),
        (grounder, "ground", "ground"),
    ):
        parts.watch(module, name, part)

    def run() -> Any:
        frame = image.open_image(file)
        text = grounder.encode_text(detector, IDS, torch.ones_like(IDS))
        found: Any = None
        for number, window in enumerate(WINDOWS):
            pixels = _pixels(image.cut(frame, window, SMALLER if smaller and number else INPUT))
            found = grounder.ground(detector, text, grounder.encode_image(detector, pixels), answer_only=True)
        return found.boxes[-1, 0].tolist()

    return run


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    found = measure("full_size", ["naive", "piza", "smaller"], folder, model, 1, windows_per_batch=False)
    with TemporaryDirectory(dir=folder) as room:  # it takes 700 MB
        exported.export(model, Path(room) / "model")
        sides = [f"{engine} {room}/model" for engine in exported.ENGINES]
        engines = measure("full_size_exported", sides, folder, model, 1, windows_per_batch=False)
    scale = np.tile(WINDOWS[-1][2:] - WINDOWS[-1][:2], 2)
    boxes = [np.array(found[side].answer) * scale for side in ("piza", "naive")]
    same = agreement(_matched(*boxes), boxes[1])
    smaller = "the same, later looks at 512x384"
    return [
        row("d", "full size, random weights, three looks at 1066x800", found["naive"], found["piza"], same),
        row("d", smaller, found["naive"], found["smaller"]),
        *(
            row("d", f"{smaller}, `--runtime {side.partition(' ')[0]}`", found["naive"], engines[side])
            for side in sides
        ),
    ]


def _matched(boxes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each wanted box the nearest one: queries whose scores are equal but for rounding may change places."""
    far = np.abs(boxes[:, None] - wanted[None]).max(-1)
    return boxes[far.argmin(0)]


if __name__ == "__main__":
    raise SystemExit("python benchmarks/bench.py --out FOLDER --only d")
