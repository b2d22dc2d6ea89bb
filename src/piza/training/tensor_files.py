"""Safetensors files with a checksum, so that a damaged one is refused instead of trained on."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from piza.errors import InputError, reason
from piza.files import atomic_write

CHECKSUM = "crc32"


def save_tensors(tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str]) -> None:
    """Write tensors (on the CPU, contiguous, sharing no memory) and texts about them.

    Raises OSError, SafetensorError or InputError when the file cannot be written; what stood at `path` is then untouched.
    """
    content = {**metadata, CHECKSUM: _checksum(tensors, metadata)}
    with atomic_write(path) as part:
        save_file(dict(tensors), part, metadata=content)


def read_metadata(path: str | Path, what: str) -> dict[str, str]:
    """The texts of a file, without its tensors. Raises InputError, which calls the file `what`, when it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{str(path)!r} is not a {what} that can be read: {reason(error)}") from None


def load_tensors(path: str | Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the texts that `save_tensors` wrote.

    Raises InputError, which calls the file `what`, when it cannot be read or its content has changed since.
    """
    metadata = read_metadata(path, what)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{str(path)!r} is not a {what} that can be read: {reason(error)}") from None
    checksum = metadata.pop(CHECKSUM, "")
    if checksum != _checksum(tensors, metadata):
        raise InputError(f"{str(path)!r} is a damaged {what}: its content does not match its checksum")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Eight hex digits of names, types, shapes and bytes of tensors, and of the texts."""
    value = zlib.crc32(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        if tensor.numel():
            value = zlib.crc32(tensor.contiguous().view(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"
