"""The last part of the region encoder is taught where things end, and nothing else changes."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import piza
from piza.training.from_scratch.regions import tighten

MINI = Path(piza.__file__).parent / "weights/mini"


@pytest.fixture
def place(tmp_path):
    """Two photos of bright boards on gray ground, with names, labels, and the network of mini."""
    rng = np.random.default_rng(0)
    (tmp_path / "streets/dawn/images").mkdir(parents=True)
    lines = []
    for name in "ab":
        image = np.full((240, 320, 3), 100, np.uint8)
        regions = []
        for x in range(20, 280, 60):
            y, width, height = (int(v) for v in rng.integers((40, 20, 20), (180, 40, 40)))
            image[y : y + height, x : x + width] = rng.integers(160, 250, 3)
            regions.append([x, y, x + width, y + height, "board"])
        cv2.imwrite(str(tmp_path / f"streets/dawn/images/{name}.png"), image)
        # What is no thing and what is not tight is not taught.
        regions += [[0, 0, 50, 30, "-"], [10.5, 10.5, 60, 30, "ground"]]
        lines.append(json.dumps({"key": f"dawn/{name}.png", "size": [320, 240], "regions": regions}))
    (tmp_path / "named.jsonl").write_text("\n".join(lines))
    (tmp_path / "rows.json").write_text(json.dumps({"photos": [], "rows": []}))
    weights = load_file(MINI / "model.safetensors")
    part = "proposals."
    save_file(
        {n.removeprefix(part): t.contiguous() for n, t in weights.items() if n.startswith(part)},
        tmp_path / "proposals.safetensors",
    )
    return tmp_path


def train(place, out, *more):
    files = {
        "proposals": "proposals.safetensors",
        "named": "named.jsonl",
        "rows": "rows.json",
        "pixels": "pixels.bin",
    }
    told = [part for name, file in files.items() for part in (f"--{name}", str(place / file))]
    told += [
        "--streets",
        str(place / "streets"),
        "--run",
        str(place / out),
        "--out",
        str(place / f"{out}.safetensors"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *told, "--steps", "8", *more])
        tighten.main()
    return load_file(place / f"{out}.safetensors")


def test_nothing_but_what_moves_boxes_changes(place):
    after = train(place, "run", "--lr", "3e-3")
    before = load_file(place / "proposals.safetensors")
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and all(name.startswith(tighten.PART) for name in changed)


def test_a_training_that_is_stopped_goes_on_to_the_same_weights(place):
    whole = train(place, "whole")
    train(place, "parts", "--stop-after", "5")
    parts = train(place, "parts")
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
