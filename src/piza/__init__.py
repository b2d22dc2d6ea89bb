"""Find one tiny thing in a large picture by a sentence, by looking again and again, closer each time.

model = piza.load("mini")
result = model.locate("photo.jpg", "the round sign with a red border and the number 70")
result.box_xyxy, result.score, result.draw()
"""

import os
from typing import TYPE_CHECKING, Any

from piza.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from piza.batch.sinks import write
    from piza.grounders.base import locate_with
    from piza.image import ImageSource
    from piza.model.piza import Piza
    from piza.result import Result, Step
    from piza.search.locate_many import ImageResults, Locator
    from piza.sources.images import Source

__version__ = "0.1.0"
__all__ = ["InputError", "Piza", "Result", "Step", "load", "locate", "locate_many", "locate_with", "write"]

_models: "dict[tuple[str, str], Piza]" = {}


def load(name: str = "mini", device: object = "auto") -> "Piza":
    """Load a model: "mini" (embedded in the package), a folder or a name on the model hub.

    A folder may hold a whole model (`piza.model.io.save_folder`), an adapter (`piza.model.adapter_io.save_adapter`; its base
    is loaded too) or an exported model (`piza export`), which is run by the runtime that is installed.

    `device` is "auto" (a graphics card if there is one, otherwise the processor), "cpu", "cuda", "cuda:1", "mps" or a
    `torch.device`; see `piza.devices.check_device`. Raises InputError when there is no such model or device, or when the files of
    the model are damaged.
    """
    from piza.loading import load_model

    return load_model(name, device)  # type: ignore[return-value]  # an exported model has the same interface


def locate(
    image: "ImageSource",
    expression: "str | list[str]",
    model: str = "mini",
    device: object = "auto",
    **options: Any,
) -> "Result | list[Result]":
    """`load(model, device).locate(image, expression, **options)`, keeping the loaded model for the next call."""
    found: Result | list[Result] = _kept(model, device).locate(image, expression, **options)
    return found


def locate_many(
    source: "Source",
    sentences: "str | Sequence[str]",
    model: "str | Locator" = "mini",
    device: object = "auto",
    **options: Any,
) -> "Iterator[ImageResults]":
    """Find what each sentence describes in each of many images: an iterator of a name with its results or an error.

    source: files, films, folders, patterns, lists, addresses or pixels (`piza.sources.images.find_images`). model: a name, kept loaded
    as by `locate`, or a model. options: `recursive`, `every`, `on_error`, and the keywords of `model.locate`
    (`piza.search.locate_many.locate_many`).
    """
    from piza.search.locate_many import locate_many

    asked = _kept(model, device) if isinstance(model, str) else model
    return locate_many(asked, source, sentences, **options)


def _kept(model: str, device: object) -> "Piza":
    name = str(model)
    key = (os.path.realpath(name) if os.path.isdir(name) else name, str(device))
    if key not in _models:
        _models[key] = load(model, device)
    return _models[key]


def __getattr__(name: str) -> Any:
    """Names that live below, imported when asked for: `import piza` itself starts neither torch nor numpy."""
    if name in ("Result", "Step"):
        import piza.result

        return getattr(piza.result, name)
    if name == "Piza":
        from piza.model.piza import Piza

        return Piza
    if name == "locate_with":
        from piza.grounders.base import locate_with

        return locate_with
    if name == "write":
        from piza.batch.sinks import write

        return write
    raise AttributeError(f"module 'piza' has no attribute {name!r}")
