"""Searching for a request, in a queue's thread: a few sentences at a time, given up when nobody waits any more."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from piza.errors import InputError
from piza.image import ImageArray, open_image
from piza.result import Result
from piza.server.queue import IsCancelled
from piza.server.schemas import SearchOptions, Upload
from piza.server.store import AppState

T = TypeVar("T")

SENTENCES_AT_ONCE = 8
"""Sentences searched for in one call of the model; between two calls a request that nobody waits for is given up."""


async def search(
    state: AppState, options: SearchOptions, work: Callable[[Any, IsCancelled], T], num_sentences: int
) -> T:
    """Have `work(model, is_cancelled)` done when its turn has come with the model that was asked for.

    Raises InputError for a model that is not on offer, BusyError when too many wait, and what the work raises.
    """
    name = model_name(state, options.model)
    model = state.models[name]
    metrics = state.metrics

    def timed(is_cancelled: IsCancelled) -> T:
        started = time.perf_counter()
        try:
            return work(model, is_cancelled)
        finally:
            seconds = time.perf_counter() - started
            metrics.time(
                "piza_search_seconds", "Time that searches took, without waiting.", seconds, model=name
            )

    result = await state.queues[name].run(timed)
    metrics.count("piza_sentences_total", "Sentences answered.", num_sentences, model=name)
    return result


def model_name(state: AppState, asked: str | None) -> str:
    """The name of the model to search with. Raises InputError for one that is not on offer."""
    if asked is None:
        return next(iter(state.models))
    if asked not in state.models:
        raise InputError(f"there is no model {asked[:100]!r} here; there is {', '.join(state.models)}")
    return asked


def locate_all(
    model: Any,
    image: ImageArray,
    sentences: Sequence[str],
    options: SearchOptions,
    is_cancelled: IsCancelled = lambda: False,
) -> list[Result]:
    """A Result for each sentence about one image. Raises asyncio.CancelledError when `is_cancelled` says so."""
    results: list[Result] = []
    for start in range(0, len(sentences), SENTENCES_AT_ONCE):
        if is_cancelled():
            raise asyncio.CancelledError
        results += model.locate(image, list(sentences[start : start + SENTENCES_AT_ONCE]), **options.chosen())
    return results


def read_image(upload: Upload) -> ImageArray:
    """The pixels of an upload, (height, width, 3) RGB. Raises InputError, naming the file as the client does."""
    if not upload.data:
        raise InputError(f"{upload.name!r} is empty, expected an image file")
    try:
        return open_image(upload.data)
    except InputError as error:
        raise InputError(str(error).replace("the image", repr(upload.name), 1)) from None
