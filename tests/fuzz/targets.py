"""Every reader of what comes from others, with what it is given: one table for the tests, harness.py and `make fuzz`.

A target is called with what its strategy makes and a folder of its own. It may answer, or raise InputError in one line.
"""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from tests.fuzz import inputs
from tests.fuzz.inputs import IMAGES, JSON, TEXTS, bent, damaged, documents, lines_of, lying_images, text_of

from piza import config
from piza.batch.manifest import read_manifest
from piza.data import check, formats, parquet_reader, sorec
from piza.data.convert import NAMES, convert
from piza.data.labels import read_labels
from piza.dataset.records import Proposal, read_records
from piza.errors import InputError
from piza.evaluation.absent import read_absent
from piza.evaluation.outcome import read_predictions
from piza.grounders.vlm import boxes_in
from piza.image import decode_image, image_size, open_image
from piza.model.io import read_json
from piza.model.known_words import read_known_words
from piza.model.object_words import ObjectWords
from piza.model.text import Prompter
from piza.runtimes.exported import _read_note
from piza.search.predictor import check_sentences, search_config
from piza.sources.images import find_images
from piza.training.log import read_log
from piza.training.settings import train_config
from piza.training.tensor_files import load_tensors
from piza.visualize.primitives import drawable
from piza.visualize.text import one_line

MAX_SENTENCE = 2000  # characters of a refusal


@dataclass(frozen=True)
class Target:
    """made: what is given. use: what is tried with it. cost: milliseconds of one, about; dear ones are tried less often.
    seeds: sound content, for those that are given bytes; harness.py begins with it."""

    made: st.SearchStrategy[Any]
    use: Callable[[Any, Path], Any]
    cost: int = 1
    seeds: tuple[bytes, ...] = ()


def attempt(target: Target, given: Any, folder: Path) -> float:
    """Seconds of CPU that it took. Raises what is neither an answer nor a refusal in one line."""
    started = time.process_time()
    try:
        target.use(given, folder)
    except InputError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < MAX_SENTENCE, repr(error)
    return time.process_time() - started


