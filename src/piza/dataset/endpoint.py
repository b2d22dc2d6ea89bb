"""Asking an OpenAI-compatible endpoint: with retries, within limits, and never the same question twice.

Every answer is kept in a file before anything is made of it. A question whose answer is there is not asked.
"""

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from piza.config import settings
from piza.dataset.records import RecordWriter
from piza.errors import MAX_COUNT, MAX_RETRIES, MAX_SECONDS, InputError, reason

MAX_WAIT = 60.0  # seconds before the next try, whatever the server says
FIRST_WAIT = 0.5
CUT_OFF = "complete message body"  # what httpx says of one
NEWER_LIMIT = "max_completion_tokens"  # what some servers want `max_tokens` to be called; they say so
NO_KEY = "none"  # servers on the own machine want some key, whatever it is


@settings()
class EndpointConfig:
    """How an endpoint is asked. Prices are for a million tokens, in any currency."""

    url: str
    model: Annotated[str, Field(min_length=1)]
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: int = Field(default=400, ge=1, le=MAX_COUNT)  # of an answer
    timeout: float = Field(default=120.0, gt=0, le=MAX_SECONDS)  # seconds for an answer
    retries: int = Field(
        default=5, ge=0, le=MAX_RETRIES
    )  # where the server says that it is busy, or cannot be reached
    per_minute: float | None = Field(default=None, gt=0, le=MAX_COUNT)  # questions
    max_questions: int | None = Field(default=None, ge=0, le=MAX_COUNT)  # in this run
    max_cost: float | None = Field(default=None, ge=0, le=MAX_COUNT)  # of all answers in the file of answers
    price_in: float = Field(default=0.0, ge=0, le=MAX_COUNT)
    price_out: float = Field(default=0.0, ge=0, le=MAX_COUNT)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", self.url):
            shown = self.url.rpartition("@")[2].partition("?")[
                0
            ]  # no name, password or key that stands in it
            raise InputError(
                f"url: expected the address of an endpoint, such as http://localhost:8000/v1, got {shown!r:.60}"
            )
        if self.max_cost is not None and not self.price_in + self.price_out:
            raise InputError("max_cost needs the prices of a million tokens, price_in and price_out")


@settings()
class Answer:
    """What was answered to a question. key: of the question. content: the text. refusal: why not. finish: as the server says.
    max_tokens: the limit under which it was asked; 0 where an earlier version did."""

    STEP: ClassVar[str] = "answer"

    key: str
    model: str
    content: str
    refusal: str
    finish: str
    tokens_in: int
    tokens_out: int
    max_tokens: int = 0


class QuestionFailed(Exception):
    """One question got no answer; others may."""


class LimitReached(Exception):
    """Nothing more is to be asked."""


class EndpointDown(InputError):
    """No question will get an answer: the endpoint is not there, or does not let us in."""


@dataclass
class Spent:
    """asked: in this run. tokens, cost: of all answers in the file."""

    asked: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


