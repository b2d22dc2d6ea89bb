"""Frame caches give back what was written; photos are resized with their boxes; histories follow planned paths."""

import numpy as np
import pytest
from PIL import Image

from piza.config import PathConfig
from piza.data.frames import Frame
from piza.data.sorec import Row
from piza.errors import InputError
from piza.search.zoom_path import plan_windows
from piza.training.box_sequences import draw_history
from piza.training.from_scratch.frames.cache import FrameCache, write_frame_cache
from piza.training.from_scratch.frames.sources import photo_frames, scene_frames


def test_a_cache_gives_back_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    frames = [
        Frame(
            rng.integers(0, 255, (20, 30, 3), dtype=np.uint8),
            [("a sign", np.array([1.5, 2, 8, 9.25]), 0)],
            [("sign", np.array([[1.5, 2, 8, 9.25], [10, 2, 12, 4]])), ("car", np.zeros((0, 4)))],
            ["the bus"],
        )
        for _ in range(3)
    ]
    write_frame_cache(tmp_path / "cache", 3, (30, 20), frames)
    cache = FrameCache(tmp_path / "cache")
    assert len(cache) == 3 and cache[0].size == (30, 20)
    for written, read in zip(frames, cache, strict=True):
        assert (written.image == read.image).all()
        assert written.rows[0][0] == read.rows[0][0] and (written.rows[0][1] == read.rows[0][1]).all()
        assert [phrase for phrase, _ in read.phrases] == ["sign", "car"]
        assert read.phrases[0][1].shape == (2, 4) and read.phrases[1][1].shape == (0, 4)
        assert read.absent == ["the bus"]


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(InputError):
        FrameCache(tmp_path)
    write_frame_cache(tmp_path, 1, (4, 4), [Frame(np.zeros((4, 4, 3), np.uint8), [])])
    (tmp_path / "frames.jsonl").write_text("")
    with pytest.raises(InputError, match="anew"):
        FrameCache(tmp_path)


def test_photos_are_resized_with_their_boxes(tmp_path):
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 80:120] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image).save(tmp_path / "b.png")
    rows = [Row("a.png", (80, 40, 120, 60), ref, number) for number, ref in enumerate(["the sign", "a sign"])]
    with_rows, without = photo_frames(rows, tmp_path, (400, 200), others=["b.png"])
    assert with_rows.size == (400, 200) and without.rows == []
    assert [thing for _, _, thing in with_rows.rows] == [0, 0]  # equal boxes are one thing
    x1, y1, x2, y2 = with_rows.rows[0][1].astype(int)
    assert (x1, y1, x2, y2) == (160, 80, 240, 120)
    assert with_rows.image[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3].min() > 250


def test_histories_follow_the_path_and_stop_at_its_end():
    target, size = np.array([700.0, 400.0, 725.0, 420.0]), (2048, 1152)
    length = len(plan_windows(target, size, PathConfig()))
    stops = 0
    for seed in range(60):
        sample = draw_history(target, size, PathConfig(), np.random.default_rng(seed))
        done = len(sample.boxes_xywh) - 1
        assert sample.boxes_xywh[0].tolist() == [0, 0, *size]
        assert sample.progress == pytest.approx(done / length) and sample.stop == (done == length)
        stops += sample.stop
    assert 5 < stops < 50


def test_histories_of_objects_stop_at_the_last_window_only():
    target, size = np.array([700.0, 400.0, 725.0, 420.0]), (2048, 1152)
    config = PathConfig(answers="object", max_zoom=4.0)
    length = len(plan_windows(target, size, config))
    ended = set()
    for seed in range(100):
        boxes = (sample := draw_history(target, size, config, np.random.default_rng(seed))).boxes_xywh
        tight = bool(boxes[-1][2] < 50)  # the last box is the object, not a window
        assert sample.stop == (tight and len(boxes) == length + 1)
        ended.add((tight, len(boxes)))
    assert ended == {(True, n) for n in range(2, length + 2)} | {(False, n) for n in range(1, length + 1)}


def test_scenes_lend_each_other_sentences_that_are_true_of_nothing():
    frames = list(scene_frames(range(7, 10), (2048, 1152), shrink=2, num_absent=3, workers=1))
    assert len(frames) == 3 and all(frame.size == (1024, 576) for frame in frames)
    sentences_of = [{ref for ref, _, _ in frame.rows} for frame in frames]
    for number, frame in enumerate(frames):
        assert len(frame.absent) == 3 and not set(frame.absent) & sentences_of[number]
        assert set(frame.absent) <= set().union(*sentences_of)
    (alone,) = scene_frames([7], (2048, 1152), shrink=2, workers=1)
    assert (alone.image == frames[0].image).all() and not alone.absent


def test_attributes_and_relevance_are_kept(tmp_path):
    (frame,) = scene_frames([7], (2048, 1152), shrink=4, workers=1, max_sentences=5)
    write_frame_cache(tmp_path, 1, (512, 288), [frame])
    read = FrameCache(tmp_path)[0]
    assert len(frame.rows) == 5 and read.attributes == frame.attributes
    assert all(any(word.startswith("category=") for word in words) for words in read.attributes)
    np.testing.assert_allclose(read.objects, frame.objects, atol=0.01)
    for written, again in zip(frame.relevance, read.relevance, strict=True):
        assert (written == again).all() and len(again) == len(read.objects)
