"""The search with any grounder: fakes that see as little as an untrained detector, random detectors, a fake endpoint."""

import base64
import io
import json
import logging
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

import piza
from piza.boxes import iou_xyxy
from piza.cli import main as cli
from piza.config import SearchConfig, ZoomPolicy
from piza.errors import InputError
from piza.grounders.base import (
    SEARCH,
    GrounderSearch,
    checked,
    input_size_of,
    load_grounder,
    locate_with,
    quarters_of,
)
from piza.grounders.transformers import inside, prompt, transformers_grounder
from piza.grounders.vlm import ChatBox, boxes_in, chat_grounder
from piza.model.io import load_folder

FRAME = (2000, 1500)
RED = (1620, 410, 1634, 426)  # 14 x 16 pixels of the frame


@pytest.fixture(scope="module")
def picture():
    """A gray picture with a red thing of 14 x 16 pixels."""
    pixels = np.full((FRAME[1], FRAME[0], 3), 90, np.uint8)
    paint(pixels, RED, (255, 0, 0))
    return pixels


def paint(pixels, box, color):
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = color


def red_seer(least, asked=None):
    """Sees the red thing in a picture where it is at least `least` pixels wide, as a detector does."""

    def ground(picture, sentence):
        if asked is not None:
            asked.append((picture.shape, picture.dtype, sentence))
        ys, xs = np.nonzero((picture[..., 0] > 170) & (picture[..., 1] < 50))
        if len(xs) == 0 or xs.max() + 1 - xs.min() < least:
            return np.zeros((0, 4)), np.zeros(0)
        return np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]), np.array([0.8])

    return ground


def test_zooming_finds_what_the_frame_is_too_small_for(picture):
    asked = []
    result = locate_with(red_seer(12, asked), picture, "the red thing")
    assert iou_xyxy(result.box_xyxy, RED) > 0.8
    assert result.score > 0.6 and result.stopped == "no_shrink"
    assert result.num_looks == len(asked) <= SEARCH.budget
    assert result.windows[0] == (0, 0, *FRAME) and len(result.path) >= 3  # frame, quarter, closer
    assert len(result.path) + len(result.detours) == result.num_looks
    for shape, dtype, sentence in asked:
        assert dtype == np.uint8 and shape[2] == 3 and sentence == "the red thing"
        assert shape[0] * shape[1] <= 1024 * 1024
    result.draw()
    json.dumps(result.to_dict())


def test_without_zooming_it_is_not_found(picture):
    grounder = red_seer(12)
    for result in (
        locate_with(grounder, picture, "the red thing", SearchConfig(budget=1)),
        locate_with(grounder, picture, "the red thing", zoom=ZoomPolicy(quarters=False)),
        GrounderSearch(grounder).locate(picture, "the red thing", whole_frame=True),
    ):
        assert result.stopped == "nothing" and result.score == 0 and result.num_looks == 1
        assert result.box_xyxy == (0, 0, *FRAME) and len(result.path) == 1


def test_an_answer_below_the_wanted_score_is_not_found(picture):
    search = GrounderSearch(red_seer(5))
    score = search.locate(picture, "the red thing").score
    found, lost = (search.locate(picture, ["the red thing"], min_score=least)[0] for least in (score, 0.99))
    assert found.found and not lost.found and lost.box_xyxy == found.box_xyxy
    assert not locate_with(red_seer(12), picture, "it", SearchConfig(budget=1), min_score=0.01).found
    with pytest.raises(InputError, match="min_score: expected"):
        search.locate(picture, "the red thing", min_score=2)


def test_what_the_frame_shows_needs_few_looks(picture):
    result = locate_with(red_seer(5), picture, "the red thing")
    assert (
        result.num_looks <= 3 and iou_xyxy(result.box_xyxy, RED) > 0.9
    )  # its size is not quite right in the frame
    first, last = result.windows[0], result.windows[-1]
    assert last[2] - last[0] == pytest.approx(8 * np.sqrt(14 * 16), rel=0.2)
    assert first[2] > last[2]