class Endpoint:
    """Asks questions, from any number of threads. Use it in a `with` block.

    Args:
        config: where and how.
        answers: the file of answers, which is continued.
        api_key: sent to the endpoint and nowhere else; None: the endpoint needs none.

    Raises:
        InputError: for a file of answers that cannot be used, and without the package openai.
    """

    def __init__(self, config: EndpointConfig, answers: str | Path, api_key: str | None = None):
        try:
            import openai
        except ImportError:
            raise InputError(
                "asking an endpoint needs the package openai: pip install 'piza[describe]'"
            ) from None
        self.config = config
        self.spent = Spent()
        self._openai, self._key = openai, api_key
        self._client = openai.OpenAI(
            base_url=config.url,
            api_key=api_key or NO_KEY,
            timeout=config.timeout,
            max_retries=0,  # `_ask` tries again; the client would ask again after a timeout, too, and that may be paid twice
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False
            ),  # a redirect would take the key along
        )
        self._writer = RecordWriter(answers, Answer)
        self._answers = {answer.key: answer for answer in self._writer.existing}
        self._lock = threading.Condition()
        self._in_flight, self._dearest, self._next_time = 0, 0.0, 0.0
        self._limit = "max_tokens"
        self._asking: set[str] = set()  # keys of questions that are on the way
        self.stopped = threading.Event()  # set: nothing more is asked, and nobody waits
        for answer in self._writer.existing:  # also those that were cut off and asked for again
            self._count(answer)

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._writer.__exit__()

    @property
    def name(self) -> str:
        """Model and host, for messages."""
        return f"the model {self.config.model!r} at {self.config.url.split('/')[2]}"

    def known(self, key: str) -> Answer | None:
        """The answer to a question that was asked before; None also where a lower `max_tokens` cut it off."""
        answer = self._answers.get(key)
        if (
            answer is not None
            and answer.finish == "length"
            and 0 < answer.max_tokens < self.config.max_tokens
        ):
            return None
        return answer

    def ask(self, key: str, messages: list[dict[str, Any]]) -> Answer:
        """The answer to a question, asked unless it is known.

        key: of the question; two with the same key are the same. messages: in the format of OpenAI's chat.

        Raises QuestionFailed where this question gets no answer, LimitReached where a limit forbids to ask, EndpointDown
        where no question will be answered.
        """
        with self._lock:
            while key in self._asking:
                self._lock.wait(0.5)
            if (known := self.known(key)) is not None:
                return known
            self._asking.add(key)
            try:
                self._reserve()
            except LimitReached:
                self._asking.discard(key)
                raise
        try:
            answer = self._read(self._ask(messages), key)
            with self._lock:
                self._writer.write(answer)
                self._answers[key] = answer
                self._dearest = max(self._dearest, self._count(answer))
            if self.config.max_cost is not None and not answer.tokens_in + answer.tokens_out:
                raise EndpointDown(
                    f"{self.name} does not say how many tokens it took, so that max_cost cannot be kept"
                )
            return answer
        finally:
            with self._lock:
                self._in_flight -= 1
                self._asking.discard(key)
                self._lock.notify_all()

    def _reserve(self) -> None:
        """Wait for the turn of a question, and count it. The lock is held."""
        config = self.config
        while True:
            if self.stopped.is_set():
                raise LimitReached("stopped")
            if config.max_questions is not None and self.spent.asked >= config.max_questions:
                raise LimitReached(f"{config.max_questions} questions were asked")
            if config.max_cost is not None:
                # Those that are on the way will cost something too; before the first answer nobody knows how much.
                expected = self.spent.cost + (self._in_flight + 1) * self._dearest
                if expected > config.max_cost or self.spent.cost >= config.max_cost:
                    raise LimitReached(f"the cost is {self.spent.cost:.4g} of at most {config.max_cost:.4g}")
                if self._in_flight and not self._dearest:
                    self._lock.wait(0.5)
                    continue
            wait = self._next_time - time.monotonic()
            if config.per_minute is None or wait <= 0:
                break
            self._lock.wait(min(wait, 0.5))
        self._next_time = time.monotonic() + (60 / config.per_minute if config.per_minute else 0)
        self.spent.asked += 1
        self._in_flight += 1

    def _count(self, answer: Answer) -> float:
        """Add what an answer cost; returns it."""
        cost = (answer.tokens_in * self.config.price_in + answer.tokens_out * self.config.price_out) / 1e6
        self.spent.tokens_in += answer.tokens_in
        self.spent.tokens_out += answer.tokens_out
        self.spent.cost += cost
        return cost

    def _ask(self, messages: list[dict[str, Any]]) -> Any:
        """The server's answer. Tries again where it was too busy to begin; not after a timeout or an answer that was cut off, as
        that may be paid."""
        openai, config = self._openai, self.config
        tries = 0
        while True:
            try:
                called = self._limit
                limit: dict[str, Any] = {called: config.max_tokens}
                return self._client.chat.completions.create(
                    model=config.model,
                    messages=messages,  # type: ignore[arg-type]
                    temperature=config.temperature,
                    **limit,
                )
            except openai.APITimeoutError:
                raise QuestionFailed(f"no answer in {config.timeout:g} seconds") from None
            except (openai.RateLimitError, openai.InternalServerError, openai.APIConnectionError) as error:
                if CUT_OFF in str(error.__cause__):
                    raise QuestionFailed("an answer that was cut off") from None
                last = getattr(error, "code", None) == "insufficient_quota" or tries == config.retries
                if last or self.stopped.wait(_wait(error, tries)):
                    raise self._failure(error) from None
                tries += 1
            except openai.APIStatusError as error:
                if called == NEWER_LIMIT or NEWER_LIMIT not in str(error):
                    raise self._failure(error) from None
                self._limit = NEWER_LIMIT
            except openai.OpenAIError as error:
                raise QuestionFailed(self._without_key(error)) from None
            except ValueError as error:  # the answer's JSON is broken
                raise QuestionFailed(f"an answer that is no JSON ({self._without_key(error)})") from None

    def _failure(self, error: Any) -> Exception:
        """What an error of the client means: for this question, or for all."""
        said = self._without_key(_complaint(error))
        status = getattr(error, "status_code", None)
        if status is None:
            return EndpointDown(f"{self.name} cannot be reached: {said}")
        if status in (401, 403, 404, 405, 429) or 300 <= status < 400:
            return EndpointDown(f"{self.name} answered with HTTP error {status}: {said}")
        return QuestionFailed(f"HTTP error {status}: {said}")

    def _read(self, completion: Any, key: str) -> Answer:
        """An answer in the protocol's form; what is missing in it is empty."""
        try:
            choice = completion.choices[0]
            message = choice.message
            content, refusal = message.content, getattr(message, "refusal", None)
            usage = completion.usage
            if content is None and refusal is None and choice.finish_reason is None:
                raise TypeError
            return Answer(
                key,
                self.config.model,
                _text(content),
                _text(refusal),
                str(choice.finish_reason or ""),
                max(int(getattr(usage, "prompt_tokens", 0) or 0), 0),
                max(int(getattr(usage, "completion_tokens", 0) or 0), 0),
                self.config.max_tokens,
            )
        except (AttributeError, IndexError, TypeError, ValueError):
            raise QuestionFailed("an answer that is not in OpenAI's format") from None

    def _without_key(self, error: object) -> str:
        text = str(error).strip() or type(error).__name__
        return reason(ValueError(text.replace(self._key, "***") if self._key else text))


def _text(value: Any) -> str:
    """The text of a message, which some servers give in parts."""
    if isinstance(value, list):
        value = "".join(str(part.get("text") or "") for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _complaint(error: Any) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    cause = getattr(error, "__cause__", None)
    return str(cause or getattr(error, "message", "") or error)


def _wait(error: Any, attempt: int) -> float:
    """Seconds until the next try: as the server says, else twice as long each time."""
    response = getattr(error, "response", None)
    try:
        asked = float(response.headers["retry-after"]) if response is not None else -1.0
    except (KeyError, ValueError):
        asked = -1.0
    return min(asked if asked >= 0 else FIRST_WAIT * 2.0**attempt, MAX_WAIT)
