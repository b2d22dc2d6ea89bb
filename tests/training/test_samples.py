"""Samples are a function of the step, speak of every row, and fit together in parts of one size."""

import json

import numpy as np
import pytest
from PIL import Image

from piza.boxes import iou_xyxy
from piza.config import PathConfig
from piza.data.sorec import read_rows
from piza.errors import InputError
from piza.search.zoom_path import plan_windows
from piza.training.listing import ListedFrames
from piza.training.samples import SampleConfig, Samples, group_rows

CONFIG = SampleConfig(
    path=PathConfig(), first_pixels=128, later_pixels=96, batch=4, crops_per_image=4, sentences_per_image=3
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Eleven rows about three pictures of two shapes; row 5 reaches over the edge."""
    place = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(0)
    rows = []
    for name, size, count in (("a.jpg", (640, 480), 7), ("b.jpg", (480, 640), 3), ("c.jpg", (640, 480), 1)):
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(place / name)
        for _ in range(count):
            x, y = (int(v) for v in rng.integers(20, 400, 2))
            rows.append(
                {"image": name, "bbox": [x, y, 16, 12], "ref": f"thing number {len(rows)}", "id": len(rows)}
            )
    rows[5]["bbox"] = [630, 470, 30, 30]
    (place / "rows.json").write_text(json.dumps(rows))
    return place


def samples(place, **changes):
    known = group_rows(read_rows(place / "rows.json"), place)
    return Samples(known, place, SampleConfig(**{**CONFIG.__dict__, **changes}))


def same(a, b):
    pairs = list(zip(a.batches, b.batches, strict=True))
    return all(
        np.array_equal(x.batch.images, y.batch.images) and x.batch.prompts == y.batch.prompts
        for x, y in pairs
    )


def test_rows_are_grouped_and_clipped(place):
    known = group_rows(read_rows(place / "rows.json"), place)
    assert {name: len(annotations) for name, annotations in known.annotations.items()} == {
        "a.jpg": 7,
        "b.jpg": 3,
        "c.jpg": 1,
    }
    assert known.annotations["a.jpg"][5][1].tolist() == [630, 470, 640, 480]
    assert known.sizes["b.jpg"] == (480, 640) and len(known.targets()) == 11


def test_a_step_is_always_the_same(place):
    one, other = samples(place, augment=True), samples(place, augment=True)
    later = other(5, 0)
    other(1, 0)
    assert same(one(5, 0), later) and not same(one(5, 0), one(6, 0)) and not same(one(5, 0), one(5, 1))


def test_windows_of_one_size_come_together(place):
    parts = samples(place, min_scale=0.6)(0, 0).batches
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert sum(len(part.batch.prompts) for part in parts) == 4
    assert len({tuple(part.batch.images.shape[1:3]) for part in parts}) == len(parts)
    assert all(side % 32 == 0 for part in parts for side in part.batch.images.shape[1:3])
    few = samples(place, min_scale=0.6, micro_batch=1)(0, 0).batches
    assert [len(part.batch.prompts) for part in few] == [1] * 4


def test_processes_divide_the_image_groups_of_an_epoch(place):
    two = samples(place, processes=2, batch=2)
    assert two.groups_per_epoch == 3 + 1 + 1 and two.steps_per_epoch == 5
    firsts = [two._image_groups(0)[(step * 2 + process) * 2 // 4] for step in range(5) for process in (0, 1)]
    asked = {(image, int(i)) for image, chosen in firsts for i in chosen}
    assert len(asked) == 11  # every row, in one epoch


def test_frames_answer_with_windows_or_with_objects(place):
    box, size = np.array([100.0, 100, 116, 112]), (640, 480)
    window = plan_windows(box, size, CONFIG.path)[1]
    assert iou_xyxy(window, box) < 0.1
    zooming, whole = (
        samples(place, crops_per_image=1, whole=whole, batch=8)(0, 0) for whole in (False, True)
    )
    for parts, largest in ((zooming, False), (whole, True)):
        areas = [t.answer[:, 2:].prod(1) for part in parts.batches for t in part.batch.targets]
        assert all((area < 0.002).all() == largest for area in areas)
        assert all((part.batch.progress == 0).all() for part in parts.batches)


def test_what_cannot_be_used_is_named(place, tmp_path):
    rows = read_rows(place / "rows.json")
    (tmp_path / "a.jpg").write_bytes((place / "a.jpg").read_bytes())
    with pytest.raises(InputError, match=r"b\.jpg"):
        group_rows(rows, tmp_path)
    assert group_rows(rows, tmp_path, "skip").skipped == 4
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(InputError, match="none of the 11 rows"):
        group_rows(rows, tmp_path, "skip")


def test_frames_to_be_listed_hold_all_objects_and_the_rows_of_a_group(place):
    made = samples(place, list_objects=True, crops_per_image=2, batch=2)
    boxes = {
        sentence: box for annotations in made.images.annotations.values() for sentence, box, _ in annotations
    }
    asked = []
    for step in range(made.steps_per_epoch):
        for part in made(step, 0).batches:
            if not isinstance(part.batch, ListedFrames):
                assert part.batch.progress.min() > 0  # later windows only
                continue
            for listed in part.batch.frames_listed:
                asked += listed.sentences
                assert len(listed.objects) in (7, 3, 1) and len(listed.sentences) <= 3
                frame = (480, 640) if len(listed.objects) == 3 else (640, 480)
                for sentence, target in zip(listed.sentences, listed.target, strict=True):
                    center = (boxes[sentence][:2] + boxes[sentence][2:]) / 2 / frame
                    np.testing.assert_allclose(listed.objects[target, :2], center, atol=1e-4)
    assert sorted(asked) == sorted(boxes)  # every row, in one epoch
