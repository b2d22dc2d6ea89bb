"""The same sentences about many images."""

import itertools

import fsspec
import numpy as np
import pytest
from tests.batch.fake_model import FakeModel, make_image

import piza
from piza.errors import InputError
from piza.grounders.base import GrounderSearch
from piza.search.locate_many import locate_many

SENTENCES = ["the red car", "the dog"]


@pytest.fixture
def photos(tmp_path):
    for name in ("1.png", "2.png", "10.png"):
        make_image(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_all_sentences_of_an_image_are_asked_together(photos):
    model = FakeModel()
    found = list(locate_many(model, photos, SENTENCES, min_score=0.5))
    assert [f.name for f in found] == [str(photos / name) for name in ("1.png", "2.png", "10.png")]
    assert model.asked == [SENTENCES] * 3
    assert [[r.found for r in f.results] for f in found] == [[True, False]] * 3
    (one, *_) = locate_many(model, photos, "the red car")
    assert [r.expression for r in one.results] == ["the red car"]


def test_a_model_has_it_as_a_method(photos, tiny_piza):
    asked = list(tiny_piza.locate_many(photos, SENTENCES, max_looks=1))
    searched = GrounderSearch(lambda image, sentence: (np.zeros((0, 4)), np.zeros(0)))
    assert [one.name for one in asked] == [one.name for one in searched.locate_many(photos, SENTENCES)]
    results = tiny_piza.locate(photos / "1.png", SENTENCES, max_looks=1)
    assert [one.box_xyxy for one in asked[0].results] == [one.box_xyxy for one in results]


def test_images_are_asked_about_when_their_turn_comes(photos):
    model = FakeModel()
    found = locate_many(model, photos, SENTENCES)
    assert model.asked == []
    next(found)
    assert len(model.asked) == 1


def test_memory_is_flat(photos):
    model = FakeModel()
    assert len(list(locate_many(model, photos, SENTENCES))) == 3 and model.alive == [1, 1, 1]
    model = FakeModel()
    pixels = (np.zeros((48, 64, 3), np.uint8) for _ in range(20))
    kept = [result for found in locate_many(model, pixels, SENTENCES) for result in found.results]
    assert len(kept) == 40 and max(model.alive) <= 2
    with pytest.raises(InputError, match="no longer held"):
        _ = kept[0].image
    pixels = (np.zeros((48, 64, 3), np.uint8) for _ in range(3))
    kept = [found.results[0] for found in locate_many(model, pixels, SENTENCES, keep_image=True)]
    assert kept[0].image.shape == (48, 64, 3)


def test_results_of_files_can_be_drawn_later(photos):
    found = list(locate_many(FakeModel(), photos, "the dog"))
    assert found[0].results[0].draw().width > 64


def test_images_behind_addresses_can_be_drawn_in_their_turn(photos, tmp_path):
    system = fsspec.filesystem("memory")
    system.pipe({f"/drawn/{name}": (photos / name).read_bytes() for name in ("1.png", "2.png")})
    try:
        written = piza.write(
            piza.locate_many("memory://drawn", SENTENCES, model=FakeModel()), tmp_path / "drawings"
        )
    finally:
        system.rm("/drawn", recursive=True)
    assert written.answers == len(list((tmp_path / "drawings").iterdir())) == 4


def test_an_image_that_cannot_be_read_is_a_record(photos):
    (photos / "3.png").write_bytes(b"no image")
    given = [photos, photos / "gone.png"]
    found = list(locate_many(FakeModel(), given, SENTENCES))
    assert [bool(f.error) for f in found] == [False, False, True, False, True]
    assert (
        "is not an image" in found[2].error and "does not exist" in found[4].error and found[2].results == []
    )
    with pytest.raises(InputError, match="is not an image"):
        list(locate_many(FakeModel(), given, SENTENCES, on_error="raise"))


def test_a_search_that_fails_later_is_a_record(photos):
    make_image(photos / "3.png", (13, 13))
    found = list(locate_many(FakeModel(), photos, SENTENCES))
    assert [f.error for f in found] == [None, None, "the service does not answer", None]


def test_what_is_wrong_with_all_images_is_an_error(photos, tmp_path):
    with pytest.raises(InputError, match="no words"):
        list(locate_many(FakeModel(), photos, "..."))
    with pytest.raises(InputError, match="no image"):
        (tmp_path / "empty").mkdir()
        list(locate_many(FakeModel(), tmp_path / "empty", "the dog"))
    with pytest.raises(InputError, match="on_error"):
        locate_many(FakeModel(), photos, "the dog", on_error="ignore")
    with pytest.raises(InputError, match="got none"):
        locate_many(FakeModel(), photos, [])


def test_from_the_package(photos, monkeypatch):
    model = FakeModel()
    assert len(list(piza.locate_many(photos, SENTENCES, model=model))) == 3
    loaded = []
    monkeypatch.setattr(piza, "_models", {})
    monkeypatch.setattr(piza, "load", lambda name, device: loaded.append((name, device)) or model)
    for _ in range(2):
        assert len(list(itertools.islice(piza.locate_many(photos, "the dog", device="cuda"), 2))) == 2
    assert loaded == [("mini", "cuda")]


@pytest.mark.parametrize("sentences", [None, 5, {"the dog": 1}, b"the dog", ["the dog", None]])
def test_what_is_no_sentence_is_refused_at_once(sentences):
    with pytest.raises(InputError, match=r"expected a (list of sentences|sentence)"):
        locate_many(FakeModel(), "photos", sentences)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [(None, {}, "expected a model"), (FakeModel(), {"recursive": "no"}, "recursive: expected true or false")],
)
def test_what_is_no_model_or_flag_is_refused_at_once(model, options, words):
    with pytest.raises(InputError, match=words):
        locate_many(model, "photos", "the dog", **options)