def of_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes, Path], Any]:
    """Tries a reader on a file of this name."""

    def use(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        read(folder / name)

    return use


def use_image_file(data: bytes, folder: Path) -> None:
    (folder / "image").write_bytes(data)
    for read in (image_size, decode_image, open_image):
        try:
            read(folder / "image")
        except InputError as error:
            assert str(folder / "image") in str(error) and "\n" not in str(error)


@cache
def photos(folder: Path) -> Path:
    """A folder with the photos a.jpg and b.jpg."""
    (folder / "photos").mkdir(exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (200, 100)).save(folder / "photos" / name)
    return folder / "photos"


def use_labels(name: str, data: bytes, folder: Path) -> None:
    """A label file of a name, beside what else its format needs."""
    place = folder / "labels"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    if name == "a.txt":
        (place / "classes.txt").write_text("car\nbus\n")
    if name == "data.yaml":
        (place / "a.txt").write_bytes(YOLO)
    (place / name).write_bytes(data)
    single = name not in ("a.txt", "a-kitti.txt")
    if name == "a-kitti.txt":
        (place / name).rename(place / "a.txt")
    read_labels(place / name if single else place, photos(folder), "kitti" if "kitti" in name else None)


def use_convert(given: tuple[str, str, bytes], folder: Path) -> None:
    """What reading accepts, writing can write, and it is read again as the same rows."""
    source, to, data = given
    (folder / "in").write_bytes(data)
    done = convert(folder / "in", folder / "out.json", source, to)
    again = convert(folder / "out.json", folder / "again.json", to, to)
    assert again.rows == done.rows


def use_list(data: bytes, folder: Path) -> None:
    """A list of images: every name is yielded, and opening it is an answer or one sentence."""
    (folder / "list.txt").write_bytes(data)
    for image in find_images(folder / "list.txt"):
        if "://" not in image.name:
            try:
                open_image(image.read())
            except InputError as error:
                assert "\n" not in one_line(str(error))


def use_sentence(sentence: str, folder: Path) -> None:
    shown = one_line(sentence)
    assert "\n" not in shown and "\x1b" not in shown
    drawable(sentence)
    prompter = Prompter(lambda text, **_: {"input_ids": [7] * len(text.split()) + [1012]})
    prompter.arrays([[sentence]])


def use_answer(answer: str, folder: Path) -> None:
    found = boxes_in(answer) or []
    assert all(len(box.xyxy) == 4 and 0 <= box.score <= 1 for box in found)


OPTIONS = ("budget", "accept_threshold", "max_looks", "min_score", "greedy", "whole_frame")
PYTHON = JSON | st.sampled_from(
    [b"x", (1,), {1}, 1 + 1j, np.float32(0.5), np.int64(3), float, Path("a"), "3"]
)
YOLO = b"0 0.2 0.4 0.2 0.2\n"
KITTI = b"Car 0.00 1 -1.57 20 30 60 50 1.5 1.6 3.7 1.0 1.7 20.5 -1.6\n"
VOC = (
    b"<?xml version='1.0'?><annotation><filename>a.jpg</filename><size><width>200</width><height>100</height>"
    b"<depth>3</depth></size><object><name>car</name><bndbox><xmin>21</xmin><ymin>31</ymin><xmax>60</xmax>"
    b"<ymax>50</ymax></bndbox></object></annotation>"
)
LABELS_COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}],
    "categories": [{"id": 7, "name": "car"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 30, 40, 20]}],
}
LABELS_LINE = {
    "image": "a.jpg",
    "width": 200,
    "height": 100,
    "boxes": [{"category": "car", "xyxy": [1, 2, 3, 4]}],
}
NAMES_YAML = b"train: images\nnames:\n  0: car\n  1: bus\n"
FORMATS: dict[str, st.SearchStrategy[bytes]] = {
    "sorec": documents([inputs.ROW, {**inputs.ROW, "id": "b"}]),
    "coco": documents(inputs.COCO),
    "refcoco": documents(inputs.COCO),
    "odvg": lines_of(inputs.ODVG),
}
OBJECTS = {"categories": [], "attributes": ["color=red"]}
MANIFEST = {"image": "a.jpg", "sentence": "the red car", "id": 1}
SEEDS: dict[str, tuple[bytes, ...]] = {
    "image": tuple(IMAGES),
    "image file": tuple(IMAGES),
    "image list": (b"a.jpg\nphotos/b.png\n",),
    "rows": (text_of([inputs.ROW, {**inputs.ROW, "id": "b"}]),),
    "check": (text_of([inputs.ROW, {**inputs.ROW, "id": "b"}]),),
    "absent": (text_of([{"image": "a.jpg", "ref": "the red car"}]),),
    "coco": (text_of(inputs.COCO),),
    "refcoco": (text_of(inputs.COCO),),
    "odvg": (text_of(inputs.ODVG),),
    "predictions": (text_of(inputs.PREDICTION),),
    "proposals": (text_of(inputs.PROPOSAL),),
    "objects.json": (text_of(OBJECTS),),
    "manifest": (text_of(MANIFEST),),
    "piza.json": (text_of(config.to_dict(config.PizaConfig())),),
    "train.json": (text_of(inputs.TRAIN),),
    "train.yaml": (b"rows: a.json\nlr: 2e-4\noptions: {rank: 8}\n",),
    "config.json": (text_of({"model_type": "bert", "sizes": [1, 2], "auto_map": {}}),),
    "export.json": (text_of(inputs.NOTE),),
    "words.txt": (b"car 12\nred 7\n",),
    "log.csv": (inputs.LOG,),
}
TENSORS = save({"a": torch.zeros(2, 3)}, {"config": "{}", "crc32": "0"})


def labels(name: str, made: st.SearchStrategy[bytes], seed: bytes) -> Target:
    return Target(made, partial(use_labels, name), 1, (seed,))


def conversions() -> st.SearchStrategy[tuple[str, str, bytes]]:
    return st.sampled_from(sorted(FORMATS)).flatmap(
        lambda name: st.tuples(
            st.just(name), st.sampled_from([to for to in NAMES if to != "hf"]), FORMATS[name]
        )
    )


