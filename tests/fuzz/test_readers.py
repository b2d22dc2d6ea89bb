"""Made-up files and sentences for every reader: only InputError comes out, in one line, and in bounded time.

A short run is part of the tests; `make fuzz` sets FUZZ_EXAMPLES for a long one. Found inputs stay as tests of their own,
at the end of this file.
"""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from piza import config
from piza.data import check, formats, sorec
from piza.data.parquet_reader import read_hf
from piza.dataset.records import Proposal, read_records
from piza.errors import InputError
from piza.evaluation.absent import read_absent
from piza.evaluation.outcome import read_predictions
from piza.grounders.vlm import boxes_in
from piza.image import image_size, open_image
from piza.model.io import read_json
from piza.model.object_words import ObjectWords
from piza.model.text import Prompter
from piza.runtimes.exported import FORMAT, _read_note
from piza.search.predictor import check_sentences
from piza.training.log import read_log
from piza.training.settings import train_config
from piza.training.tensor_files import load_tensors
from piza.visualize.primitives import drawable
from piza.visualize.text import one_line

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
SECONDS = 5.0  # the longest any reader may take for a small input, on a busy machine
SOME = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

NUMBERS = st.sampled_from([0, 1, -1, 0.5, 640, 1e308, -0.0, 10**400, -(10**400), float("nan"), float("inf")])
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", " ", ".", "a.jpg", "../a.jpg", "/etc/passwd", "a\0b", "\ud800", "the red car", "\x1b[2J", "9" * 400]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)

ROW = {"image": "a.jpg", "bbox": [1, 2, 3.5, 4], "ref": "the red car", "id": 1}
PROPOSAL = {
    "step": "propose", "id": "a", "image": "a.jpg", "width": 64, "height": 48, "bbox": [1, 2, 3.5, 4], "category": "car",
    "score": 0.5, "source": "mini", "attributes": ["color=red"], "kept_because": "",
}  # fmt: skip
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, "caption": "the red car"}],
    "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "caption": "the red car"}],
    "categories": [],
}
ODVG = {
    "filename": "a.jpg",
    "width": 64,
    "height": 48,
    "grounding": {"caption": "the car", "regions": [{"bbox": [1, 2, 3.5, 4], "phrase": "the car"}]},
    "row": {"id": 1},
}
PREDICTION = {
    "index": 0, "image": "a.jpg", "bbox": [1, 2, 3, 4], "ref": "the red car", "id": 1, "box_xyxy": [1, 2, 3, 4],
    "score": 0.5, "iou": 0.5, "windows": [[0, 0, 9, 9]], "boxes": [[1, 2, 3, 4]], "frame_size": [9, 9], "steps": 1,
    "stopped": "stop", "milliseconds": 1.0, "found": True,
}  # fmt: skip
TRAIN = {"rows": "rows.json", "images": "images", "base": "mini", "out": "out", "method": "full", "lr": 1e-4}
NOTE = {"format": FORMAT, "max_tokens": 9, "vocabulary": 9, "levels": 3, "prefix": [1], "special_tokens": [2]}
LOG = b"step,loss,lr\n1,0.5,1e-4\n2,0.25,1e-4\n"


@st.composite
def bent(draw: st.DrawFn, good: Any) -> Any:
    """A good JSON value with one to three of its parts replaced, removed or doubled, wherever they stand."""
    value = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = value
        while True:
            inner = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not inner:
                break
            key = draw(st.sampled_from(inner))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            match draw(st.integers(0, 4)):
                case 0:
                    del place[key]
                case 1 if isinstance(place, list):
                    place.append(place[key])
                case 2 if isinstance(place[key], (int, float)):
                    place[key] = draw(NUMBERS)
                case _:
                    place[key] = draw(JSON)
            break
    return value


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some changed, cut off, put in or repeated."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = draw(st.binary(max_size=8))
            case 2:
                data[at:at] = data[at : at + 64]
            case _:
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f"]) | st.binary(max_size=4)
                )
    return bytes(data)