def test_it_comes_back_from_a_wrong_window(picture):
    seer = red_seer(5)

    def misled(window, sentence):
        """In the frame surer of a spot that turns out to be nothing."""
        boxes, scores = seer(window, sentence)
        if window.shape[1] > 1000:  # only the frame is that wide
            wrong = [[100, 700, 120, 720]]
            return np.concatenate([boxes, wrong]), np.array([0.3, 0.9])
        return boxes, scores

    result = locate_with(misled, picture, "the red thing")
    assert iou_xyxy(result.box_xyxy, RED) > 0.9
    assert result.num_looks <= 4 and len(result.detours) == 1
    greedy = GrounderSearch(misled).locate(picture, ["the red thing"], greedy=True)[0]
    assert greedy.stopped == "nothing" and greedy.num_looks == 2


def test_a_better_box_of_the_last_look_is_not_lost(picture):
    """The looks end just after the thing was seen for the first time; before, something worse was an answer."""
    seer = red_seer(12)

    def doubtful(window, sentence):
        boxes, scores = seer(window, sentence)
        if len(scores) == 0 and window.shape[1] > 1000:
            return np.array([[0, 0, 600, 600]]), np.array([0.2])  # large, so an answer at once
        return boxes, scores

    result = locate_with(
        doubtful, picture, "the red thing", SearchConfig(budget=3, top_k=44, evidence=SEARCH.evidence)
    )
    assert result.stopped == "budget" and iou_xyxy(result.box_xyxy, RED) > 0.5
    assert result.rejected and result.score > result.rejected[0][1]


def test_one_window_is_never_looked_at_twice(picture):
    rng = np.random.default_rng(0)

    def many(window, sentence):
        corner = rng.uniform(0, 0.8, (12, 2)) * window.shape[1::-1]
        return np.concatenate([corner, corner + 30], 1), rng.uniform(0.05, 0.5, 12)

    result = locate_with(
        many, picture, "a thing", SearchConfig(budget=20, top_k=44, evidence=SEARCH.evidence)
    )
    windows = result.windows + result.detours
    assert len(set(windows)) == len(windows) == result.num_looks


