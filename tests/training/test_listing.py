"""Training a first look that lists objects: samples that keep sentences on their objects, and losses that fall."""

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

from piza.data.frames import Frame
from piza.data.windows import part_of
from piza.model.piza import Piza, PizaConfig
from piza.training.from_scratch.frames.sources import scene_frames
from piza.training.listing import NONE, ListedFrame, forced_cells, listed_frame, matching_loss, proposal_loss

WORDS = {"category=car": 0, "category=sign": 1, "color=red": 2}


def frame() -> Frame:
    """A red car on the left and a blue one on the right, with relevance."""
    image = np.full((96, 160, 3), 90, np.uint8)
    objects = np.array([[16.0, 32, 40, 56], [112.0, 40, 144, 72]])
    for box, color in zip(objects.astype(int), ((220, 30, 30), (30, 30, 220)), strict=True):
        image[box[1] : box[3], box[0] : box[2]] = color
    rows = [("the red car", objects[0], 0), ("the car right of a red car", objects[1], 1)]
    relevance = [np.array([[1.0, 0, 0], [0, 0, 0]]), np.array([[1.0, 1, 1], [1, 0.5, 0]])]
    attributes = [["category=car", "color=red", "view=side"], ["category=car"]]
    return Frame(image, rows, [], ["the green car"], objects, relevance, attributes)


def test_a_listed_frame_keeps_sentences_on_their_objects():
    listed = listed_frame(frame(), (320, 192), WORDS, np.random.default_rng(0), max_sentences=8)
    assert listed.image.shape == (192, 320, 3)
    target = dict(zip(listed.sentences, listed.target, strict=True))
    assert target == {"the red car": 0, "the car right of a red car": 1, "the green car": NONE}
    np.testing.assert_allclose(listed.objects[0], [28 / 160, 44 / 96, 24 / 160, 24 / 96], rtol=1e-6)
    assert listed.attributes.tolist() == [[1, 0, 1], [1, 0, 0]]
    row = listed.sentences.index("the car right of a red car")
    assert listed.relevance[row].tolist() == [[1, 1, 1], [1, 0.5, 0]]
    assert (listed.relevance[listed.sentences.index("the green car")] == 0.5).all()


def test_a_part_has_the_objects_it_shows():
    part = part_of(frame(), (80, 0, 160, 96))
    listed = listed_frame(part, (160, 192), WORDS, np.random.default_rng(0), max_sentences=8)
    assert len(listed.objects) == 1 and listed.attributes.tolist() == [[1, 0, 0]]
    assert listed.target[listed.sentences.index("the car right of a red car")] == 0
    np.testing.assert_allclose(listed.objects[0, :2], [48 / 80, 56 / 96], rtol=1e-6)
    assert listed.relevance.shape[1] == 1


def test_photos_have_the_objects_of_their_rows():
    plain = frame()
    photo = Frame(plain.image, [(ref, box, 1000 + 7 * thing) for ref, box, thing in plain.rows])
    listed = listed_frame(photo, (320, 192), WORDS, np.random.default_rng(0), max_sentences=8)
    assert sorted(listed.target) == [0, 1] and listed.attributes is None
    for sentence, target in zip(listed.sentences, listed.target, strict=True):
        expected = plain.objects[int("right" in sentence)]
        np.testing.assert_allclose(listed.objects[target, 0], expected[[0, 2]].mean() / 160, rtol=1e-6)


def test_listed_scenes_are_as_they_were_drawn():
    (scene,) = scene_frames([3], (2048, 1152), shrink=4, num_absent=0, workers=1)
    words = {word: i for i, word in enumerate(sorted({w for words in scene.attributes for w in words}))}
    listed = listed_frame(scene, (512, 288), words, np.random.default_rng(0), max_sentences=99)
    assert len(listed.objects) == len(scene.objects) == len(scene.attributes)
    for sentence, target in zip(listed.sentences, listed.target, strict=True):
        box = next(box for ref, box, _ in scene.rows if ref == sentence)
        center = listed.objects[target, :2] * [512, 288]
        np.testing.assert_allclose(center, (box[:2] + box[2:]) / 2, atol=0.1)


@pytest.fixture
def model(tiny_tokenizer):
    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(method="full", method_options=options, num_proposals=6, num_attributes=len(WORDS))
    return Piza(tiny_detector(), tiny_tokenizer, config)


def losses_of(model: Piza, frames_listed: list[ListedFrame], forced: list[bool]):
    ids, mask, _ = model.prompter([[s] for listed in frames_listed for s in listed.sentences])
    ids, mask = (t.view(len(frames_listed), -1, t.shape[-1]) for t in (ids, mask.bool()))
    pixels = model.pixels([listed.image for listed in frames_listed])
    shapes = [(12, 20), (6, 10), (3, 5), (2, 3)]
    found = model.proposals(pixels, lambda shapes: forced_cells(frames_listed, shapes, forced))
    assert found.shapes == shapes
    losses, matches = proposal_loss(found, frames_listed)
    return {**losses, **matching_loss(*model.matcher(ids, mask, found), frames_listed, matches)}, matches


def test_what_is_forced_is_listed_and_owned(model):
    listed = listed_frame(frame(), (160, 96), WORDS, np.random.default_rng(0), max_sentences=3)
    losses, matches = losses_of(model, [listed, listed], [True, False])
    owner, overlap = matches[0]
    assert {0, 1} <= set(owner.tolist()) and overlap.shape == (6, 2)
    assert losses["missing"] <= 0.5


def test_it_learns_which_car_is_meant(model):
    model.eval()  # no paths are dropped
    listed = listed_frame(frame(), (160, 96), WORDS, np.random.default_rng(0), max_sentences=3)
    optimizer = torch.optim.AdamW([*model.proposals.parameters(), *model.matcher.parameters()], lr=1e-3)
    names = ("object", "box", "attributes", "which", "relevant", "irrelevant")
    history = []
    for _ in range(100):
        losses, _ = losses_of(model, [listed], [True])
        optimizer.zero_grad()
        sum(losses[name] for name in names).backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    for name in names:  # of boxes more and more have an owner, so theirs rises first
        assert history[-1][name] < 0.5 * max(line[name] for line in history), name
    losses, matches = losses_of(model, [listed], [False])
    assert losses["right"] == 1 and losses["missing"] == 0
    assert (matches[0][1].max(0)[0] > 0.6).all()  # each car has a box on it
