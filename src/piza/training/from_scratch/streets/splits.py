"""Which street photos are trained on, chosen on and tested on: by photo, and never a near-duplicate on both sides.

    python -m piza.training.from_scratch.streets.splits --streets DIR --signs DIR --out splits.json

{"train": ["source/name", ...], "val": ..., "test": ..., "left_out": ...}. A photo's part follows from a hash of its key; one
sequence of camvid is for choosing; of the photos of signs, those that `mini` has always held out are split in two. Photos of
the training part that look like one of another part (difference hash) are left out.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.data.sorec import read_rows
from piza.training.from_scratch.streets.teacher_boxes import photo_keys

HELD_OUT_SIGNS = 100
SIMILAR = 24  # of 256 bits that differ at most


def part_of(key: str, held_signs: set[str]) -> str:
    """The part of a photo "source/name"."""
    source, name = key.split("/", 1)
    bucket = int(hashlib.sha1(key.encode()).hexdigest(), 16) % 10
    if source == "signs":
        return "train" if name not in held_signs else "test" if bucket < 5 else "val"
    if source == "camvid":
        return "val" if "0006R0" in name else "train"
    if source == "unsplash":
        return "test" if bucket < 3 else "val" if bucket == 3 else "train"
    return {0: "test", 1: "val"}.get(bucket, "train")


def difference_hash(path: Path) -> NDArray[np.bool_]:
    """(256,) whether each of 16 x 16 cells of a gray thumbnail is darker than its right neighbor."""
    with Image.open(path) as image:
        gray = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.BILINEAR)).astype(int)
    return (gray[:, 1:] > gray[:, :-1]).ravel()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("streets", "signs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    names = sorted({row.image for row in read_rows(args.signs / "train.json")})
    order = np.random.default_rng(0).permutation(len(names))
    held = {names[i] for i in order[:HELD_OUT_SIGNS]}
    photos = dict(photo_keys(args.streets, args.signs))
    parts = {key: part_of(key, held) for key in photos}
    hashes = {key: difference_hash(path) for key, path in photos.items()}
    others = np.array([hashes[key] for key, part in parts.items() if part != "train"])
    for key, part in parts.items():
        near = part == "train" and not key.startswith("camvid/")
        if near and int((others != hashes[key]).sum(1).min()) <= SIMILAR:
            parts[key] = "left_out"
    split = {
        part: [key for key in parts if parts[key] == part] for part in ("train", "val", "test", "left_out")
    }
    args.out.write_text(json.dumps(split, indent=0) + "\n")
    print({part: len(keys) for part, keys in split.items()})


if __name__ == "__main__":
    main()
