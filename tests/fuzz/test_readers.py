"""Made-up files, sentences and model folders for every reader: only InputError comes out, in one line, and in bounded time.

A short run is part of the tests; `make fuzz` sets FUZZ_EXAMPLES for a long one, and benchmarks/reliability/hostile.py has
longer ones. Found inputs stay as tests of their own, at the end of this file.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.fuzz import model_targets
from tests.fuzz.inputs import COCO, ODVG, PROPOSAL, TRAIN, lines_of, text_of
from tests.fuzz.targets import TARGETS, Target, attempt

from piza import config
from piza.data import formats, sorec
from piza.dataset.records import Proposal, read_records
from piza.errors import InputError
from piza.training.settings import train_config

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
SECONDS = 5.0  # of CPU that a reader may take for a small input


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def try_all(target: Target, folder: Path) -> None:
    count = max(1, EXAMPLES // target.cost)

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.made)
    def run(given_value: Any) -> None:
        assert attempt(target, given_value, folder) < SECONDS

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_readers(name: str, folder: Path) -> None:
    try_all(TARGETS[name], folder)


@pytest.mark.skipif(
    EXAMPLES < 100, reason="tests/model tries a sample of damaged models; these are for `make fuzz`"
)
@pytest.mark.parametrize("name", model_targets.TARGETS)
def test_models(name: str, folder: Path) -> None:
    try_all(model_targets.TARGETS[name], folder)


def test_what_reading_accepts_can_be_written(folder: Path) -> None:
    """Rows that a reader took for sound are so for every writer."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(lines_of(ODVG))
    def run(data: bytes) -> None:
        (folder / "in.jsonl").write_bytes(data)
        try:
            rows, _ = formats.read_odvg(folder / "in.jsonl")
        except InputError:
            return
        sorec.write_values(rows, folder / "out.json")
        assert len(sorec.read_values(folder / "out.json")) == len(rows)

    run()


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
    with pytest.raises(InputError, match="alias"):
        train_config({}, path)
    path.write_text("rows: a.json  " + "#" * 100_000)
    with pytest.raises(InputError, match="at most 100 kB"):
        train_config({}, path)


@pytest.mark.parametrize("field", ["width", "height"])
def test_whole_numbers_of_hundreds_of_digits(field: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(text_of({**PROPOSAL, field: 10**400}))
    with pytest.raises(InputError, match="line 1: expected whole numbers of at most 64 bits, got 1000"):
        read_records(tmp_path / "a.jsonl", Proposal)
    (tmp_path / "train.json").write_bytes(text_of({**TRAIN, "steps": 10**400}))
    with pytest.raises(InputError, match="steps: expected a whole number of at most 64 bits"):
        train_config({}, tmp_path / "train.json")


def test_names_of_fields_that_hold_line_breaks_and_commands_for_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "piza.json").write_bytes(text_of({"\n\x1b[31m\u2028\x83": 1}))
    with pytest.raises(InputError) as refused:
        config.read(config.PizaConfig, tmp_path / "piza.json")
    assert r"\n\x1b[31m\u2028\x83: there is no such setting" in str(refused.value)
    assert str(refused.value).isprintable()
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
