"""Find one tiny thing in a large picture by a sentence, by looking again and again, closer each time.

model = piza.load("mini")
result = model.locate("photo.jpg", "the round sign with a red border and the number 70")
result.box_xyxy, result.score, result.draw()
"""

from typing import TYPE_CHECKING, Any

from piza.errors import InputError, reason

if TYPE_CHECKING:
    from piza.grounders.base import locate_with
    from piza.image import ImageSource
    from piza.model.piza import Piza
    from piza.result import Result, Step

__version__ = "0.1.0"
__all__ = ["InputError", "Piza", "Result", "Step", "load", "locate", "locate_with"]

_models: "dict[tuple[str, str], Piza]" = {}


def load(name: str = "mini", device: str = "cpu") -> "Piza":
    """Load a model: "mini" (embedded in the package), a folder written by `piza.model.piza.save_folder`
    (a whole model) or by `piza.model.adapter_io.save_adapter` (an adapter; its base is loaded too), or a name on the
    model hub.

    `device` is "cpu", "cuda" or "cuda:1". Raises InputError when there is no such model or device, or when the files
    of the model are damaged.
    """
    from piza.hub import find_model

    folder = find_model(name)
    _check_device(device)
    from piza.model.accelerate.facade import use_fast_forward
    from piza.model.piza import load_folder

    model = load_folder(folder, device=device)
    use_fast_forward(model, device)
    return model


def locate(
    image: "ImageSource",
    expression: "str | list[str]",
    model: str = "mini",
    device: str = "cpu",
    **options: Any,
) -> "Result | list[Result]":
    """`load(model, device).locate(image, expression, **options)`, keeping the loaded model for the next call."""
    if (model, device) not in _models:
        _models[model, device] = load(model, device)
    return _models[model, device].locate(image, expression, **options)


def _check_device(device: str) -> None:
    import torch

    if device.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise InputError(f"there is no device {device!r}: 'cpu', 'cuda' or 'cuda:1' is wanted")
    try:
        torch.zeros(1, device=device)
    except Exception as error:  # no such card, torch built without CUDA: each raises its own kind
        raise InputError(f"the device {device!r} cannot be used here: {reason(error)}") from None


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
    raise AttributeError(f"module 'piza' has no attribute {name!r}")
