"""Region encoder and matcher together: a training that is stopped goes on to the same weights, and mini can be made of them."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import piza
from piza.boxes import cxcywh_to_xyxy, iou_matrix_xyxy
from piza.image import cut
from piza.model.region_encoder import STATE
from piza.search.region_crops import Detail
from piza.search.zoom_path import frame_window, input_size
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.lists import cached
from piza.training.from_scratch.lists.train_matcher import STATES
from piza.training.from_scratch.proposals.train import read_words
from piza.training.from_scratch.regions import matcher_alone
from piza.training.from_scratch.regions import train as joint

MINI = Path(piza.__file__).parent / "weights/mini"
KEY = "dawn/a.png"


@pytest.fixture
def place(tmp_path):
    """A photo with two cars, sentences about them, names, the network's list, and the parts of mini."""
    image = np.full((160, 320, 3), 120, np.uint8)
    image[80:110, 40:100] = 30, 30, 220
    image[80:110, 200:260] = 220, 60, 30
    (tmp_path / "streets/dawn/images").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "streets" / "dawn/images/a.png"), image)
    boxes = {"red": [40, 80, 100, 110], "blue": [200, 80, 260, 110]}
    objects = [
        {
            "xyxy": box,
            "category": "car",
            "attributes": ["category=car", f"color={color}"],
            "known": ["category", "color"],
            "certain": True,
        }
        for color, box in boxes.items()
    ]
    rows = [
        {"key": KEY, "sentence": f"The {color} car.", "index": index, "relevance": ["??"] * 3}
        for index, color in enumerate(boxes)
    ]
    photo = {"key": KEY, "width": 320, "height": 160, "objects": objects}
    (tmp_path / "rows.json").write_text(json.dumps({"photos": [photo], "rows": rows}))
    regions = [[*box, f"{color} car"] for color, box in boxes.items()] * 5  # a word counts from five times on
    (tmp_path / "named.jsonl").write_text(json.dumps({"key": KEY, "size": [320, 160], "regions": regions}))
    np.savez(tmp_path / "words.npz", words=np.array(["car"]), vectors=np.ones((1, 128), np.float32))
    weights = load_file(MINI / "model.safetensors")
    for part in ("proposals", "matcher"):
        cut = "proposals." if part == "proposals" else ""
        save_file(
            {n.removeprefix(cut): t.contiguous() for n, t in weights.items() if n.startswith(f"{part}.")},
            tmp_path / f"{part}.safetensors",
        )
    call(
        cached,
        tmp_path,
        *("--proposals", "proposals.safetensors", "--rows", "rows.json", "--streets", "streets"),
        *("--views", "1", "--no-regions", "--out", "lists"),
    )
    return tmp_path


def call(module, place, *options):
    """Run a program; options that name something in the folder are files there."""
    told = [
        str(place / o) if "." in o or o in ("streets", "lists") or o.startswith("run") else o for o in options
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *told])
        module.main()


def train(place, out, *more):
    call(
        joint,
        place,
        *("--cache", "lists", "--rows", "rows.json", "--written", "rows.json", "--named", "named.jsonl"),
        *("--streets", "streets", "--pixels", "pixels.bin", "--model", str(MINI)),
        *("--proposals", "proposals.safetensors", "--encoder", "proposals.safetensors"),
        *("--matcher", "matcher.safetensors", "--vectors", "words.npz", "--share", "0", "--steps", "3"),
        *("--only-names", "1", "--out", out, *more),
    )
    return {
        name: load_file(place / out / f"{name}.safetensors")
        for name in ("proposals", "matcher")
        if (place / out / f"{name}.safetensors").exists()
    }


