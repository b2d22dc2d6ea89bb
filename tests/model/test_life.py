"""A model in a program: used from threads, pickled, in another number type."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import piza
from piza.errors import InputError
from piza.methods.context import current_embedding, zoom_embedding
from piza.model import accelerate
from piza.model.io import save_folder

IMAGES = [np.random.default_rng(seed).integers(0, 255, (200, 320, 3), dtype=np.uint8) for seed in range(4)]
SENTENCES = ["the red car", "a round sign", "the blue car left of the sign", "the number"]
TASKS = [(image, sentence) for image in range(4) for sentence in range(4)]


def answers(model, tasks):
    found = [model.locate(IMAGES[image], SENTENCES[sentence], max_looks=3) for image, sentence in tasks]
    return [(*one.box_xyxy, one.score) for one in found]


@pytest.mark.parametrize("name", ["tiny_piza", "tiny_listing_piza"])
@pytest.mark.parametrize("accelerated", [False, True])
def test_eight_threads_get_the_answers_of_one(name, accelerated, request):
    model = pickle.loads(pickle.dumps(request.getfixturevalue(name)))
    if accelerated:
        accelerate.apply(model)
    want = answers(model, TASKS)
    together = threading.Barrier(8)

    def work(number):
        together.wait()
        # Each thread in an order of its own, with sentences that no thread has tokenized before.
        model.encode_text([f"the red car number {number} {step}" for step in range(20)])
        order = np.random.default_rng(number).permutation(len(TASKS))
        found = answers(model, [TASKS[at] for at in order])
        return {int(at): one for at, one in zip(order, found, strict=True)}

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            np.testing.assert_allclose([found[at] for at in range(len(TASKS))], want, atol=1e-4)


def test_a_thread_does_not_see_anothers_zoom_embedding():
    seen, entered, asked = [], threading.Event(), threading.Event()

    def hold():
        with zoom_embedding(torch.ones(1, 2)):
            entered.set()
            asked.wait(10)
            seen.append(current_embedding().sum().item())

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    with pytest.raises(RuntimeError, match="zoom_embedding"):
        current_embedding()
    with zoom_embedding(torch.zeros(1, 2)):
        asked.set()
        thread.join(10)
        assert seen == [2.0] and current_embedding().sum() == 0


@pytest.mark.parametrize("name", ["tiny_piza", "tiny_listing_piza"])
@pytest.mark.parametrize("accelerated", [False, True])
def test_a_pickled_model_answers_the_same(name, accelerated, request):
    model = request.getfixturevalue(name)
    model = pickle.loads(pickle.dumps(model))
    if accelerated:
        accelerate.apply(model)
    want = answers(model, TASKS[:3])  # and with all caches filled
    again = pickle.loads(pickle.dumps(model))
    assert [type(module) for module in again.modules()] == [type(module) for module in model.modules()]
    np.testing.assert_array_equal(answers(again, TASKS[:3]), want)


def test_a_copy_and_a_pickle_know_the_same_words(tiny_piza):
    model = copy.deepcopy(tiny_piza)
    model.prompter.known_words = {"the": 9, "red": 8}
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again.locate(IMAGES[0], "the red zorgle", max_looks=1).unknown_words == ["zorgle"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_type_of_torch_changes_no_answer(dtype, tiny_piza, tmp_path):
    save_folder(tiny_piza, tmp_path)
    want = answers(piza.load(str(tmp_path)), TASKS[:2])
    torch.set_default_dtype(dtype)
    try:
        model = piza.load(str(tmp_path))
        assert {one.dtype for one in model.parameters()} == {torch.float32}
        np.testing.assert_allclose(answers(model, TASKS[:2]), want, atol=0.05)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_default_device_where_the_model_is_not(tiny_piza):
    with torch.device("meta"), pytest.raises(InputError, match="'meta', but the model is on 'cpu'"):
        tiny_piza.locate(IMAGES[0], SENTENCES[0])
    with torch.device("meta"), pytest.raises(InputError, match="'meta'"):
        piza.load("mini", "cpu")


@pytest.mark.parametrize("name", ["tiny_piza", "tiny_listing_piza"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_the_precision_is_near(name, dtype, request):
    model = pickle.loads(pickle.dumps(request.getfixturevalue(name)))
    accelerate.apply(model)
    texts, window = model.encode_text(SENTENCES[:1]), IMAGES[0][:96, :96]
    want = model.first_look(texts, model.encode_frame(window), 0.0)[0]
    model.to(dtype)
    texts = model.encode_text(SENTENCES[:1])
    got = model.first_look(texts, model.encode_frame(window), 0.0)[0]
    assert got.scores[0] == pytest.approx(want.scores[0], abs=0.05)
    result = model.locate(IMAGES[0], SENTENCES[0], max_looks=2)
    assert 0 <= result.score <= 1 and np.isfinite(result.box_xyxy).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_embedded_model_in_half_the_precision(dtype):
    model = piza.load("mini")
    with torch.autocast("cpu", dtype):
        around = model.locate(IMAGES[0], SENTENCES[0])
    want = model.locate(IMAGES[0], SENTENCES[0])
    got = model.to(dtype).locate(IMAGES[0], SENTENCES[0])
    assert model.dtype == dtype and got.score == pytest.approx(want.score, abs=0.1)
    assert around.score == pytest.approx(want.score, abs=0.1) and got.num_looks > 1


@pytest.mark.parametrize("name", ["tiny_piza", "tiny_listing_piza"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_a_search(name, dtype, request):
    model = request.getfixturevalue(name)
    want = model.locate(IMAGES[0], SENTENCES[0], max_looks=2)
    with torch.autocast("cpu", dtype):
        got = model.locate(IMAGES[0], SENTENCES[0], max_looks=2)
    assert got.score == pytest.approx(want.score, abs=0.1) and np.isfinite(got.box_xyxy).all()
