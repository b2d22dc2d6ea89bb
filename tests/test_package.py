"""What `import piza` gives."""

import subprocess
import sys

import numpy as np
import pytest

import piza
from piza.model.io import save_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_piza):
    path = tmp_path_factory.mktemp("model")
    save_folder(tiny_piza, path)
    return path


def test_names_are_there_when_asked_for():
    assert piza.Result.__name__ == "Result" and piza.Step.__name__ == "Step" and piza.Piza.__name__ == "Piza"
    with pytest.raises(AttributeError, match="nothing"):
        _ = piza.nothing


def test_importing_starts_nothing_heavy():
    source = str(next(iter(piza.__path__))) + "/.."
    code = (
        f"import sys; sys.path.insert(0, {source!r}); import piza; "
        "assert not {'torch', 'numpy', 'PIL', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_load_and_locate(folder):
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    model = piza.load(str(folder))
    result = model.locate(picture, "the red car")
    assert isinstance(result, piza.Result) and result.frame_size == (160, 90)
    many = model.locate(picture, ["the red car", "the blue sign"])
    assert many[0].box_xyxy == pytest.approx(result.box_xyxy, abs=1e-3)
    again = piza.locate(picture, "the red car", model=str(folder))
    assert again.box_xyxy == pytest.approx(result.box_xyxy, abs=1e-6)
    assert len(piza.locate(picture, "the red car", model=str(folder), max_looks=1).path) == 1


def test_a_model_is_loaded_once(folder, monkeypatch):
    picture = np.zeros((8, 8, 3), np.uint8)
    piza.locate(picture, "the car", model=str(folder))
    monkeypatch.setattr(piza, "load", lambda *_: pytest.fail("loaded again"))
    piza.locate(picture, "the car", model=str(folder))


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there(folder, device):
    with pytest.raises(piza.InputError, match="device"):
        piza.load(str(folder), device=device)


@pytest.mark.parametrize("model", [None, 5, [], {}])
def test_what_is_no_name_of_a_model_is_refused(model):
    with pytest.raises(piza.InputError, match="there is no model"):
        piza.locate(np.zeros((9, 9, 3), np.uint8), "the car", model=model)
