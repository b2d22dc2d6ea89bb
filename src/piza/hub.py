"""Where models are found, in the package, in a folder, on the model hub; and whether their files are those that were saved."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from piza.errors import InputError, reason
from piza.files import atomic_write

WEIGHTS = Path(__file__).parent / "weights"
"""Embedded models, a folder each."""

EXPORT_NOTE = "export.json"
"""Is in folders that `piza export` wrote, and in no other."""

ADAPTER_NOTE = "adapter.json"
"""Is in folders of adapters, and in no other: names the base."""

MODEL_WEIGHTS = "model.safetensors"
"""Is in folders of whole models, and in no other."""

CHECKSUMS = "SHA256SUMS"
"""Names the files of a model and their SHA-256, as `sha256sum -c` reads it. Not the settings, which people may change."""

SETTINGS_FILES = ("piza.json", ADAPTER_NOTE)
"""Files of a model that people may change; they are checked by themselves."""

MODEL_FILES = (
    MODEL_WEIGHTS, "config.json", "adapter.safetensors", EXPORT_NOTE,
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "words.txt", "objects.json",
    "text.onnx", "image.onnx", "ground.onnx", "history.onnx", "proposals.onnx", "matcher.onnx", "regions.onnx",
)  # fmt: skip
"""All other files that piza reads of a model. What else lies in its folder, as a README.md, is nobody's business."""

# Nothing that could run: settings, vocabularies, safetensors and the graphs of an export.
FILES = [
    "*.json",
    "*.txt",
    "*.safetensors",
    CHECKSUMS,
    *(name for name in MODEL_FILES if name.endswith(".onnx")),
]

MAX_POINTER = 1000  # bytes of a pointer of git-lfs; they have some 130
MAX_CHECKSUMS = 1_000_000  # bytes of SHA256SUMS; a model has a dozen files
MAX_MODEL_BYTES = (
    10**10
)  # of all files of a model: hashing more takes a minute and more; the largest known ones have 1.4e9

_KINDS = {EXPORT_NOTE: "an exported model", ADAPTER_NOTE: "an adapter", MODEL_WEIGHTS: "a whole model"}
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?([^\0]+)")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def find_model(name: str | Path) -> Path:
    """The folder of a model: an embedded one's ("mini"), a folder given by its path, or one fetched from the model hub.

    A folder on disk comes before a hub name, so that a name never reaches the network when it need not. Raises
    InputError when there is no such model; says nothing about what the folder holds.
    """
    text = str(name)
    if text in embedded():
        return WEIGHTS / text
    try:
        path = Path(text).expanduser()
        if text and path.is_dir():  # an empty name would be the folder we happen to be in
            return path
        is_file = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, no such user, a zero byte
        raise InputError(f"the model {text!r} cannot be read: {error}") from None
    wanted = f"give {', '.join(map(repr, embedded())) or 'the name'}, a model folder or a hub name such as 'owner/name'"
    if is_file:
        raise InputError(f"the model {text!r} is a file; {wanted}")
    if not _HUB_NAME.fullmatch(text):
        raise InputError(f"there is no model {text!r}; {wanted}")
    return _fetch(text)


def is_export(folder: Path) -> bool:
    """Whether `piza export` wrote this folder."""
    return (folder / EXPORT_NOTE).is_file()


def check_kind(folder: Path, own: str) -> None:
    """Raise InputError where a folder holds a model of another kind than the one that is to be written there.

    Both would lie in one folder, and one of them would be read. own: the file that tells the kind (EXPORT_NOTE, ADAPTER_NOTE,
    MODEL_WEIGHTS).
    """
    for name, kind in _KINDS.items():
        if name != own and os.path.lexists(folder / name):
            raise InputError(
                f"cannot write to {str(folder)!r}: it holds {kind} ({name}); name another folder"
            )


def hash_files(folder: Path) -> str:
    """A digest of the files of the model in a folder, names and contents: equal for equal models only.

    Those of an adapter's base are among them where the base is found. Raises InputError for files that cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for place in (folder, *_base_of(folder)):
        names = [*SETTINGS_FILES, *_files_in(place)]
        present = sorted(name for name in names if (place / name).is_file())
        _check_size(place, present)
        for name in present:
            digest.update(f"{name}\n".encode() + _hash(place / name, "blake2b").digest())
    return digest.hexdigest()


def find_base(folder: Path, name: str) -> Path:
    """The folder of the base that an adapter names: a relative one is looked for from the adapter's first, then as a model."""
    return folder / name if name and (folder / name).is_dir() else find_model(name)