numbers = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), max_size=6), min_size=1, max_size=6
    ),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from([1, 2, 44]),
    st.floats(0, 1),
    st.booleans(),
    st.sampled_from([(900, 900), (1500, 300), (40, 30), (1, 1)]),
)
def test_it_ends_for_any_answers(answers, budget, max_looks, top_k, accept_threshold, quarters, size):
    calls = []

    def anything(picture, sentence):
        calls.append(1)
        height, width = picture.shape[:2]
        rows = np.array(answers[len(calls) % len(answers)], dtype=float).reshape(-1, 5)
        corners = np.sort(rows[:, :4].reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        return (2 + corners * 2 * np.array([width, height] * 2)).clip(0, [width, height] * 2), rows[:, 4]

    config = SearchConfig(budget, accept_threshold, top_k, max_looks, evidence=SEARCH.evidence)
    zoom = ZoomPolicy(quarters=quarters, max_pixels=64 * 64, min_pixels=32 * 32)
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    result = locate_with(anything, frame, "a thing", config, zoom)
    assert 1 <= result.num_looks == len(calls) <= budget
    assert 1 <= len(result.path) <= max_looks
    assert result.stopped in ("max_looks", "no_shrink", "budget", "nothing")
    assert 0 <= result.score <= 1
    x1, y1, x2, y2 = result.box_xyxy
    assert 0 <= x1 < x2 <= size[0] + 1e-9 and 0 <= y1 < y2 <= size[1] + 1e-9
    sides = [np.sqrt((w[2] - w[0]) * (w[3] - w[1])) for w in result.windows]
    assert all(after < before for before, after in zip(sides, sides[1:]))


BOX = [[1.0, 2.0, 30.0, 40.0]]
BAD = {
    "none": (None, "NoneType"),
    "boxes only": (np.array(BOX), "ndarray"),
    "three parts": ((BOX, [0.5], ["a"]), "3 parts"),
    "words": (("a box", "sure"), "no array of numbers"),
    "ragged": (([[1, 2, 3], [1, 2, 3, 4]], [0.5, 0.5]), "no array of numbers"),
    "flat": ((BOX[0], [0.5]), r"\(4,\)"),
    "fewer scores": ((BOX * 2, [0.5]), r"\(2, 4\) and \(1,\)"),
    "scores without boxes": ((np.zeros((0, 4)), [0.5]), r"\(0, 4\)"),
    "not a number": (([[1, 2, np.nan, 40]], [0.5]), "finite.*nan"),
    "endless": (([[1, 2, np.inf, 40]], [0.5]), "finite.*inf"),
    "inverted": (([[30, 2, 1, 40]], [0.5]), "left, top, right, bottom.*30, 2, 1, 40"),
    "outside": (([[1, 2, 3000, 40]], [0.5]), "inside the image.*3000"),
    "far to the left": (([[-300, 2, -200, 40]], [0.5]), "inside the image.*-300"),
    "normalized": (([[0.1, 0.2, 0.3, 0.4]], [0.5]), "between 0 and 1"),
    "percent": ((BOX, [95]), "scores from 0 to 1, got 95"),
    "a score that is no number": ((BOX, [np.nan]), "scores.*nan"),
}


@pytest.mark.parametrize("answer, said", BAD.values(), ids=BAD)
def test_a_bad_answer_is_refused_in_one_sentence(answer, said):
    frame = np.zeros((300, 400, 3), np.uint8)
    with pytest.raises(InputError, match=said) as told:
        locate_with(lambda picture, sentence: answer, frame, "the car")
    assert "expected a grounder that answers with" in str(told.value) and "\n" not in str(told.value)


def test_what_is_slightly_outside_is_cut_off():
    boxes, scores = checked(([[-5, 1, 105, 50], [3, 3, 3, 9], [0, 0, 8, 8]], [0.5, 0.9, 0.2]), (100, 100))
    assert boxes.tolist() == [[0, 1, 100, 50], [0, 0, 8, 8]] and scores.tolist() == [0.5, 0.2]
    for nothing in (([], []), (np.zeros((0, 4)), np.zeros(0)), [[], np.zeros((0, 1))]):
        assert checked(nothing, (100, 100))[0].shape == (0, 4)


def test_bad_settings_and_sentences():
    frame, seer = np.zeros((30, 40, 3), np.uint8), red_seer(1)
    for sentence in ("", "  ", None, ["the car", ""]):
        with pytest.raises(InputError, match="sentence"):
            locate_with(seer, frame, sentence)
    with pytest.raises(InputError, match="budget"):
        locate_with(seer, frame, "the car", budget=0)
    for zoom in ({"context": 0}, {"overlap": 1}, {"prior": 2}, {"max_pixels": 100}):
        with pytest.raises(InputError, match=next(iter(zoom))):
            locate_with(seer, frame, "the car", zoom=ZoomPolicy(**zoom))
    with pytest.raises(RuntimeError, match="my own"):  # what a grounder raises comes through
        locate_with(lambda *_: (_ for _ in ()).throw(RuntimeError("my own")), frame, "the car")


def test_quarters_and_sizes():
    zoom = ZoomPolicy()
    quarters = quarters_of(np.array([100.0, 0.0, 1000.0, 900.0]), zoom)
    np.testing.assert_allclose(quarters[0], [100, 0, 600, 500])
    np.testing.assert_allclose(quarters[3], [500, 400, 1000, 900])  # 100 of 500 pixels overlap
    assert len(quarters_of(np.array([0.0, 0.0, 450.0, 450.0]), zoom)) == 0
    assert input_size_of(np.array([0.0, 0.0, 600.0, 500.0]), zoom) == (600, 500)  # its own pixels
    assert input_size_of(np.array([0.0, 0.0, 64.0, 64.0]), zoom) == (448, 448)
    width, height = input_size_of(np.array([0.0, 0.0, 8000.0, 2000.0]), zoom)
    assert width * height <= 1024**2 and width / height == pytest.approx(4, rel=0.01)
    assert input_size_of(np.array([0.0, 0.0, 1.0, 5000.0]), zoom)[0] >= 1


def test_the_package_offers_it():
    assert piza.locate_with is locate_with and "locate_with" in piza.__all__


# transformers: small random detectors, written to folders as the hub's are


@pytest.fixture(scope="module")
def detectors(tmp_path_factory, tiny_tokenizer):
    """Folders by model type. The types of the processors are written as on the hub, where most were made with torchvision."""
    pytest.importorskip("scipy")
    from tests.conftest import tiny_detector
    from transformers import (
        CLIPTokenizer,
        GroundingDinoProcessor,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2Processor,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    folders = {}
    for kind, family in (("mm-grounding-dino", "mm"), ("grounding-dino", "gd")):
        folders[kind] = tmp_path_factory.mktemp(kind)
        tiny_detector(family).save_pretrained(folders[kind])
        size = {"shortest_edge": 128, "longest_edge": 192}
        GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=size), tiny_tokenizer).save_pretrained(
            folders[kind]
        )

    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    vocab = {word: i for i, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    config = Owlv2Config(
        text_config=dict(vocab_size=54, bos_token_id=52, eos_token_id=53, pad_token_id=0, **small),
        vision_config=dict(image_size=64, patch_size=16, **small),
        projection_dim=32,
    )
    folders["owlv2"] = tmp_path_factory.mktemp("owlv2")
    owl = Owlv2ForObjectDetection(config)
    owl.box_head.dense2.weight.data.zero_()  # boxes of a cell each; random ones would be as thin as 1e-9
    owl.save_pretrained(folders["owlv2"])
    pictures = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    Owlv2Processor(pictures, CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)).save_pretrained(
        folders["owlv2"]
    )
    for folder in folders.values():
        file = folder / "processor_config.json"
        file.write_text(re.sub(r"ImageProcessor(Pil|Fast)\b", "ImageProcessor", file.read_text()))
    return folders