TARGETS: dict[str, Target] = {
    "image": Target(st.sampled_from(IMAGES).flatmap(damaged) | st.binary(max_size=200), lambda data, _: open_image(data)),
    "image of a lying size": Target(lying_images(), lambda data, _: open_image(data), 10),
    "image file": Target(st.sampled_from(IMAGES).flatmap(damaged), use_image_file, 2),
    "image list": Target(st.lists(TEXTS, max_size=4).map(lambda names: "\n".join(names).encode(errors="replace")), use_list),
    "rows": Target(FORMATS["sorec"], of_file(sorec.read_rows, "rows.json")),
    "check": Target(FORMATS["sorec"], of_file(lambda path: check.describe(check.check(path)), "rows.json")),
    "absent": Target(documents([{"image": "a.jpg", "ref": "the red car"}]), of_file(read_absent, "absent.json")),
    "coco": Target(FORMATS["coco"], of_file(formats.read_coco, "coco.json")),
    "refcoco": Target(FORMATS["refcoco"], of_file(formats.read_refcoco, "refcoco.json")),
    "odvg": Target(FORMATS["odvg"], of_file(formats.read_odvg, "odvg.jsonl")),
    "convert": Target(conversions(), use_convert, 3),
    "labels coco": labels("labels.json", documents(LABELS_COCO), text_of(LABELS_COCO)),
    "labels jsonl": labels("labels.jsonl", lines_of(LABELS_LINE), text_of(LABELS_LINE)),
    "labels yolo": labels("a.txt", damaged(YOLO * 2), YOLO),
    "labels yolo names": labels("data.yaml", damaged(NAMES_YAML) | documents({"names": ["car", "bus"]}), NAMES_YAML),
    "labels voc": labels("a.xml", damaged(VOC), VOC),
    "labels kitti": labels("a-kitti.txt", damaged(KITTI), KITTI),
    "predictions": Target(lines_of(inputs.PREDICTION), of_file(read_predictions, "predictions.jsonl")),
    "proposals": Target(
        lines_of(inputs.PROPOSAL), of_file(lambda path: read_records(path, Proposal), "proposals.jsonl")
    ),
    "objects.json": Target(
        documents(OBJECTS), of_file(lambda path: config.read(ObjectWords, path), "objects.json")
    ),
    "manifest": Target(lines_of(MANIFEST), of_file(read_manifest, "manifest.jsonl")),
    "piza.json": Target(
        documents(config.to_dict(config.PizaConfig())),
        of_file(lambda path: config.read(config.PizaConfig, path), "piza.json"),
    ),
    "train.json": Target(documents(inputs.TRAIN), of_file(lambda path: train_config({}, path), "train.json")),
    "train.yaml": Target(
        documents(inputs.TRAIN) | damaged(b"rows: a.json\nlr: 2e-4\noptions: {rank: 8}\n"),
        of_file(lambda path: train_config({}, path), "train.yaml"),
    ),
    "config.json": Target(
        documents({"model_type": "bert", "sizes": [1, 2], "auto_map": {}}), of_file(read_json, "config.json")
    ),
    "export.json": Target(documents(inputs.NOTE), of_file(_read_note, "export.json")),
    "words.txt": Target(
        damaged(b"car 12\nred 7\n") | TEXTS.map(lambda text: f"car {text}".encode(errors="surrogatepass")),
        of_file(lambda path: read_known_words(path.parent), "words.txt"),
    ),
    "checkpoint": Target(damaged(TENSORS), of_file(lambda path: load_tensors(path, "checkpoint"), "a.safetensors")),
    "log.csv": Target(damaged(inputs.LOG) | st.binary(max_size=60), of_file(read_log, "log.csv")),
    "sentence": Target(
        st.text(max_size=80) | TEXTS | st.text(st.sampled_from("ab .?\n\t12"), max_size=40), use_sentence
    ),
    "expression": Target(PYTHON, lambda value, _: check_sentences(value)),
    "search options": Target(
        st.dictionaries(st.sampled_from(OPTIONS), PYTHON, max_size=3),
        lambda options, _: search_config(config.SearchConfig(), **options),
    ),
    "answer of a chat model": Target(
        st.text(max_size=60)
        | JSON.map(inputs.json.dumps)
        | bent({"bbox_2d": [1, 2, 3, 4], "box_2d": [[1, 2, 3, 4]], "confidence": "95 %"}).map(inputs.json.dumps),
        use_answer,
    ),
}  # fmt: skip


TARGETS |= {name: replace(TARGETS[name], seeds=seeds) for name, seeds in SEEDS.items()}
TARGETS["checkpoint"] = replace(TARGETS["checkpoint"], seeds=(TENSORS,))


def parquet_targets() -> Iterator[tuple[str, Target]]:
    """Parquet with names of images and with images; none without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return
    common = {"bbox": [[1.0, 2, 3, 4]] * 2, "ref": ["the red car"] * 2, "id": [1, 2]}
    images = [{"bytes": IMAGES[0], "path": "a.png"}, {"bytes": IMAGES[3], "path": "b.jpg"}]
    for name, column in (("parquet", ["a.jpg", "b.jpg"]), ("parquet with images", images)):
        file = io.BytesIO()
        parquet.write_table(pyarrow.table({"image": column, **common}), file)
        yield (
            name,
            Target(damaged(file.getvalue()), of_file(_read_parquet, "a.parquet"), 5, (file.getvalue(),)),
        )


def _read_parquet(path: Path) -> None:
    parquet_reader.read_hf(path)
    if b"bytes" in path.read_bytes():
        parquet_reader.extract_images(path, path.parent / "extracted")
        for file in (path.parent / "extracted").iterdir():
            file.unlink()


TARGETS |= dict(parquet_targets())
