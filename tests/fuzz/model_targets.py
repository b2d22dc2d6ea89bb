"""Model folders, adapters, exports and published checkpoints of small models, with one of their files damaged."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from tests.conftest import make_tokenizer, tiny_detector
from tests.fuzz.inputs import bent, damaged, text_of
from tests.fuzz.targets import Target

import piza
from piza.config import PizaConfig
from piza.hub import CHECKSUMS
from piza.model.adapter_io import save_adapter
from piza.model.io import save_folder
from piza.model.piza import Piza
from piza.model.reference import convert_reference

MAX_DAMAGED = 2_000_000  # bytes of a file; larger ones are only cut, as a few bytes of them rarely matter


@cache
def small_folders() -> dict[str, Path]:
    """A model, a plain detector, an adapter around it and, where onnx is installed, an export, each in a folder."""
    home = Path(tempfile.mkdtemp(prefix="piza-fuzz-"))
    tokenizer, detector = make_tokenizer(), tiny_detector()
    options = {"bottleneck": 8, "embedding_dim": 32}
    model = Piza(
        detector,
        tokenizer,
        PizaConfig(method="full", method_options=options, first_pixels=128, later_pixels=96),
    )
    model.prompter.known_words = {"car": 7, "red": 9}
    save_folder(model.eval(), home / "model")
    plain = tiny_detector("gd")
    plain.save_pretrained(home / "plain")
    tokenizer.save_pretrained(home / "plain")
    lora = Piza(plain, tokenizer, PizaConfig(method="lora", method_options={"rank": 4, "embedding_dim": 32}))
    save_adapter(lora.eval(), home / "adapter", str(home / "plain"))
    found = {name: home / name for name in ("model", "plain", "adapter")}
    try:
        from piza.runtimes.export import export_model

        export_model(model.eval(), home / "export")
        found["export"] = home / "export"
    except piza.InputError:  # onnx is not installed
        pass
    for folder in found.values():  # else nothing that is damaged would be looked into
        (folder / CHECKSUMS).unlink(missing_ok=True)
    torch.save({"state_dict": {"encoder.level_embed": torch.zeros(4, 8)}, "epoch": 1}, home / "reference.pth")
    found["reference"] = home / "reference.pth"
    return found


def changed(file: Path) -> st.SearchStrategy[bytes | None]:
    """Other content for a file, None for none at all."""
    content = file.read_bytes()
    if len(content) > MAX_DAMAGED:
        return st.integers(0, len(content) - 1).map(lambda end: content[:end])
    made = damaged(content)
    if file.suffix == ".json":
        made = bent(json.loads(content)).map(text_of) | made
    return made | st.none()


def folder_target(name: str, cost: int) -> Target:
    """Tries to load a folder of which one file was changed, and to search with what could be loaded."""

    def cases() -> st.SearchStrategy[tuple[str, bytes | None]]:
        files = sorted(small_folders()[name].iterdir())
        return st.sampled_from(files).flatmap(lambda file: st.tuples(st.just(file.name), changed(file)))

    def use(given: tuple[str, bytes | None], folder: Path) -> None:
        file, content = given
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for source in small_folders()[name].iterdir():
            if source.name != file:
                (place / source.name).symlink_to(source)
        if content is not None:
            (place / file).write_bytes(content)
        model = piza.load(str(place))
        result = model.locate(PICTURE, "the red car", max_looks=2)
        assert np.isfinite([*result.box_xyxy, result.score]).all()

    return Target(st.deferred(cases), use, cost)


def use_checkpoint(data: bytes, folder: Path) -> None:
    (folder / "a.pth").write_bytes(data)
    convert_reference(folder / "a.pth", tiny_config())


@cache
def tiny_config() -> Any:
    return tiny_detector().config


PICTURE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
TARGETS = {
    "model folder": folder_target("model", 100),
    "plain model folder": folder_target("plain", 100),
    "adapter folder": folder_target("adapter", 150),
    "export folder": folder_target("export", 100),
    "published checkpoint": Target(
        st.deferred(lambda: damaged(small_folders()["reference"].read_bytes())), use_checkpoint, 5
    ),
}
