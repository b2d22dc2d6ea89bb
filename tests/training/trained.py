"""What tests of whole trainings share: a base, rows and photos, settings, an interruption, the weights of a result."""

import json
import os
import signal

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from tests.conftest import tiny_detector

from piza.config import TrainConfig, check

SMALL = dict(
    steps=2, batch=3, crops_per_image=3, first_pixels=128, later_pixels=128, min_scale=1.0, history_steps=3, workers=1, device="cpu", log_every=1
)  # fmt: skip


def make_place(place, tiny_tokenizer):
    """`base`, a random GroundingDINO as transformers writes it; `rows.json` about five pictures in `photos`."""
    tiny_detector().save_pretrained(place / "base")
    tiny_tokenizer.save_pretrained(place / "base")
    rng = np.random.default_rng(0)
    (place / "photos").mkdir()
    rows = []
    for number, size in enumerate([(320, 240), (320, 240), (400, 240), (240, 320), (320, 240)]):
        picture = rng.integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
        for color, word in ((0, "red"), (2, "blue")):
            x, y = (int(v) for v in rng.integers(10, 200, 2))
            picture[y : y + 14, x : x + 18] = np.eye(3)[color] * 255
            rows.append(
                {"image": f"{number}.jpg", "bbox": [x, y, 18, 14], "ref": f"The {word} car.", "id": len(rows)}
            )
        Image.fromarray(picture).save(place / "photos" / f"{number}.jpg", quality=95)
    (place / "rows.json").write_text(json.dumps(rows))
    return place


def settings(place, out, **changes):
    config = dict(rows=place / "rows.json", images=place / "photos", base=place / "base", out=out)
    return check(TrainConfig, {**{k: str(v) for k, v in config.items()}, **SMALL, **changes})


def weights(folder):
    name = "adapter.safetensors" if (folder / "adapter.json").exists() else "model.safetensors"
    return load_file(folder / name)


class StopsAt:
    """A progress bar that presses Ctrl-C."""

    def __init__(self, step):
        self.left = step

    def update(self, n):
        self.left -= n
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def set_postfix_str(self, s):
        pass

    def close(self):
        pass
