"""What a later look may mistake for a sentence's target, and photos as frames."""

import numpy as np
import pytest
import torch
from PIL import Image

from piza.data.frames import Frame
from piza.training.from_scratch.later_looks import PhotoFrames, mean_of, rivals_of
from piza.training.from_scratch.lists.listed_frames import Frames
from piza.training.from_scratch.lists.object_lists import ObjectList

BOXES = np.array([[10, 10, 30, 30], [50, 10, 70, 30], [80, 10, 90, 30], [60, 40, 63, 43]], float)
WORDS = [["category=car", "color=red"], ["category=car"], ["category=sign"], ["category=car"]]


def frame_with(relevance):
    image = np.zeros((60, 100, 3), np.uint8)
    return Frame(image, [("The red car.", BOXES[0], 0)], objects=BOXES, relevance=relevance, attributes=WORDS)


def test_a_rival_fits_what_is_said_of_the_target():
    fits = np.array([[1, 0, 0], [0, 0, 0], [0.5, 0, 0], [1, 0, 0]], float)  # the last is too small to look at
    assert rivals_of(frame_with([fits]), 0).tolist() == [2]


@pytest.mark.parametrize("relevance", [[], [np.full((4, 3), 0.5)]])
def test_where_nothing_is_known_of_that_a_rival_has_the_same_category(relevance):
    assert rivals_of(frame_with(relevance), 0).tolist() == [1]


def test_a_mirrored_photo_has_its_boxes_and_words_mirrored(tmp_path):
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[10:30, 10:30] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    one = ObjectList(BOXES, (100, 60), WORDS, [("The car on the left.", 0, None)])
    photos = PhotoFrames(Frames(["dawn/a.png"], [one]), {"dawn": tmp_path})
    seen = set()
    for seed in range(30):
        drawn = photos.draw(np.random.default_rng(seed))
        sentence, box, _ = drawn.rows[0]
        x0, y0, x1, y1 = box.astype(int)
        inside, all_of = drawn.image[y0:y1, x0:x1].mean(), drawn.image.mean()
        assert inside > all_of + 50 and np.array_equal(drawn.objects[0], box)
        assert ("right" in sentence) == (x0 == 70)
        seen.add(x0)
    assert seen == {10, 70}


def test_the_mean_keeps_a_share_of_what_was_there():
    before = {"a": torch.tensor([0.0, 4.0]), "count": torch.tensor(3)}
    after = {"a": torch.tensor([4.0, 4.0]), "count": torch.tensor(5), "other": torch.zeros(1)}
    found = mean_of(before, after, keep=0.25)
    assert set(found) == {"a", "count"} and found["a"].tolist() == [3.0, 4.0] and found["count"] == 5
