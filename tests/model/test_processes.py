"""A model in several processes: the program of docs/faq.md runs as it stands there, and a model can be handed over."""

import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.processes import in_child

import piza

FAQ = Path(__file__).parents[2] / "docs" / "faq.md"
IMAGE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)


@pytest.mark.slow
def test_the_documented_program_finds_what_one_process_finds(tmp_path):
    section = FAQ.read_text(encoding="utf-8").partition("### How do I use all cores?")[2]
    program = re.search(r"```python\n(.*?)```", section, re.S)[1].replace("os.cpu_count()", "2")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    for name in ("first.jpg", "second.jpg"):
        Image.fromarray(IMAGE if name == "first.jpg" else IMAGE[:, ::-1]).save(tmp_path / name)
    paths = [str(Path(piza.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["first.jpg", "second.jpg"]
    model = piza.load("mini")
    for line in lines:
        name, *numbers = re.split(r"[^\w.e+-]+", line)
        result = model.locate(tmp_path / name, "the red car")
        found = [float(number) for number in numbers if number]
        assert found == pytest.approx([*result.box_xyxy, result.score], abs=1e-2)


def hold(model):
    global held
    held = model


def search(sentence):
    return held.locate(IMAGE, sentence, max_looks=2).box_xyxy


def test_a_model_is_handed_to_a_spawned_process(tiny_piza):
    with ProcessPoolExecutor(1, get_context("spawn"), hold, (tiny_piza,)) as pool:
        found = pool.submit(search, "the red car").result(timeout=240)
    assert found == pytest.approx(tiny_piza.locate(IMAGE, "the red car", max_looks=2).box_xyxy, abs=1e-2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not(tiny_piza):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)

    def search_again():
        assert torch.get_num_threads() == 1
        assert tiny_piza.locate(IMAGE, "the red car", max_looks=2).box_xyxy == pytest.approx(found, abs=1e-2)

    try:
        found = tiny_piza.locate(IMAGE, "the red car", max_looks=2).box_xyxy
        (torch.rand(400, 400) @ torch.rand(400, 400)).sum()  # certainly in both threads
        assert in_child(search_again, seconds=120) == 0
    finally:
        torch.set_num_threads(threads)
