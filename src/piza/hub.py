"""Where models are found, in the package, in a folder, on the model hub; and whether their files are those that were saved."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from piza.errors import InputError, reason
from piza.files import atomic_write

WEIGHTS = Path(__file__).parent / "weights"
"""Embedded models, a folder each."""

EXPORT_NOTE = "export.json"
"""Is in folders that `piza export` wrote, and in no other."""

CHECKSUMS = "SHA256SUMS"
"""Names the files of a model and their SHA-256, as `sha256sum -c` reads it. Not piza.json, which people may change."""

# Nothing that could run: settings, vocabularies and safetensors.
FILES = ["*.json", "*.txt", "*.safetensors", CHECKSUMS]

MAX_CHECKSUMS = 1_000_000  # bytes of SHA256SUMS; a model has a dozen files

_CHECKSUM = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")
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


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write FOLDER/SHA256SUMS about some files in it. Worth doing last: a write that was killed is then seen."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(names)]
    with atomic_write(folder / CHECKSUMS) as part:
        part.write_text("".join(lines), encoding="utf-8")


def check_checksums(folder: Path, optional: Iterable[str] = ()) -> None:
    """Raise InputError, naming the file, where one is not what SHA256SUMS says, or is lost; a folder without it may be anything.

    optional: files that a model may have, and which have to be named there if they are there.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        return
    try:
        if path.stat().st_size > MAX_CHECKSUMS:
            raise InputError(f"{path}: expected at most {MAX_CHECKSUMS // 10**6} MB")
        lines = path.read_bytes().decode("utf-8").splitlines()
        named = {}
        for number, line in enumerate(lines, start=1):
            match = _CHECKSUM.fullmatch(line)
            if match is None:
                raise InputError(f"{path}, line {number}: expected a SHA-256 and a name, got {line[:80]!r}")
            named[match[2]] = match[1]
        if not named:
            raise InputError(f"{path} names no file; copy the model again")
        for name, digest in named.items():
            if not (folder / name).is_file():
                raise InputError(f"{folder} lacks {name}, which {CHECKSUMS} names; copy the model again")
            if _sha256(folder / name) != digest:
                raise InputError(
                    f"{folder / name} is not the file that was saved with this model ({CHECKSUMS} tells); copy the model again, "
                    f"or delete {CHECKSUMS} if the change is meant"
                )
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    for name in optional:
        if name not in named and (folder / name).is_file():
            raise InputError(f"{folder / name} was not saved with this model ({CHECKSUMS} tells); remove it")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
