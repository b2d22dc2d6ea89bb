"""What people call regions of photos: as words to tell, as phrases to match, and as sentences to choose by."""

import json

import cv2
import numpy as np
import pytest
import torch

from piza.search.region_crops import region_crops
from piza.training.from_scratch.proposals.train import normalized_pixels
from piza.training.from_scratch.regions.named import NamedRegion, RegionTargets, named_regions, words_of
from piza.training.from_scratch.regions.namer import RegionBatch, RegionNamer, evaluate, naming_loss
from piza.training.from_scratch.regions.pixels import RegionPixels
from piza.training.from_scratch.regions.sentences import named_frames
from piza.training.from_scratch.regions.train import JointBatches

WORDS = ["red", "blue", "car", "left", "right", "sign"]
ATTRIBUTES = ["category=car", "color=red", "color=blue"]
KEY = "photos/a.png"


@pytest.fixture
def pixels(tmp_path):
    """A photo of 200 x 100 pixels: red on the left half, blue on the right, and one of noise that is 1200 x 1000."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :100, 2], image[:, 100:, 0] = 255, 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "a.png"), image)
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "b.png"), cv2.resize(noise, (1200, 1000), interpolation=cv2.INTER_CUBIC))
    return kept_pixels(tmp_path)


def kept_pixels(folder):
    keys = [KEY, "photos/b.png"]
    return RegionPixels(keys, {"photos": folder}, None, folder / "pixels.bin", torch.device("cpu"))


def regions(*phrases):
    boxes = [(20, 40, 60, 80), (130, 40, 170, 80)]
    return [NamedRegion(KEY, box, phrase) for box, phrase in zip(boxes, phrases, strict=True)]


def batch_of(pixels, chosen, rng=None):
    """The regions cut out; with `rng` some of them mirrored."""
    batches = JointBatches(None, [], RegionTargets(WORDS, ATTRIBUTES), pixels.sizes, 0)
    at = batches.regions(chosen, rng)
    crops, sizes = pixels.crops(at.keys, at.boxes, at.mirrored, varied=rng is not None)
    return RegionBatch(crops, sizes, at.said, at.named, at.attributes, at.known, at.boxes, at.boxes, at.tight)


def test_regions_are_cut_as_a_search_cuts_them(pixels, tmp_path):
    image = cv2.imread(str(tmp_path / "b.png"))[..., ::-1]
    boxes = np.array([[0.3, 0.4, 0.03, 0.02], [0.02, 0.97, 0.05, 0.1], [0.5, 0.5, 0.3, 0.4]])
    wanted, sizes = region_crops(image, boxes)
    crops, scaled = pixels.crops(["photos/b.png"], torch.from_numpy(boxes), [False], varied=False)
    away = (crops - normalized_pixels(list(wanted))).abs().mean((1, 2, 3))
    assert (away < 0.12).all(), away  # in standard deviations of pixels, where noise differs by more than 1
    assert torch.allclose(scaled[:, 0], torch.from_numpy(sizes[:, 0]), atol=1e-4)  # width over height
    flipped = torch.from_numpy(boxes)
    flipped[:, 0] = 1 - flipped[:, 0]
    mirrored, _ = pixels.crops(["photos/b.png"], flipped, [True], varied=False)
    assert torch.allclose(mirrored.flip(-1), crops, atol=0.07)  # OpenCV reads at thirty-seconds of pixels


def test_a_card_reads_what_opencv_reads(pixels):
    """What a CPU never runs of itself: the same crops by torch."""
    boxes = torch.tensor(
        [[0.3, 0.4, 0.03, 0.02], [0.02, 0.97, 0.05, 0.1], [0.5, 0.5, 0.3, 0.4], [0.99, 0.01, 0.01, 0.3]]
    )
    told = ["photos/b.png"], boxes, [False], False
    crops, _ = pixels.crops(*told)
    pixels._warped = pixels._read
    by_torch, _ = pixels.crops(*told)
    assert (
        crops - by_torch
    ).abs().max() < 0.05  # in standard deviations, of which a gray level is a fiftieth


def test_pictures_that_are_kept_are_those_that_were_read(pixels, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.png").unlink()
    again = kept_pixels(tmp_path)
    assert torch.equal(again.pixels, pixels.pixels) and again.sizes == pixels.sizes


def test_regions_of_many_pictures_are_those_of_each(pixels):
    boxes = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.2
    together, sizes = pixels.crops([KEY, "photos/b.png"], boxes, [True, False], varied=False)
    for part, key, mirrored in ((slice(0, 3), KEY, True), (slice(3, 6), "photos/b.png", False)):
        alone, one = pixels.crops([key], boxes[part], [mirrored], varied=False)
        assert torch.equal(alone, together[part]) and torch.equal(one, sizes[part])


def test_a_batch_says_what_the_phrase_says_mirrored_or_not(pixels):
    named = regions("red car facing left", "a blue sign on the left")
    sides = set()
    for step in range(6):
        batch = batch_of(pixels, named, np.random.default_rng(step))
        for crop, said in zip(batch.crops, batch.said.bool().tolist(), strict=True):
            told = {word for word, there in zip(WORDS, said, strict=True) if there}
            reddish = bool(crop[0, 24:40, 24:40].mean() > crop[2, 24:40, 24:40].mean())
            assert ("red" in told) == reddish and ("car" in told) == reddish
            if reddish:
                sides |= told & {"left", "right"}
            else:
                assert "left" in told  # what is on a sign is not mirrored
    assert sides == {"left", "right"}


def test_attributes_are_asked_for_only_where_they_are_known(pixels):
    known = NamedRegion(KEY, (20, 40, 60, 80), "", ("category=car",), frozenset({"category"}))
    drawn = NamedRegion(KEY, (20, 40, 60, 80), "", ("category=car", "color=red"))
    batch = batch_of(pixels, [known, drawn, *regions("red", "-")])
    assert batch.known.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert batch.attributes[1].tolist() == [1, 1, 0] and batch.named.tolist() == [False, False, True, True]


def test_two_names_are_learned(pixels):
    named = regions("red car", "blue sign")
    torch.manual_seed(0)
    namer = RegionNamer(WORDS, len(ATTRIBUTES))
    optimizer = torch.optim.Adam(namer.parameters(), 1e-3)
    losses = []
    for step in range(6):
        batch = batch_of(pixels, [named[i] for i in (0, 1, 0, 1)], np.random.default_rng(step))
        loss = naming_loss(namer, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    report = evaluate(namer, lambda some: batch_of(pixels, some), named)
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
    assert named_regions(path)[2] == NamedRegion("dawn/a.jpg", (50, 40, 60, 50), "red bus", tight=True)
    assert not named_regions(path)[3].tight
    frames = named_frames(path)
    [one] = frames.lists
    assert set(one.doubtful) == {(sentence, place) for sentence, place, _ in one.rows}
    assert all(others == [[1], [0], [], []][place] for (_, place), others in one.doubtful.items())
    assert {index for _, index, _ in one.rows} == {0, 1, 2}  # what shows nothing is not asked for
    for sentence, index, _ in one.rows:
        assert "- " not in sentence and sentence[0].isupper() and sentence.endswith(".")
        if index < 2 and "red bus" in sentence:
            assert "left of the red bus" in sentence.lower() or "next to" in sentence
        assert sentence.lower().count("dark car from behind") == (1 if index < 2 else 0)


def test_words_that_say_nothing_are_no_words():
    assert words_of("The back of a Round sign, 50 km") == ["back", "round", "sign", "50", "km"]