def text_of(value: Any) -> bytes:
    return json.dumps(value).encode(errors="surrogatepass")


def documents(good: Any) -> st.SearchStrategy[bytes]:
    """JSON files: nearly good, of any content, and not quite JSON."""
    return bent(good).map(text_of) | JSON.map(text_of) | damaged(text_of(good))


def attempt(read: Callable[[], Any]) -> None:
    """Call a reader: it may answer or raise InputError in one line, and takes no longer than a moment."""
    started = time.monotonic()
    try:
        read()
    except InputError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 2000
    assert time.monotonic() - started < SECONDS


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def some_images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(rgb, "PNG"),
        encoded(rgb.convert("P"), "PNG", transparency=3),
        encoded(Image.fromarray(pixels[..., 0].astype(np.uint16) * 200), "PNG"),
        encoded(rgb, "JPEG", exif=exif),
        encoded(rgb, "JPEG", progressive=True),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb, "WEBP"),
        encoded(rgb, "TIFF", compression="tiff_lzw"),
        encoded(rgb.convert("P"), "GIF"),
        encoded(rgb, "BMP"),
        encoded(rgb, "PPM"),
    ]


IMAGES = some_images()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@SOME
@given(st.sampled_from(IMAGES).flatmap(damaged) | st.binary(max_size=200))
def test_images(data: bytes) -> None:
    attempt(lambda: open_image(data))


def test_image_files(folder: Path) -> None:
    @SOME
    @given(st.sampled_from(IMAGES).flatmap(damaged))
    def run(data: bytes) -> None:
        (folder / "image").write_bytes(data)
        attempt(lambda: image_size(folder / "image"))
        attempt(lambda: open_image(folder / "image"))

    run()


def lines_of(good: Any) -> st.SearchStrategy[bytes]:
    return st.lists(documents(good), min_size=1, max_size=3).map(b"\n".join)


def load_checkpoint(path: Path) -> None:
    load_tensors(path, "checkpoint")


FILES = {
    "rows": (documents([ROW, {**ROW, "id": "b"}]), sorec.read_rows),
    "check": (documents([ROW, {**ROW, "id": "b"}]), lambda path: check.describe(check.check(path))),
    "absent": (documents([{"image": "a.jpg", "ref": "the red car"}]), read_absent),
    "coco": (documents(COCO), formats.read_coco),
    "refcoco": (documents(COCO), formats.read_refcoco),
    "odvg": (lines_of(ODVG), formats.read_odvg),
    "predictions": (lines_of(PREDICTION), read_predictions),
    "piza.json": (
        documents(config.to_dict(config.PizaConfig())),
        lambda path: config.read(config.PizaConfig, path),
    ),
    "train.json": (documents(TRAIN), lambda path: train_config({}, path)),
    "train.yaml": (
        documents(TRAIN) | damaged(b"rows: a.json\nlr: 2e-4\noptions: {rank: 8}\n"),
        lambda path: train_config({}, path),
    ),
    "config.json": (documents({"model_type": "bert", "sizes": [1, 2], "auto_map": {}}), read_json),
    "export.json": (documents(NOTE), _read_note),
    "checkpoint": (damaged(save({"a": torch.zeros(2, 3)}, {"config": "{}", "crc32": "0"})), load_checkpoint),
    "proposals": (lines_of(PROPOSAL), lambda path: read_records(path, Proposal)),
    "objects.json": (
        documents({"categories": [], "attributes": ["color=red"]}),
        lambda path: config.read(ObjectWords, path),
    ),
    "log.csv": (damaged(LOG) | st.binary(max_size=60), read_log),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, folder: Path) -> None:
    made, read = FILES[name]
    path = folder / name

    @SOME
    @given(made)
    def run(data: bytes) -> None:
        path.write_bytes(data)
        attempt(lambda: read(path))

    run()