@pytest.mark.parametrize("kind", ["mm-grounding-dino", "grounding-dino", "owlv2"])
def test_a_random_detector_is_a_grounder(detectors, kind):
    grounder = transformers_grounder(detectors[kind], threshold=0.01)
    noise = np.random.default_rng(0).integers(0, 256, (300, 520, 3), dtype=np.uint8)
    boxes, scores = grounder(noise, "the red car")
    assert len(boxes) == len(scores) > 0 and boxes.shape[1] == 4
    np.testing.assert_array_equal(checked((boxes, scores), (520, 300))[0], boxes)
    result = locate_with(grounder, noise, "the red car", SearchConfig(budget=3, top_k=44))
    assert result.num_looks <= 3 and result.stopped != "nothing"


def test_detectors_are_asked_as_they_were_trained():
    assert prompt(" The RED car, left. Of  a sign", "mm-grounding-dino") == "the red car, left of a sign."
    assert prompt("The red  car.", "owlv2") == "The red car."


def test_boxes_of_a_detector_are_clipped_and_cleaned():
    boxes = np.array([[-9, 2, 30, 40], [60, 2, 70, 40], [3, 3, 3.5, 40], [1, 2, np.nan, 4]])
    boxes, scores = inside(boxes, np.array([0.5, 0.6, 0.7, 0.8]), (45, 50))
    assert boxes.tolist() == [[0, 2, 30, 40]] and scores.tolist() == [0.5]


def test_a_sentence_too_long_for_the_detector(detectors):
    grounder = transformers_grounder(detectors["owlv2"])
    with pytest.raises(InputError, match="at most 16; shorten it"):
        grounder(np.zeros((40, 40, 3), np.uint8), "the red car left of the round sign with a number")


def test_folders_that_hold_no_detector(detectors, tiny_tokenizer, tmp_path):
    with pytest.raises(InputError, match="no model 'gone'"):
        transformers_grounder("gone")
    with pytest.raises(InputError, match="no detector"):
        transformers_grounder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="'bert' model; expected a zero-shot detector"):
        transformers_grounder(tmp_path)
    (tmp_path / "config.json").write_text((detectors["grounding-dino"] / "config.json").read_text())
    tiny_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError):
        transformers_grounder(tmp_path)
    with pytest.raises(InputError, match="device"):
        transformers_grounder(detectors["owlv2"], device="abacus")


