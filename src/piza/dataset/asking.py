"""Asking an endpoint for sentences about one thing after the other, several questions on the way at once."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from piza.data.sorec import to_json
from piza.dataset.endpoint import Answer, Endpoint, EndpointDown, LimitReached, QuestionFailed
from piza.dataset.questions import REMINDER, sentences_in
from piza.errors import InputError

Item = TypeVar("Item")
Found = TypeVar("Found")

MAX_FAILED = 5  # questions in a row, from which on something is wrong with all of them
NONE_SEEN, REFUSED, NO_JSON, CUT_OFF = (
    "saw nothing to describe",
    "refused",
    "answered without JSON",
    "was cut off",
)


@dataclass
class Asked:
    """What a run was not told. failed: a message for each thing that will be tried again. without: how many things have no
    sentence, by reason. stopped: by which limit, or None.
    """

    failed: list[str] = field(default_factory=list)
    without: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


def each_answer(
    items: Iterable[Item],
    ask: Callable[[Item], Found],
    name: Callable[[Item], str],
    endpoint: Endpoint,
    parallel: int,
    asked: Asked,
) -> Generator[tuple[Item, Found], None, None]:
    """Each item with what `ask` found of it, in order; without those that failed, whose `name` and error `asked` gets.

    Close it when it is not read to its end. Where a limit ends the run, what is on the way is still taken.

    Raises EndpointDown where nothing will be answered, or
    `MAX_FAILED` questions in a row were not.
    """
    failed_in_row = 0
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for item, future in _in_order(pool, ask, items, 2 * parallel):
                try:
                    found = future.result()
                except LimitReached as limit:
                    asked.stopped = asked.stopped or str(limit)
                    endpoint.stopped.set()
                    continue
                except EndpointDown:
                    raise
                except (QuestionFailed, InputError) as error:
                    asked.failed.append(f"{name(item)}: {error}")
                    failed_in_row += isinstance(error, QuestionFailed)
                    if failed_in_row >= MAX_FAILED:
                        raise EndpointDown(
                            f"{endpoint.name} failed {failed_in_row} times in a row, at last: {error}"
                        ) from None
                    continue
                failed_in_row = 0
                yield item, found
        finally:
            endpoint.stopped.set()  # what is on the way is waited for, as it is paid; nothing more is asked
            pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Found], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, "Future[Found]"]]:
    """Items with their work, in order; at most `ahead` are begun before the first of them is done."""
    begun: deque[tuple[Item, Future[Found]]] = deque()
    for item in items:
        begun.append((item, pool.submit(work, item)))
        if len(begun) >= ahead:
            yield begun.popleft()
    while begun:
        yield begun.popleft()


def ask_sentences(
    endpoint: Endpoint, about: list[Any], messages: Callable[[], list[dict[str, Any]]]
) -> tuple[list[str], str]:
    """The sentences of an answer, or none and why. A model that answers without JSON is reminded once.

    about: plain JSON values that tell this question from all others. messages: makes the question; not called where the answer is
    known. Raises as `Endpoint.ask`.
    """
    answer = _ask(endpoint, about, messages, None)
    found = sentences_in(answer.content)
    if found is None and answer.content.strip() and not _why_not(answer):
        answer = _ask(endpoint, [*about, answer.content], messages, answer)
        found = sentences_in(answer.content)
    if found is None:
        return [], _why_not(answer) or NO_JSON
    return found, "" if found else NONE_SEEN


def _ask(
    endpoint: Endpoint, about: list[Any], messages: Callable[[], list[dict[str, Any]]], before: Answer | None
) -> Answer:
    """The answer to a question; `before`: an answer without JSON, after which the model is reminded."""
    key = hashlib.sha256(to_json([endpoint.config.model, *about]).encode()).hexdigest()
    if (known := endpoint.known(key)) is not None:
        return known
    if endpoint.stopped.is_set():  # before a photo is opened in vain
        raise LimitReached("stopped")
    asked = messages()
    if before is not None:
        asked.append({"role": "assistant", "content": before.content})
        asked.append({"role": "user", "content": REMINDER})
    return endpoint.ask(key, asked)


def _why_not(answer: Answer) -> str:
    if answer.refusal or answer.finish == "content_filter":
        return REFUSED
    return CUT_OFF if answer.finish == "length" else ""
