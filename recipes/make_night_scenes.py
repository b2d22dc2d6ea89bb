"""Streets at night, to show what training on one's own rows brings where images are unlike those a model knows.

    python recipes/make_night_scenes.py OUT
    piza train OUT/train/rows.json --images OUT/train/images --base mini --method full --out OUT/model \
        --steps 200 --batch 8 --sentences-per-image 20 --min-scale 1 --schedule cosine --workers 1
    piza evaluate OUT/val/rows.json --images OUT/val/images --model OUT/model

Synthetic streets, 80 to train on (640 rows) and 30 to evaluate on (240 rows), dark, blue and noisy.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from piza.data import scenes

PARTS = {"train": (80, 900), "val": (30, 901)}  # scenes, seed
TINT = np.array([0.8, 0.9, 1.15], np.float32)


def main(out: Path) -> None:
    """Write scenes to train on and to evaluate on, and darken them."""
    rng = np.random.default_rng(0)
    for part, (count, seed) in PARTS.items():
        scenes.write(out / part, count=count, seed=seed)
        darken(out / part / "images", rng)


def darken(images: Path, rng: np.random.Generator) -> None:
    """Make night of the photos in a folder."""
    for file in sorted(images.iterdir()):
        day = np.asarray(Image.open(file).convert("RGB")).astype(np.float32) / 255
        night = 0.45 * day**1.8 * TINT + rng.normal(0, 0.03, day.shape)
        Image.fromarray((255 * np.clip(night, 0, 1)).astype(np.uint8)).save(file, quality=90)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
