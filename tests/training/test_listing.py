"""What a first look that lists things is taught: samples that keep sentences on their things, and losses that fall."""

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

from piza.config import PizaConfig
from piza.data.frames import Frame, scene_frames
from piza.data.windows import part_of
from piza.model.piza import Piza
from piza.training.listing import NONE, ListedFrame, forced_cells, listed_frame, matching_loss, proposal_loss

WORDS = {"category=car": 0, "category=sign": 1, "color=red": 2}


def frame() -> Frame:
    """A red car on the left and a blue one on the right, with roles."""
    picture = np.full((96, 160, 3), 90, np.uint8)
    objects = np.array([[16.0, 32, 40, 56], [112.0, 40, 144, 72]])
    for box, color in zip(objects.astype(int), ((220, 30, 30), (30, 30, 220)), strict=True):
        picture[box[1] : box[3], box[0] : box[2]] = color
    rows = [("the red car", objects[0], 0), ("the car right of a red car", objects[1], 1)]
    relevance = [np.array([[1.0, 0, 0], [0, 0, 0]]), np.array([[1.0, 1, 1], [1, 0.5, 0]])]
    looks = [["category=car", "color=red", "view=side"], ["category=car"]]
    return Frame(picture, rows, [], ["the green car"], objects, relevance, looks)


def test_a_reading_keeps_sentences_on_their_things():
    reading = listed_frame(frame(), (320, 192), WORDS, np.random.default_rng(0), most=8)
    assert reading.picture.shape == (192, 320, 3)
    target = dict(zip(reading.sentences, reading.target, strict=True))
    assert target == {"the red car": 0, "the car right of a red car": 1, "the green car": NONE}
    np.testing.assert_allclose(reading.objects[0], [28 / 160, 44 / 96, 24 / 160, 24 / 96], rtol=1e-6)
    assert reading.attributes.tolist() == [[1, 0, 1], [1, 0, 0]]
    row = reading.sentences.index("the car right of a red car")
    assert reading.relevance[row].tolist() == [[1, 1, 1], [1, 0.5, 0]]
    assert (reading.relevance[reading.sentences.index("the green car")] == 0.5).all()


def test_a_part_has_the_things_it_shows():
    part = part_of(frame(), (80, 0, 160, 96))
    reading = listed_frame(part, (160, 192), WORDS, np.random.default_rng(0), most=8)
    assert len(reading.objects) == 1 and reading.attributes.tolist() == [[1, 0, 0]]
    assert reading.target[reading.sentences.index("the car right of a red car")] == 0
    np.testing.assert_allclose(reading.objects[0, :2], [48 / 80, 56 / 96], rtol=1e-6)
    assert reading.relevance.shape[1] == 1


def test_photos_have_the_things_that_are_spoken_of():
    plain = frame()
    photo = Frame(plain.picture, [(ref, box, 1000 + 7 * thing) for ref, box, thing in plain.rows])
    reading = listed_frame(photo, (320, 192), WORDS, np.random.default_rng(0), most=8)
    assert sorted(reading.target) == [0, 1] and reading.attributes is None
    for sentence, target in zip(reading.sentences, reading.target, strict=True):
        wanted = plain.objects[int("right" in sentence)]
        np.testing.assert_allclose(reading.objects[target, 0], wanted[[0, 2]].mean() / 160, rtol=1e-6)


def test_readings_of_scenes_are_as_the_pool_says():
    (scene,) = scene_frames([3], (2048, 1152), shrink=4, absent=0, workers=1)
    words = {word: i for i, word in enumerate(sorted({w for looks in scene.attributes for w in looks}))}
    reading = listed_frame(scene, (512, 288), words, np.random.default_rng(0), most=99)
    assert len(reading.objects) == len(scene.objects) == len(scene.attributes)
    for sentence, target in zip(reading.sentences, reading.target, strict=True):
        box = next(box for ref, box, _ in scene.rows if ref == sentence)
        center = reading.objects[target, :2] * [512, 288]
        np.testing.assert_allclose(center, (box[:2] + box[2:]) / 2, atol=0.1)


@pytest.fixture
def model(tiny_tokenizer):
    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(method="full", method_options=options, num_proposals=6, num_attributes=len(WORDS))
    return Piza(tiny_detector(), tiny_tokenizer, config)


def losses_of(model: Piza, frames_listed: list[ListedFrame], forced: list[bool]):
    ids, mask, _ = model.prompter([[s] for reading in frames_listed for s in reading.sentences])
    ids, mask = (t.view(len(frames_listed), -1, t.shape[-1]) for t in (ids, mask.bool()))
    pixels = model.pixels([reading.picture for reading in frames_listed])
    shapes = [(12, 20), (6, 10), (3, 5), (2, 3)]
    found = model.proposals(pixels, lambda shapes: forced_cells(frames_listed, shapes, forced))
    assert found.shapes == shapes
    losses, matches = proposal_loss(found, frames_listed)
    return {**losses, **matching_loss(*model.matcher(ids, mask, found), frames_listed, matches)}, matches


def test_what_is_forced_is_listed_and_owned(model):
    reading = listed_frame(frame(), (160, 96), WORDS, np.random.default_rng(0), most=3)
    losses, matches = losses_of(model, [reading, reading], [True, False])
    owner, overlap = matches[0]
    assert {0, 1} <= set(owner.tolist()) and overlap.shape == (6, 2)
    assert losses["missing"] <= 0.5


def test_it_learns_which_car_is_meant(model):
    model.eval()  # no paths are dropped
    reading = listed_frame(frame(), (160, 96), WORDS, np.random.default_rng(0), most=3)
    optimizer = torch.optim.AdamW([*model.proposals.parameters(), *model.matcher.parameters()], lr=1e-3)
    names = ("thing", "box", "attributes", "which", "role_yes", "role_no")
    history = []
    for _ in range(100):
        losses, _ = losses_of(model, [reading], [True])
        optimizer.zero_grad()
        sum(losses[name] for name in names).backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    for name in names:  # of boxes more and more have an owner, so theirs rises first
        assert history[-1][name] < 0.5 * max(line[name] for line in history), name
    losses, matches = losses_of(model, [reading], [False])
    assert losses["right"] == 1 and losses["missing"] == 0
    assert (matches[0][1].max(0)[0] > 0.6).all()  # each car has a box on it
