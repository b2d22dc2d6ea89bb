"""Where models are found: in the package, in a folder, on the model hub."""

import hashlib
import re
from pathlib import Path

from piza.errors import InputError, reason

WEIGHTS = Path(__file__).parent / "weights"
"""Embedded models, a folder each."""

EXPORT_NOTE = "export.json"
"""Is in folders that `piza export` wrote, and in no other."""

# Nothing that could run: settings, vocabularies and safetensors.
FILES = ["*.json", "*.txt", "*.safetensors"]

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


def hash_files(folder: Path) -> str:
    """A digest of the files in a model's folder, names and contents: equal for equal models only."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(f"{path.name}\n".encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


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
