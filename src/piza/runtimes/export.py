"""Writing a model as ONNX graphs, which `piza.runtimes.exported` searches with. Needs torch, onnx and onnxruntime.

The graphs are traced (graphs.py) and then compared with the model at other sizes than the traced one (compare.py): an export
that does not give the model's answers is not written.
"""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from piza import config as settings
from piza.errors import InputError, reason
from piza.files import atomic_write, is_temporary, one_writer, sweep_temporary
from piza.hub import CHECKSUMS, EXPORT_NOTE, write_checksums
from piza.model.known_words import WORDS_FILE, write_known_words
from piza.model.piza import Piza
from piza.runtimes.compare import compare
from piza.runtimes.exported import FORMAT, GRAPHS, LIST_GRAPHS, REGION_GRAPHS
from piza.runtimes.graphs import special_tokens, write_graphs

INT8_GRAPHS = ("text", "image", "ground", *LIST_GRAPHS)  # the history's is small


UNFINISHED = ".piza-export-unfinished"
"""A folder in the export's own, where its files are made; it is there until the export is complete."""

FILES = (
    *(f"{name}.onnx" for name in (*GRAPHS, *LIST_GRAPHS, *REGION_GRAPHS)),
    "piza.json",
    "tokenizer.json",
    WORDS_FILE,
    CHECKSUMS,
    EXPORT_NOTE,
)
"""All that an export may hold."""


def export_model(model: Piza, folder: str | Path, int8: bool = False) -> None:
    """Writes an export into a new or empty folder; of a model on the CPU, which is not changed.

    What a killed export left in the folder is removed, and the export starts clean.

    int8: weights of matrix products in eight bits (`piza.runtimes.int8`); its answers are not compared with the model's, as
    they differ; measure them on rows. Raises InputError for a folder that holds something else, that cannot be written or that
    another process writes to, for packages that are missing, and for a model whose graphs do not give its answers.
    """
    folder = Path(folder)
    check_folder(folder)
    _check_packages()
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_writer(folder):
            check_folder(folder)  # another process may have been there just now
            _export(model, folder, int8)
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror or reason(error)}") from None
    finally:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _export(model: Piza, folder: Path, int8: bool) -> None:
    """Writes an export into a folder that this process alone writes to."""
    work = folder / UNFINISHED
    _clean(folder)
    work.mkdir()
    try:
        _write(model, work, int8)
        # The note last: without it, a folder is no export.
        for file in sorted(work.iterdir(), key=lambda file: file.name == EXPORT_NOTE):
            with atomic_write(folder / file.name) as part:
                file.replace(part)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Raises InputError unless it is new or empty, or holds only what a killed export left; changes nothing."""
    if not folder.exists():
        return
    names = {entry.name for entry in folder.iterdir() if not is_temporary(entry)} if folder.is_dir() else {""}
    if names and (UNFINISHED not in names or names - {UNFINISHED, *FILES}):
        raise InputError(f"cannot write to {str(folder)!r}: expected a new or empty folder")


def _clean(folder: Path) -> None:
    """Removes what a killed export left."""
    sweep_temporary(folder)
    if (folder / UNFINISHED).exists():
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / UNFINISHED)


def _write(model: Piza, work: Path, int8: bool) -> None:
    """Writes all files of an export, and compares what they answer with the model."""
    try:
        write_graphs(model, work)
    except RuntimeError as error:  # those of the exporter are such
        raise InputError(f"this model cannot be written as ONNX: {reason(error)}") from None
    _write_notes(model, work)
    compare(model, work)
    if int8:
        from piza.runtimes.int8 import to_int8

        for name in INT8_GRAPHS:
            if (work / f"{name}.onnx").is_file():
                to_int8(work / f"{name}.onnx")
    write_checksums(work)


def _check_packages() -> None:
    for package in ("onnx", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise InputError(
                f"an export needs the package {package}: install it with pip install 'piza[onnx]'"
            ) from None


def _write_notes(model: Piza, folder: Path) -> None:
    """All files but the graphs."""
    detector = model.detector
    note = {
        "format": FORMAT,
        "max_tokens": detector.config.max_text_len,
        "prefix": list(model.prompter.prefix),
        "vocabulary": detector.model.text_backbone.config.vocab_size,
        "special_tokens": special_tokens(model).tolist(),
        "levels": detector.config.num_feature_levels,
    }
    (folder / EXPORT_NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    settings.write(model.config, folder / "piza.json")
    with TemporaryDirectory(dir=folder) as temporary:
        model.tokenizer.save_pretrained(temporary)
        file = Path(temporary) / "tokenizer.json"
        if not file.is_file():
            raise InputError("the tokenizer of this model has no tokenizer.json, which an export needs")
        file.replace(folder / "tokenizer.json")
    if model.prompter.known_words:
        write_known_words(folder, model.prompter.known_words)