@pytest.mark.parametrize("read", [transformers_grounder, load_folder])
def test_weights_of_a_detector_that_lack_or_do_not_fit(
    detectors, tiny_tokenizer, tmp_path, caplog, monkeypatch, read
):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    folder = tmp_path / "damaged"
    shutil.copytree(detectors["grounding-dino"], folder)
    tiny_tokenizer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    name = next(
        name for name in sorted(weights) if name.startswith("model.encoder.") and weights[name].ndim == 2
    )
    for damaged, wrong in (
        ({key: value for key, value in weights.items() if key != name}, f"lacks the weight {name} "),
        (
            {**weights, name: weights[name][:-1].clone()},
            f"{name} has another shape than the model: expected ",
        ),
    ):
        save_file(damaged, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=re.escape(wrong)):
            read(folder)
    assert not caplog.records


def test_no_code_of_a_detector_is_run(tmp_path, monkeypatch):
    code = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nclass Config:\n    pass\n"
    (tmp_path / "own.py").write_text(code)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}})
    )
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether code may run"))
    with pytest.raises(InputError):
        transformers_grounder(tmp_path)
    assert not list(tmp_path.rglob("ran"))


# a fake endpoint


class Endpoint:
    """An OpenAI-compatible server that says what it is told, or calls it with the picture and the question."""

    def __init__(self):
        self.asked, self.headers = [], []
        self.says, self.status, self.body, self.location = "", 200, None, None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append((self.path, asked))
                endpoint.headers.append(dict(self.headers))
                says = endpoint.says(*unpack(asked)) if callable(endpoint.says) else endpoint.says
                body = endpoint.body
                if body is None:
                    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": says}}]})
                self.send_response(endpoint.status)
                if endpoint.location:
                    self.send_header("Location", endpoint.location)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()


def unpack(asked):
    text, image = asked["messages"][0]["content"]
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64" and image["type"] == "image_url" and text["type"] == "text"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), text["text"]


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


GRAY = np.full((40, 80, 3), 90, np.uint8)


def test_a_chat_model_is_a_grounder(endpoint, picture):
    seer = red_seer(12)

    def says(window, question):
        assert "the red thing" in question
        assert f"{window.shape[1]} wide and {window.shape[0]} high" in question
        boxes, _ = seer(window, question)
        if len(boxes) == 0:
            return 'I cannot see it. {"bbox_2d": null, "confidence": 0}'
        return "Here:\n```json\n" + json.dumps([{"bbox_2d": boxes[0].tolist(), "confidence": 0.8}]) + "\n```"

    endpoint.says = says
    result = locate_with(chat_grounder(endpoint.url + "/", "seer-7b", "sk-secret"), picture, "the red thing")
    assert iou_xyxy(result.box_xyxy, RED) > 0.7 and result.num_looks == len(endpoint.asked) > 2
    path, asked = endpoint.asked[0]
    assert path == "/v1/chat/completions" and asked["model"] == "seer-7b"
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-secret"


def test_thousandths(endpoint):
    endpoint.says = '{"bbox_2d": [250, 500, 1000, 1010]}'
    boxes, scores = chat_grounder(endpoint.url, "m", coordinates="thousandths")(GRAY, "a thing")
    assert boxes.tolist() == [[20, 20, 80, 40]] and scores.tolist() == [0.5]
    assert "thousandths" in unpack(endpoint.asked[0][1])[1] and "Authorization" not in endpoint.headers[0]
    with pytest.raises(InputError, match=r"not in pixels.*may count in thousandths"):
        chat_grounder(endpoint.url, "m")(GRAY, "a thing")


