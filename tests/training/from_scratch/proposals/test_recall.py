"""How much of what is labeled a list holds, counted for the embedded model's network as for one without a region encoder."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import piza
from piza.training.from_scratch.proposals import recall
from piza.training.from_scratch.streets.labels import StreetObject, StreetPhoto

MINI = Path(piza.__file__).parent / "weights/mini"


@pytest.fixture
def place(tmp_path):
    """A photo with a red sign, which is labeled, and the label of something that is not there."""
    image = np.full((360, 640, 3), 120, np.uint8)
    cv2.circle(image, (200, 150), 20, (30, 30, 220), -1)
    cv2.rectangle(image, (188, 146), (212, 154), (255, 255, 255), -1)
    (tmp_path / "streets/dawn/images").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "streets/dawn/images/a.png"), image)
    boxes = [180, 130, 220, 170], [500, 300, 520, 320]
    objects = [StreetObject(list(box), ["sign"], label="sign") for box in boxes]
    photo = asdict(StreetPhoto("dawn/a.png", 640, 360, objects, [], []))
    (tmp_path / "photos.jsonl").write_text(json.dumps({"part": "val", "photo": photo}) + "\n")
    return tmp_path


def counted(place, capsys, *options):
    with pytest.MonkeyPatch.context() as patch:
        told = ("--work", place, "--streets", place / "streets", "--json", *options)
        patch.setattr(sys, "argv", ["recall", *map(str, told)])
        recall.main()
    return json.loads(capsys.readouterr().out)["dawn: sign"]


def test_of_two_labels_the_one_that_can_be_seen_is_listed(place, capsys):
    found = counted(place, capsys, "--model", MINI)
    assert (found["objects"], found["list"], found["half"]) == (2, 0.5, 0.5)


def test_a_network_that_has_no_region_encoder_yet_is_counted_too(place, capsys):
    part = "proposals."
    weights = {
        n.removeprefix(part): t
        for n, t in load_file(MINI / "model.safetensors").items()
        if n.startswith(part)
    }
    save_file({n: t for n, t in weights.items() if not n.startswith("regions.")}, place / "bare.safetensors")
    found = counted(place, capsys, "--proposals", place / "bare.safetensors", "--pixels", 1120)
    assert found == counted(place, capsys, "--model", MINI)