def test_a_training_that_is_stopped_goes_on_to_the_same_weights(place, capsys):
    whole = train(
        place, "run_whole", "--go-on", "--check", str(place / "rows.json"), "--check-cache", "lists"
    )
    assert "'rows': 2, 'listed':" in capsys.readouterr().out
    train(place, "run_parts", "--go-on", "--stop-after", "2")
    parts = train(place, "run_parts", "--go-on")
    assert whole.keys() == parts.keys() == {"proposals", "matcher"}
    for name, weights in whole.items():
        assert all(torch.equal(tensor, parts[name][key]) for key, tensor in weights.items())
    before = load_file(place / "proposals.safetensors")
    assert whole["proposals"].keys() == before.keys()
    changed = {key for key, tensor in whole["proposals"].items() if not torch.equal(tensor, before[key])}
    assert changed and all(key.startswith("regions.") for key in changed)
    assert {key.split(".")[0] for key in whole["matcher"]} == {"matcher", "proposals"}


def test_the_lexicon_begins_with_what_names_taught(place):
    train(place, "run_names", "--steps", "1")
    begun = train(place, "run_begun", "--start", "run_names", "--steps", "1", "--lr", "1e-30")["matcher"]
    ids = AutoTokenizer.from_pretrained(MINI).get_vocab()
    says = begun["matcher.lexicon.weight"].float() @ begun["matcher.traits.weight"].float()
    attributes = {word: STATES + number for number, word in enumerate(read_words().words)}
    for word, right, wrong in (
        ("red", "color=red", "color=blue"),
        ("car", "category=car", "category=person"),
    ):
        assert says[ids[word], attributes[right]] > 2 * abs(says[ids[word], attributes[wrong]])
    torch.testing.assert_close(says[ids["cars"]], says[ids["car"]], atol=1e-4, rtol=0)
    said = averaged_weights(place / "run_names")["namer.said.weight"]
    words = json.loads((place / "run_names/words.json").read_text())
    seen = says[[ids[word] for word in words], -STATE - 1 : -1]
    assert torch.cosine_similarity(seen, said, dim=1).min() > 0.5


def teach_alone(place, out, *more):
    call(
        matcher_alone,
        place,
        *("--cache", "lists", "--rows", "rows.json", "--written", "rows.json", "--named", "named.jsonl"),
        *("--streets", "streets", "--pixels", "pixels.bin", "--model", str(MINI)),
        *("--proposals", "proposals.safetensors", "--matcher", "matcher.safetensors"),
        *("--steps", "3", "--out", out, *more),
    )
    found = place / out / "matcher.safetensors"
    return load_file(found) if found.exists() else {}


def test_the_matcher_is_told_what_a_search_would_tell_it(place):
    teach_alone(place, "run_alone", "--stop-after", "1")
    states, boxes = (np.load(place / f"lists/{name}.npy")[0] for name in ("states", "moved"))
    image = cv2.imread(str(place / "streets" / KEY.replace("/", "/images/")))[..., ::-1].copy()
    frame, pixels = frame_window((320, 160)), 1120
    found = piza.load("mini").encode_frame(
        cut(image, frame, input_size(frame, True, pixels, pixels)), Detail(image, frame)
    )
    overlaps = iou_matrix_xyxy(cxcywh_to_xyxy(boxes[0]), cxcywh_to_xyxy(found.boxes[-1, 0].float().numpy()))
    same = overlaps.argmax(1)  # rounding may change the order of the list
    assert np.median(overlaps.max(1)) > 0.95
    said = found.features[0, same, -STATE - 1 : -1].float().numpy()
    plain, varied, mirrored = (np.abs(said - states[view]).mean() for view in (0, 1, -1))
    assert plain < varied / 2 < mirrored / 2


def test_a_matcher_that_is_stopped_goes_on_to_the_same_weights(place):
    before = load_file(place / "matcher.safetensors")
    whole = teach_alone(place, "run_whole")
    teach_alone(place, "run_parts", "--stop-after", "2")
    parts = teach_alone(place, "run_parts")
    assert whole.keys() == parts.keys() and before.keys() <= whole.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert not torch.equal(whole["matcher.words.weight"], before["matcher.words.weight"].float())
