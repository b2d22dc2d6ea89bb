"""What the server does with a picture and sentences: checks what is asked, and searches one request at a time."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from piza.errors import InputError
from piza.image import ImageArray, open_image
from piza.result import Result

MOST_SENTENCES = 100
MOST_LOOKS = 100
TOGETHER = (
    8  # sentences searched for at a time; between them a request that nobody waits for any more is given up
)

T = TypeVar("T")
Gone = Callable[[], bool]


class BusyError(Exception):
    """Too many searches are waiting already. The message is one sentence for the user."""


class TooLongError(Exception):
    """The search was not done in time. The message is one sentence for the user."""


@dataclass(frozen=True)
class Asked:
    """One request: sentences about one picture, and how to search; None leaves a choice to the model."""

    sentences: tuple[str, ...]
    model: str
    greedy: bool = False
    whole_frame: bool = False
    budget: int | None = None
    accept_threshold: float | None = None
    max_looks: int | None = None
    min_score: float | None = None


FIELDS = ("sentences", *Asked.__dataclass_fields__.keys() - {"sentences"})


def read_asked(fields: Mapping[str, Any], models: Mapping[str, Any]) -> Asked:
    """A request from named values, which may be texts (of a form) or of the types of JSON.

    `sentences` is one or a list of them; without `model` the first one is taken. Raises InputError for what is missing,
    unknown or out of bounds.
    """
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        wanted = ", ".join(["picture", *sorted(FIELDS)])
        raise InputError(f"there is no field {unknown[0]!r}; the fields are {wanted}")
    given = {name: value for name, value in fields.items() if value is not None}
    return Asked(
        _sentences(given.get("sentences")),
        _model(given.get("model"), models),
        _flag("greedy", given.get("greedy", False)),
        _flag("whole_frame", given.get("whole_frame", False)),
        _number("budget", given.get("budget"), 1, MOST_LOOKS, whole=True),
        _number("accept_threshold", given.get("accept_threshold"), 0, 1),
        _number("max_looks", given.get("max_looks"), 1, MOST_LOOKS, whole=True),
        _number("min_score", given.get("min_score"), 0, 1),
    )


def search(model: Any, picture: ImageArray, asked: Asked, gone: Gone = lambda: False) -> list[Result]:
    """A Result for each sentence; `gone` is asked now and then whether to give up, which raises TooLongError."""
    results: list[Result] = []
    for first in range(0, len(asked.sentences), TOGETHER):
        if gone():
            raise TooLongError("nobody waits for this search any more")
        results += model.locate(
            picture,
            list(asked.sentences[first : first + TOGETHER]),
            budget=asked.budget,
            accept_threshold=asked.accept_threshold,
            max_looks=asked.max_looks,
            whole_frame=asked.whole_frame,
            greedy=asked.greedy,
            min_score=asked.min_score,
            keep_image=True,
        )
    return results


def read_picture(data: bytes, name: str) -> ImageArray:
    """Opens what was uploaded under this name. Raises InputError as `open_image` does."""
    if not data:
        raise InputError(f"the picture {name!r} is empty")
    with tempfile.TemporaryDirectory(prefix="piza-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            return open_image(path)
        except InputError as error:  # which names the file here
            raise InputError(str(error).replace(repr(str(path)), repr(name))) from None


class OneAtATime:
    """Runs work in one thread, in the order it came. Used from one event loop.

    room: how many may wait besides the one that runs. seconds: how long anybody waits, for their turn and the work.
    """

    def __init__(self, room: int, seconds: float) -> None:
        self.room, self.seconds = room, seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="piza")
        self._lock = threading.Lock()
        self._present = 0

    @property
    def waiting(self) -> int:
        return max(self._present - 1, 0)

    @property
    def running(self) -> bool:
        return self._present > 0

    async def run(self, work: Callable[[Gone], T]) -> T:
        """Raises BusyError when there is no room, TooLongError when time is up, and whatever the work raises.

        Work that has begun cannot be ended from outside; it is told by its argument that nobody waits for it any more.
        """
        with self._lock:
            if self._present > self.room:
                raise BusyError(
                    "the server is busy: one search runs and "
                    + (f"{self.room} wait" if self.room != 1 else "one waits")
                    + "; try again in a moment"
                )
            self._present += 1
        gone = threading.Event()
        future = self._thread.submit(work, gone.is_set)
        future.add_done_callback(self._leave)  # also called when it is canceled before its turn
        awaited = asyncio.wrap_future(future)
        awaited.add_done_callback(
            lambda late: late.cancelled() or late.exception()
        )  # heard, if by nobody else
        try:
            done, _ = await asyncio.wait([awaited], timeout=self.seconds)
        finally:
            gone.set()
            future.cancel()
        if not done:
            raise TooLongError(f"the search was not done within {self.seconds:g} seconds and was given up")
        return future.result()

    def _leave(self, _: Any) -> None:
        with self._lock:
            self._present -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _sentences(given: Any) -> tuple[str, ...]:
    if given is None:
        raise InputError("a sentence is wanted: `sentences` says in words what to find")
    sentences = [given] if isinstance(given, str) else given
    if not isinstance(sentences, (list, tuple)) or not all(isinstance(one, str) for one in sentences):
        raise InputError("`sentences` must be a sentence or a list of them")
    if not sentences or not all(one.strip() for one in sentences):
        raise InputError("the sentence is empty; say in words what to find")
    if len(sentences) > MOST_SENTENCES:
        raise InputError(f"{len(sentences)} sentences were given, at most {MOST_SENTENCES} are wanted")
    for one in sentences:
        try:
            one.encode()
        except UnicodeEncodeError:
            raise InputError("the sentence is not valid Unicode text") from None
    return tuple(sentences)


def _model(given: Any, models: Mapping[str, Any]) -> str:
    if given is None:
        return next(iter(models))
    if not isinstance(given, str) or given not in models:
        raise InputError(f"there is no model {str(given)[:100]!r} here; there is {', '.join(models)}")
    return given


def _flag(name: str, given: Any) -> bool:
    words = {
        "true": True,
        "1": True,
        "on": True,
        "yes": True,
        "false": False,
        "0": False,
        "off": False,
        "no": False,
    }
    value = words.get(given.lower()) if isinstance(given, str) else given
    if not isinstance(value, bool):
        raise InputError(f"`{name}` must be true or false, got {str(given)[:100]!r}")
    return value


def _number(name: str, given: Any, least: int, most: int, whole: bool = False) -> Any:
    if given is None or given == "":
        return None
    try:
        if isinstance(given, bool):
            raise ValueError
        value = float(given)
        if not least <= value <= most or (whole and value != int(value)):
            raise ValueError
    except (TypeError, ValueError):
        kind = "a whole number" if whole else "a number"
        raise InputError(
            f"`{name}` must be {kind} from {least} to {most}, got {str(given)[:100]!r}"
        ) from None
    return int(value) if whole else value