ANSWERS = {
    '{"bbox_2d": [1, 2, 3, 4], "confidence": 0.9}': [ChatBox([1, 2, 3, 4], 0.9)],
    '```json\n{"box": [1, 2, 3, 4], "score": "95 %"}\n```': [ChatBox([1, 2, 3, 4], 0.95)],
    'It is [here], I think: {"bbox": ["1", 2.5, 3, 4], "confidence": 80}.': [ChatBox([1, 2.5, 3, 4], 0.8)],
    '[{"box_2d": [1, 2, 3, 4], "label": "a"}, {"box_2d": [5, 6, 7, 8], "confidence": 0.1}]': [
        ChatBox([2, 1, 4, 3], 0.5, thousandths=True),
        ChatBox([6, 5, 8, 7], 0.1, thousandths=True),
    ],
    '{"objects": [{"bbox": [1, 2, 3, 4], "confidence": "high"}]}': [ChatBox([1, 2, 3, 4], 0.5)],
    "[1, 2, 3, 4]": [ChatBox([1, 2, 3, 4], 0.5)],
    '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "confidence": 1}': [
        ChatBox([1, 2, 3, 4], 1),
        ChatBox([5, 6, 7, 8], 1),
    ],
    '<think>[9, 9, 9, 9]?</think>{"box": [1, 2, 3, 4]}': [ChatBox([1, 2, 3, 4], 0.5)],
    '{"size": [80, 40]} {"box": [1, 2, 3, 4]}': [ChatBox([1, 2, 3, 4], 0.5)],
    '{"bbox_2d": null, "confidence": 0}': [],
    '{"box": "none"}': [],
    '{"box": []}': [],
    "```json\nnull\n```": [],
    "[]": [],
    "": None,
    "I cannot see it.": None,
    '{"answer": "left"}': None,
    '{"bbox_2d": [1, 2, 3]}': None,
    '{"bbox_2d": [1, 2, NaN, 4]}': None,
    '{"bbox_2d": [1, 2, 3, 4]': [ChatBox([1, 2, 3, 4], 0.5)],  # cut off; the list in it is whole
    '{"box_2d": [1, 2, 3, 4]': [ChatBox([2, 1, 4, 3], 0.5, thousandths=True)],
    '{"box_2d": {"box_2d": [1, 2, 3, 4]}}': [ChatBox([2, 1, 4, 3], 0.5, thousandths=True)],
    "[" * 5000: None,
}


@pytest.mark.parametrize("said, found", ANSWERS.items(), ids=range(len(ANSWERS)))
def test_boxes_are_read_out_of_what_a_model_says(said, found):
    assert boxes_in(said) == found


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('[]{}",:0129 abox_2d.null-e'), max_size=60))
def test_reading_never_breaks(said):
    found = boxes_in(said)
    assert found is None or all(len(box.xyxy) == 4 and 0 <= box.score <= 1 for box in found)


@pytest.mark.parametrize("box", [[30, 20, 10, 2], [30, 2, 10, 20], [10, 20, 30, 2]])
def test_corners_of_a_chat_model_are_put_in_order(endpoint, box):
    endpoint.says = json.dumps({"bbox_2d": box})
    assert chat_grounder(endpoint.url, "m")(GRAY, "a car")[0].tolist() == [[10, 2, 30, 20]]
    endpoint.says = '[{"box": [30, 2, 30, 20]}, {"box": [10, 2, 30, 20]}]'  # one without an area
    assert chat_grounder(endpoint.url, "m")(GRAY, "a car")[0].tolist() == [[10, 2, 30, 20]]


@pytest.mark.parametrize("coordinates", ["pixels", "thousandths"])
def test_box_2d_is_y_first_and_in_thousandths(endpoint, coordinates):
    grounder = chat_grounder(endpoint.url, "m", coordinates=coordinates)
    endpoint.says = '{"box_2d": [100, 250, 500, 750], "confidence": 0.7}'
    boxes, scores = grounder(GRAY, "a car")
    assert boxes.tolist() == [[20, 4, 60, 20]] and scores.tolist() == [0.7]
    endpoint.says = '{"box_2d": [500, 750, 100, 250]}'
    assert grounder(GRAY, "a car")[0].tolist() == [[20, 4, 60, 20]]
    endpoint.says = '{"box_2d": [100, 250, 1500, 750]}'
    with pytest.raises(
        InputError, match=r"'box_2d' as \[ymin, xmin, ymax, xmax\] from 0 to 1000, got .*1500"
    ):
        grounder(GRAY, "a car")


KEY = "sk-very-secret"


def refused(endpoint, said, timeout=60):
    with pytest.raises(InputError, match=said) as told:
        chat_grounder(endpoint.url, "m", KEY, timeout=timeout)(GRAY, "a thing")
    assert KEY not in str(told.value) and "\n" not in str(told.value) and told.value.__cause__ is None


