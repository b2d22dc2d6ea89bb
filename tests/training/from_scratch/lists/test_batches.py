"""What the matcher is taught on real lists: the proposals that are of the object meant, in a blurred view, mirrored or not."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import piza
from piza.model.io import load_folder
from piza.model.matcher import ExpressionMatcher
from piza.model.region_encoder import STATE as REGION_STATE
from piza.training.from_scratch.lists.batches import FORGOTTEN, LEFT_OUT, ListedBatches, blurred
from piza.training.from_scratch.lists.listed_frames import Frames, is_absent
from piza.training.from_scratch.lists.object_lists import ListTeller, ObjectList
from piza.training.from_scratch.lists.reader import ListReader, named, start_matcher
from piza.training.from_scratch.lists.train_matcher import STATES, TOLD

WORDS = {word: place for place, word in enumerate(["category=car", "arrow=left", "arrow=right"])}
UNKNOWN = 999
BOXES = np.array(
    [[0.2, 0.5, 0.1, 0.2], [0.8, 0.5, 0.1, 0.2], [0.203, 0.5, 0.1, 0.2]] + [[0.5, 0.1, 0.1, 0.1]] * 125
)


def prompter(prompts):
    ids = torch.tensor([[1, p[0].count("left"), p[0].count("right"), 7, 0] for p in prompts])
    mask = torch.ones_like(ids)
    mask[:, -1] = 0
    return ids, mask, torch.zeros(1)


@pytest.fixture
def batches(tmp_path):
    """A cache of one photo of 100 x 50 pixels, whose proposals 0 and 2 are of the left car and 1 of the right one."""
    features = np.zeros((1, 128, TOLD + len(WORDS)), np.float16)
    features[0, :, STATES] = 1  # cars
    features[0, 0, STATES + 1] = 5  # an arrow to the left
    np.save(tmp_path / "features.npy", features)
    np.save(tmp_path / "boxes.npy", BOXES[None].astype(np.float32))
    np.save(tmp_path / "read.npy", np.zeros((1, 128, STATES), np.float16))
    np.save(tmp_path / "seen.npy", np.zeros((1, 128, 300), np.float16))
    line = {"row": 0, "key": "dawn/a.jpg", "view": 0, "aspect": 0.5}
    (tmp_path / "index.jsonl").write_text(json.dumps(line) + "\n")
    cars = np.array([[15, 20, 25, 30], [75, 20, 85, 30]], float)
    rows = [("The car on the left.", 0, None), ("The car on the right.", 1, None)]
    one = ObjectList(cars, (100, 50), [["category=car"]] * 2, rows)
    frames = {"written": Frames(["dawn/a.jpg"], [one])}
    return ListedBatches(
        tmp_path, frames, {}, ListTeller(WORDS, STATES, prompter), UNKNOWN, seed=0, share=0.15
    )


def test_what_is_right_are_the_proposals_of_the_object_also_in_a_mirrored_and_blurred_view(batches):
    views = set()
    for step in range(30):
        [batch] = batches(step, 0).batches
        for row in range(2):
            mirrored = bool(batch.boxes[0, 0, 0] > 0.5)
            right = batch.right[0, row, :-1].bool()
            meant = [0, 2] if right[0] else [1]
            assert right.nonzero()[:, 0].tolist() == meant
            assert batch.right[0, row, -1] == 0 and batch.asked[0, row]
            said = batch.ids[0, row]
            if UNKNOWN not in said:  # "left" is still said of what now is on the left
                assert bool(said[1]) == bool(batch.boxes[0, meant[0], 0] < 0.5)
        arrows = batch.features[0, 0, STATES : STATES + len(WORDS)].gather(0, batch.words[0])[1:]
        views.add((mirrored, *(arrows > 0).tolist()))
    assert views == {(False, True, False), (True, False, True)}


def test_what_may_be_meant_as_well_is_no_rival(batches):
    """Of regions with names, those with the same name and those without any are not judged."""
    [one] = batches.frames["written"].lists
    one.doubtful = {(sentence, place): [] for sentence, place, _ in one.rows}
    [batch] = batches(0, 0).batches
    assert batch.rivals[0, :, :3].eq(1).all() and batch.rivals[0, :, 3:-1].eq(0).all()
    one.doubtful |= {key: [1] for key in one.doubtful if key[1] == 0}
    [batch] = batches(0, 0).batches
    left = batch.right[0, :, 0].bool()
    assert batch.rivals[0, left, :3].tolist() == [[1, 0, 1]] and batch.rivals[0, ~left, :3].tolist() == [
        [1, 1, 1]
    ]


def test_words_are_forgotten_but_the_first_and_the_padding(batches):
    ids, mask, _ = prompter([["the left car"]] * 2000)
    found = batches.forgotten(ids, mask, np.random.default_rng(0))
    share = (found == UNKNOWN).float().mean(0)
    assert share[0] == 0 and share[4] == 0 and ((share[1:4] - FORGOTTEN).abs() < 0.025).all()
    assert torch.equal(found[found != UNKNOWN], ids[found != UNKNOWN])


def test_a_blurred_view_is_of_the_same_objects():
    features, boxes = torch.zeros(50, 40), torch.tensor([[0.5, 0.5, 0.1, 0.2]]).expand(50, 4)
    kept, moved = blurred(features, boxes, np.random.default_rng(0))
    assert abs(1 - LEFT_OUT - float(kept.mean())) < 0.02 and set(kept.unique().tolist()) == {0.0, 1.0}
    assert (moved - boxes).abs().max() < 0.05 and not torch.equal(moved, boxes)


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        (["category=bus"], [["category=car"]], True),
        (["category=bus"], [["category=bus"]], False),
        (["category=truck"], [["category=vehicle"]], False),  # it may be one
        (["category=car"], [["category=person"]], False),  # not every car is listed
        (["category=person"], [["category=cyclist"]], False),
    ],
)
def test_a_sentence_of_another_photo_is_of_nothing_only_where_nothing_may_be_it(words, there, absent):
    one = ObjectList(np.zeros((1, 4)), (10, 10), there, [])
    assert is_absent(words, one, "dawn") is absent


def test_what_learns_to_describe_objects_describes_them_as_before_until_it_has_learned(batches):
    """The features of a batch are those that were listed, in the order of a mirrored list."""
    base = Path(piza.__file__).parent / "weights/mini"
    network = load_folder(base).proposals
    read, seen = torch.randn(1, 4, network.width), torch.randn(1, 4, 300)
    states, attributes = network.described(read, seen)
    rest, words = torch.rand(1, 4, REGION_STATE + 1), torch.arange(attributes.shape[-1]).flip(0)[None]
    listed = torch.cat([states, attributes.sigmoid(), rest], -1)
    reader = ListReader(network, ExpressionMatcher(10, listed.shape[-1]))
    batch = SimpleNamespace(read=read, seen=seen, words=words, kept=torch.ones_like(listed), features=listed)
    found, logits = reader.features(batch)
    width = network.width
    assert torch.equal(found[..., :width], states) and torch.equal(logits, attributes)
    end = width + attributes.shape[-1]
    assert torch.allclose(found[..., width:end], listed[..., width:end].flip(-1))
    assert torch.equal(found[..., end:], rest)
    trained = set(reader.trained())
    assert {name.split(".")[1] for name in trained if name.startswith("network.")} == {
        "last_patch",
        "mix",
        "last",
        "attributes",
    }
    assert {name.split(".")[0] for name in named(dict(reader.state_dict()))} == {"proposals", "matcher"}


def test_a_matcher_that_was_told_lists_without_images_starts_blind_to_what_is_seen(tmp_path):
    made = ExpressionMatcher(10, TOLD + len(WORDS))
    save_file(
        {f"matcher.{name}": tensor for name, tensor in made.state_dict().items()}, tmp_path / "m.safetensors"
    )
    for states in (True, False):
        weight = start_matcher(tmp_path / "m.safetensors", states).features.weight
        same = torch.isclose(weight, made.features.weight).all(0)
        words = torch.arange(STATES, STATES + len(WORDS)).tolist()
        assert same.nonzero()[:, 0].tolist() == (
            list(range(len(same))) if states else [*words, len(same) - 1]
        )


def test_photos_of_a_source_with_weight_are_taken_so_many_times_as_often(batches, tmp_path):
    with (tmp_path / "index.jsonl").open("a") as file:
        file.write(json.dumps({"row": 0, "key": "unsplash/a.jpg", "view": 0, "aspect": 0.5}) + "\n")
    [one] = batches.frames["written"].lists
    frames = {"written": Frames(["dawn/a.jpg", "unsplash/a.jpg"], [one, one])}
    weighted = ListedBatches(tmp_path, frames, {}, batches.teller, UNKNOWN, 0, weights={"unsplash": 3.0})
    taken = [key for step in range(30) for key in weighted(step, 0).batches[0].keys]
    assert 2.4 < taken.count("unsplash/a.jpg") / taken.count("dawn/a.jpg") < 3.7