def _base_of(folder: Path) -> list[Path]:
    """The folder of an adapter's base, if this is an adapter and names one that is there; whoever loads it says what is wrong."""
    if is_export(folder) or not (folder / ADAPTER_NOTE).is_file():
        return []
    try:
        return [find_base(folder, json.loads((folder / ADAPTER_NOTE).read_bytes())["base"])]
    except (InputError, OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def write_checksums(folder: Path) -> None:
    """Write FOLDER/SHA256SUMS about the files of the model in it."""
    lines = [f"{_hash(folder / name, 'sha256').hexdigest()}  {name}\n" for name in _files_in(folder)]
    with atomic_write(folder / CHECKSUMS) as part:
        part.write_bytes("".join(lines).encode())


def check_checksums(folder: Path) -> object:
    """Raise InputError, naming the file, where a model's files are not those that were saved; a folder without SHA256SUMS may be anything.

    A file of the model that is named there has to be there, with that content. Names of other files (README.md) are passed over.
    Where the model is piza's own, as piza.json tells, no other file of a model may be there.

    Returns what `check_unchanged` asks for when all is read.
    """
    state = _state(folder)
    _refuse_pointers(folder)
    _compare(folder)
    return state


def check_unchanged(folder: Path, state: object) -> None:
    """Raise InputError where a model was saved into a folder since `check_checksums`: what was read may be of both."""
    if _state(folder) != state:
        raise InputError(
            f"{folder} was written to while it was read ({CHECKSUMS} has changed); load it again"
        )


def _state(folder: Path) -> tuple[int, int] | None:
    """What a save changes before anything else."""
    try:
        found = (folder / CHECKSUMS).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _refuse_pointers(folder: Path) -> None:
    """Raise InputError for a file that git left out: what a clone without git-lfs holds in the place of weights."""
    for name in _files_in(folder):
        path = folder / name
        if path.stat().st_size < MAX_POINTER and path.read_bytes().startswith(b"version https://git-lfs"):
            raise InputError(f"{path} is only a pointer of git-lfs to the file; fetch it with: git lfs pull")


def _compare(folder: Path) -> None:
    path = folder / CHECKSUMS
    if not os.path.lexists(path):
        return
    named = {name: digest for name, digest in _read_checksums(path).items() if name in MODEL_FILES}
    for name in named:
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}, which {CHECKSUMS} names; copy the model again")
    if (folder / SETTINGS_FILES[0]).is_file():
        for name in _files_in(folder):
            if name not in named:
                raise InputError(
                    f"{folder / name} was not saved with this model ({CHECKSUMS} does not name it); copy the model again, or delete "
                    f"{CHECKSUMS} if the change is meant"
                )
    _check_size(folder, named)
    for name, digest in named.items():
        if _hash(folder / name, "sha256").hexdigest() != digest:
            raise InputError(
                f"{folder / name} is not the file that was saved with this model ({CHECKSUMS} tells); copy the model again, "
                f"or delete {CHECKSUMS} if the change is meant"
            )


def _read_checksums(path: Path) -> dict[str, str]:
    """Names and digests in lower case; of files of a model or not. As sha256sum reads them, and as other systems' editors leave them."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: expected a file")
        if path.stat().st_size > MAX_CHECKSUMS:
            raise InputError(f"{path}: expected at most {MAX_CHECKSUMS // 10**6} MB")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    named: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        match = _CHECKSUM.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: expected a SHA-256 and a name, got {line[:80]!r}")
        digest = match[1].lower()
        if named.setdefault(match[2], digest) != digest:
            raise InputError(
                f"{path}, line {number}: expected one SHA-256 of {match[2][:80]!r}, got another one"
            )
    if not named:
        raise InputError(f"{path} names no file; copy the model again")
    return named


def _files_in(folder: Path) -> list[str]:
    """The names of a model's files in a folder, besides its settings, in order."""
    return sorted(name for name in MODEL_FILES if (folder / name).is_file())


def _check_size(folder: Path, names: Iterable[str]) -> None:
    """Raise InputError for files that would be read for ever."""
    if sum((folder / name).stat().st_size for name in names) > MAX_MODEL_BYTES:
        raise InputError(f"{folder}: expected a model of at most {MAX_MODEL_BYTES // 10**9} GB")


def _hash(path: Path, algorithm: str) -> "hashlib._Hash":
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None


def embedded() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/piza.json"))


def _fetch(name: str) -> Path:
    """Download a model, or find it in the hub's cache."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # not there, no network, no permission: the library raises a dozen kinds
        raise InputError(
            f"the model {name!r} is no folder here and cannot be fetched from the hub: {reason(error)}"
        ) from None