def test_parquet(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="piza[data] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({
        "image": ["a.jpg", "b.jpg"], "bbox": [[1.0, 2, 3, 4]] * 2, "ref": ["the red car"] * 2, "id": [1, 2],
    })  # fmt: skip
    parquet.write_table(table, folder / "good.parquet")
    assert len(read_hf(folder / "good.parquet")) == 2

    @SOME
    @given(damaged((folder / "good.parquet").read_bytes()))
    def run(data: bytes) -> None:
        (folder / "a.parquet").write_bytes(data)
        attempt(lambda: read_hf(folder / "a.parquet"))

    run()


def test_what_reading_accepts_can_be_written(folder: Path) -> None:
    """Rows that a reader took for sound are so for every writer."""

    @SOME
    @given(lines_of(ODVG))
    def run(data: bytes) -> None:
        (folder / "in.jsonl").write_bytes(data)
        try:
            rows, _ = formats.read_odvg(folder / "in.jsonl")
        except InputError:
            return
        attempt(lambda: sorec.write_values(rows, folder / "out.json"))
        assert len(sorec.read_values(folder / "out.json")) == len(rows)

    run()


@SOME
@given(st.text(max_size=80) | TEXTS | st.text(st.sampled_from("ab .?\n\t12"), max_size=40))
def test_sentences(tokenized: str) -> None:
    prompter = Prompter(lambda text, add_special_tokens: {"input_ids": [7] * len(text.split()) + [1012]})
    attempt(lambda: prompter.arrays([[tokenized]]))
    shown = one_line(tokenized)
    assert "\n" not in shown and "\x1b" not in shown
    attempt(lambda: drawable(tokenized))


@SOME
@given(JSON)
def test_expressions(value: Any) -> None:
    attempt(lambda: check_sentences(value))


@SOME
@given(
    st.text(max_size=60)
    | JSON.map(json.dumps)
    | bent({"bbox_2d": [1, 2, 3, 4], "box_2d": [[1, 2, 3, 4]], "confidence": "95 %"}).map(json.dumps)
)
def test_answers_of_chat_models(answer: str) -> None:
    found: list[Any] = []
    attempt(lambda: found.extend(boxes_in(answer) or []))
    assert all(len(box.xyxy) == 4 and 0 <= box.score <= 1 for box in found)


# what was found


@pytest.mark.parametrize("box", [[0.5, 0, 10**400, 5], [0, 0.5, 5, 10**400], [0, 0, 10**400, 10**400]])
def test_corners_too_large_to_calculate_with(box: list[Any], tmp_path: Path) -> None:
    region = {"bbox": box, "phrase": "the car"}
    (tmp_path / "a.jsonl").write_bytes(text_of({**ODVG, "grounding": {"regions": [region]}}))
    with pytest.raises(InputError, match="bbox"):
        formats.read_odvg(tmp_path / "a.jsonl")


@pytest.mark.parametrize("width", [10**400, 1e308, float("inf"), float("nan"), -1, 0.5])
def test_sizes_that_no_image_has(width: float, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text_of({**COCO, "images": [{**COCO["images"][0], "width": width}]}))
    with pytest.raises(InputError, match="'width' must be a whole number of pixels"):
        formats.read_coco(tmp_path / "a.json")


def test_a_line_speaks_of_its_own_image_whatever_its_other_fields_say(tmp_path: Path) -> None:
    row = {"image": "b.jpg", "ref": "the bus", "id": 7, "scene": 3}
    (tmp_path / "a.jsonl").write_bytes(text_of({**ODVG, "row": row}))
    rows, sizes = formats.read_odvg(tmp_path / "a.jsonl")
    assert rows == [{"image": "a.jpg", "bbox": [1, 2, 2.5, 2], "ref": "the car", "id": 7, "scene": 3}]
    assert list(sizes) == ["a.jpg"]


def test_aliases_and_large_files_of_yaml(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)]
    path.write_text("\n".join(["a0: &a0 [x, x]", *levels, "lr: *a11"]))
    attempt(lambda: train_config({}, path))
    with pytest.raises(InputError, match="alias"):
        train_config({}, path)
    path.write_text("rows: a.json  " + "#" * 100_000)
    with pytest.raises(InputError, match="at most 100 kB"):
        train_config({}, path)
