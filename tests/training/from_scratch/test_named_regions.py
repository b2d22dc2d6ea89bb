"""What people call regions of photos: as words to tell, as phrases to match, and as sentences to choose by."""

import json

import cv2
import numpy as np
import pytest
import torch

from piza.training.from_scratch.named_regions import (
    RegionBatches,
    RegionNamer,
    evaluate,
    named_regions,
    naming_loss,
    words_of,
)
from piza.training.from_scratch.named_sentences import named_frames
from piza.training.from_scratch.region_frames import NamedRegion, RegionFrames

WORDS = ["red", "blue", "car", "left", "right", "sign"]
ATTRIBUTES = ["category=car", "color=red", "color=blue"]


@pytest.fixture
def frames(tmp_path):
    """A photo of 200 x 100 pixels: red on the left half, blue on the right."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :100, 2], image[:, 100:, 0] = 255, 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return RegionFrames({"photos": tmp_path}, None, tmp_path / "work")


def regions(*phrases):
    boxes = [(20, 40, 60, 80), (130, 40, 170, 80)]
    return [NamedRegion("photos/a.png", box, phrase) for box, phrase in zip(boxes, phrases, strict=True)]


def test_frames_that_are_kept_are_those_that_are_read(frames):
    fresh, scale = frames.frame("photos/a.png")
    frames.prepare(["photos/a.png"])
    kept, same = frames.frame("photos/a.png")
    assert np.array_equal(kept, fresh) and same == scale
    again = RegionFrames(frames.folders, None, frames.pixels.parent)
    again.prepare(["photos/a.png"])  # nothing is written twice
    assert len(again.index.read_text().splitlines()) == 1


def test_a_batch_says_what_the_phrase_says_mirrored_or_not(frames):
    named = regions("red car facing left", "a blue sign on the left")
    batches = RegionBatches(frames, named, [], WORDS, ATTRIBUTES, seed=0)
    sides = set()
    for step in range(6):
        batch = batches(step, 0)
        for crop, said in zip(batch.crops, batch.said.bool().tolist(), strict=True):
            told = {word for word, there in zip(WORDS, said, strict=True) if there}
            reddish = crop[24:40, 24:40, 0].mean() > crop[24:40, 24:40, 2].mean()
            assert ("red" in told) == reddish and ("car" in told) == reddish
            if reddish:
                sides |= told & {"left", "right"}
            else:
                assert "left" in told  # what is on a sign is not mirrored
    assert sides == {"left", "right"}
    assert torch.equal(batches(3, 0).said, batches(3, 0).said)


def test_attributes_are_asked_for_only_where_they_are_known(frames):
    known = NamedRegion("photos/a.png", (20, 40, 60, 80), "", ("category=car",), frozenset({"category"}))
    drawn = NamedRegion("photos/a.png", (20, 40, 60, 80), "", ("category=car", "color=red"))
    batch = RegionBatches(frames, [], [], WORDS, ATTRIBUTES, 0).batch(
        [known, drawn, *regions("red", "-")], None
    )
    assert batch.known.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert batch.attributes[1].tolist() == [1, 1, 0] and batch.named.tolist() == [False, False, True, True]


def test_two_names_are_learned(frames):
    named = regions("red car", "blue sign")
    batches = RegionBatches(frames, named, [], WORDS, ATTRIBUTES, seed=0)
    torch.manual_seed(0)
    namer = RegionNamer(WORDS, len(ATTRIBUTES))
    optimizer = torch.optim.Adam(namer.parameters(), 1e-3)
    losses = []
    for step in range(6):
        batch = batches.batch([named[i] for i in (0, 1, 0, 1)], np.random.default_rng(step))
        loss = naming_loss(namer, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    report = evaluate(namer, batches, named)
    assert report["phrases"] == 2 and report["by words"] == 100.0 and report["chance"] == 50.0


def write_named(path, *regions):
    photo = {"key": "dawn/a.jpg", "size": [100, 100], "regions": [[*box, phrase] for box, phrase in regions]}
    path.write_text(json.dumps(photo) + "\n")
    return path


def test_sentences_lean_on_neighbors_with_a_name_of_their_own(tmp_path):
    path = write_named(
        tmp_path / "named.jsonl",
        ([10, 40, 20, 50], "dark car from behind"),
        ([30, 40, 40, 50], "dark car from behind"),
        ([50, 40, 60, 50], "red bus"),
        ([70, 40, 80, 50], "-"),
    )
    assert named_regions(path)[2] == NamedRegion("dawn/a.jpg", (50, 40, 60, 50), "red bus")
    frames = named_frames(path)
    [one] = frames.lists
    assert one.doubtful == [[1], [0], [], []]
    assert {index for _, index, _ in one.rows} == {0, 1, 2}  # what shows nothing is not asked for
    for sentence, index, _ in one.rows:
        assert "- " not in sentence and sentence[0].isupper() and sentence.endswith(".")
        if index < 2 and "red bus" in sentence:
            assert "left of the red bus" in sentence.lower() or "next to" in sentence
        assert sentence.lower().count("dark car from behind") == (1 if index < 2 else 0)


def test_words_that_say_nothing_are_no_words():
    assert words_of("The back of a Round sign, 50 km") == ["back", "round", "sign", "50", "km"]