def test_errors_of_an_endpoint_are_one_sentence_without_the_key(endpoint):
    endpoint.says = "I cannot help with that."
    refused(endpoint, "chat model 'm' at 127.0.0.1:.*without a box in JSON: 'I cannot help")
    for body in (
        "",
        "<html>",
        "{}",
        '{"choices": []}',
        '{"choices": [{"message": {"content": null}}]}',
        "[1]",
    ):
        endpoint.body = body
        refused(endpoint, "OpenAI-compatible")
    endpoint.status = 401
    endpoint.body = json.dumps({"error": {"message": "x" * 195 + f" Bearer {KEY} is not known"}})
    refused(endpoint, "HTTP error 401: xxx")
    endpoint.body = json.dumps({"error": {"message": f"the key {KEY} is not known"}})
    refused(endpoint, r"HTTP error 401: the key \*\*\* is not known")
    endpoint.status, endpoint.body = 500, "oops"
    refused(endpoint, "HTTP error 500: Internal Server Error")


def test_the_key_is_not_sent_along_a_redirect(endpoint):
    endpoint.status, endpoint.location = 302, endpoint.url + "/elsewhere"
    refused(endpoint, "HTTP error 302")
    assert len(endpoint.asked) == 1


def test_no_connection_and_no_answer(endpoint):
    wait = threading.Event()
    endpoint.says = lambda *_: str(wait.wait(2))
    refused(endpoint, "cannot be reached: timed out", timeout=0.1)
    wait.set()
    endpoint.server.shutdown()
    endpoint.server.server_close()
    refused(endpoint, "cannot be reached: .*refused")


def test_addresses_keys_and_units_that_cannot_be_used():
    for url in ("file:///etc/passwd", "localhost:8000", "http://", "http://[", "http://a:b/v1", ""):
        with pytest.raises(InputError, match="a URL such as"):
            chat_grounder(url, "m")
    with pytest.raises(InputError, match="without a user") as told:
        chat_grounder("http://me:hidden@host/v1", "m")
    assert "hidden" not in str(told.value)
    for key in ("", "sk-\nx", "sk-ü"):
        with pytest.raises(InputError, match="key"):
            chat_grounder("http://localhost/v1", "m", key)
    with pytest.raises(InputError, match="'pixels' or 'thousandths', got 'inches'"):
        chat_grounder("http://localhost/v1", "m", coordinates="inches")


# the command line


def test_the_command_line_with_a_chat_model(endpoint, picture, tmp_path, monkeypatch, capsys):
    Image.fromarray(picture).save(tmp_path / "photo.png")
    endpoint.says = '{"bbox_2d": [100, 100, 400, 400], "confidence": 0.9}'
    monkeypatch.setenv("PIZA_API_KEY", KEY)
    command = ["locate", str(tmp_path / "photo.png"), "one", "two", "--json", "--whole-frame", "--grounder"]
    assert cli.main([*command, f"chat:org/m@2@{endpoint.url}"]) == 0
    out, err = capsys.readouterr()
    assert [answer["num_looks"] for answer in json.loads(out)] == [1, 1] and err == ""
    assert endpoint.asked[0][1]["model"] == "org/m@2"
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    endpoint.status = 403
    assert cli.main([*command, f"chat-thousandths:m@{endpoint.url}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "HTTP error 403" in err and KEY not in err and err.count("\n") == 1


def test_the_command_line_with_a_detector(detectors, tmp_path, capsys):
    Image.new("RGB", (90, 60), (90, 120, 90)).save(tmp_path / "photo.png")
    command = ["locate", str(tmp_path / "photo.png"), "the red car", "--grounder"]
    assert cli.main([*command, str(detectors["mm-grounding-dino"])]) == 0
    out, err = capsys.readouterr()
    assert "the red car" in out and "look" in out
    for name in ("gone", "", "chat:m", "chat:m@ftp://me:hidden@host"):
        assert cli.main([*command, name]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "hidden" not in err


def test_a_grounder_by_its_name(monkeypatch):
    monkeypatch.setenv("PIZA_API_KEY", "")
    assert isinstance(load_grounder("chat:m@http://localhost:8000/v1"), GrounderSearch)
