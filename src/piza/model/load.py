"""A model folder in torch: an adapter's or a whole one's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from piza.errors import InputError
from piza.hub import is_export
from piza.model import adapter_io, io
from piza.model.piza import Piza


def load_plain(folder: str | Path, device: str = "cpu") -> Piza:
    """The model in a folder, of the library's plain modules: what training starts from.

    Raises InputError for an exported model, a folder that is no model and damaged files.
    """
    folder = Path(folder)
    if is_export(folder):
        raise InputError(f"{str(folder)!r} is an exported model: expected a model folder with its weights")
    with _made_of_float32():
        if adapter_io.is_adapter(folder):
            return adapter_io.load_adapter(folder, device)
        return io.load_folder(folder, device)


@contextmanager
def _made_of_float32() -> Iterator[None]:
    """Modules are made in float32 within, whatever default a program has given torch: half a model in another type would run
    in neither."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
