import sys
import types

import pytest

from piza import hub
from piza.errors import InputError


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """The hub's client, replaced: every download succeeds and is written down."""
    calls = []

    def snapshot_download(name, allow_patterns):
        calls.append((name, allow_patterns))
        return str(tmp_path)

    fake = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return calls


@pytest.fixture
def embedded(monkeypatch, tmp_path):
    for name in ("mini", "other"):
        (tmp_path / "weights" / name).mkdir(parents=True)
        (tmp_path / "weights" / name / "piza.json").touch()
    monkeypatch.setattr(hub, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def test_an_embedded_model_comes_first(embedded, tmp_path, monkeypatch, fetched):
    (tmp_path / "mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub.embedded() == ["mini", "other"]
    assert hub.find_model("mini") == embedded / "mini"


def test_a_folder_comes_before_the_hub(tmp_path, monkeypatch, fetched):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub.find_model("owner/name").resolve() == tmp_path / "owner" / "name"
    assert hub.find_model(tmp_path) == tmp_path
    assert fetched == []


def test_only_files_that_cannot_run_are_fetched(tmp_path, fetched):
    assert hub.find_model("owner/name-1.0") == tmp_path
    [(name, patterns)] = fetched
    assert name == "owner/name-1.0"
    assert {"*.safetensors", "SHA256SUMS", "ground.onnx"} <= set(patterns)
    assert not {"*", "*.onnx", "*.py", "*.bin", "*.pth", "*.pt", "*.pkl"} & set(patterns)


@pytest.mark.parametrize(
    "name", ["maxi", "", "/no/such/folder", "../x/y", "a/b/c", "~nobody-at-all/x", "owner/na me"]
)
def test_a_name_of_nothing_never_reaches_the_network(name, fetched):
    with pytest.raises(InputError):
        hub.find_model(name)
    assert fetched == []


def test_the_refusal_names_the_embedded_models(embedded):
    with pytest.raises(
        InputError, match="no model 'maxi'; give 'mini', 'other', a model folder or a hub name"
    ):
        hub.find_model("maxi")
