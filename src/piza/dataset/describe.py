"""Sentences about proposals: what `piza data describe` does, by an endpoint's model or by the generator of drawn scenes."""

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from piza.data.sorec import find_image, to_json
from piza.dataset.candidates import Proposer
from piza.dataset.endpoint import Answer, Endpoint, EndpointDown, LimitReached, QuestionFailed
from piza.dataset.generator import GENERATOR, MAYBE, MIN_CATEGORY_SCORE, generated, is_describable
from piza.dataset.questions import PICTURES, REMINDER, Prompt, fill, messages, pictures, sentences_in
from piza.dataset.records import Described, Proposal, RecordWriter, Sentence, proposal_fields, read_records
from piza.errors import MAX_WORKERS, InputError, check_whole
from piza.image import ImageArray, open_image

ALIKE = "no sentence fits it alone"
UNSURE = f"nobody knows what it is, or with a score below {MIN_CATEGORY_SCORE:g} only"
MAX_FAILED = 5  # questions in a row, from which on something is wrong with all of them
NONE_SEEN, REFUSED, NO_JSON, CUT_OFF = (
    "saw nothing to describe",
    "refused",
    "answered without JSON",
    "was cut off",
)

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    return


@dataclass
class Describing:
    """What a run did.

    described: objects in this run; before: in earlier ones; sentences: in this run. without: how many objects have no
    sentence, by reason. failed: a message for each object that was not described and will be tried again. stopped: by
    which limit, or None.
    """

    described: int = 0
    before: int = 0
    sentences: int = 0
    without: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    stopped: str | None = None

    def add(self, sentences: Sequence[Sentence], why: str) -> None:
        """Count one object."""
        self.described += 1
        self.sentences += len(sentences)
        if not sentences:
            self.without[why] += 1


class Photos:
    """The photos of proposals, the last few kept open; for any number of threads."""

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)
        self._lock = threading.Lock()
        self._open = lru_cache(maxsize=3)(lambda name: open_image(find_image(self._folder, name)))
        self._hash = lru_cache(maxsize=100)(
            lambda name: hashlib.sha256(find_image(self._folder, name).read_bytes()).hexdigest()
        )

    def open(self, proposal: Proposal) -> ImageArray:
        """The photo of a proposal. Raises InputError where it is gone, cannot be read, or has become another size."""
        with self._lock:
            image: ImageArray = self._open(proposal.image)
        if image.shape[:2] != (proposal.height, proposal.width):
            raise InputError(
                f"the photo {proposal.image!r} has {image.shape[1]} x {image.shape[0]} pixels, but its proposals are for "
                f"{proposal.width} x {proposal.height}"
            )
        return image

    def hash(self, proposal: Proposal) -> str:
        """Of the file's bytes."""
        with self._lock:
            return self._hash(proposal.image)


def describe_with_endpoint(
    proposals: str | Path,
    photos_dir: str | Path,
    out: str | Path,
    endpoint: Endpoint,
    prompts: Sequence[Prompt],
    count: int = 2,
    parallel: int = 4,
    progress: Progress = _silent,
) -> Describing:
    """Write sentences that a vision-language model gives about proposals; each prompt is a question of its own about each.

    The model sees the photo with the box marked, and the box's surroundings enlarged. A run that was stopped goes on where it
    was, and every question is asked once: also one whose answer is no sentence.

    Args:
        proposals: a file of `piza data propose`.
        photos_dir: the folder of the photos.
        out: the file of `piza.dataset.records.Described` to write or to go on with.
        endpoint: who is asked.
        prompts: from `read_prompt`. count: sentences that each asks for.
        parallel: questions on the way at once.
        progress: called with the number of objects done, and of all.

    Returns:
        What was done; it says what could not be described, and whether a limit of the endpoint's ended the run.

    Raises:
        InputError: for files that cannot be used or were begun in another way, and where the endpoint cannot be reached, does
            not let us in, or fails `MAX_FAILED` questions in a row. What was answered until then is kept.
    """
    check_whole("count", count, 1)
    check_whole("parallel", parallel, 1, MAX_WORKERS)
    given, photos, result = read_records(proposals, Proposal), Photos(photos_dir), Describing()
    made_with = {
        "with": endpoint.config.model,
        "prompts": {prompt.name: hashlib.sha256(prompt.text.encode()).hexdigest()[:16] for prompt in prompts},
        "count": count,
        "temperature": endpoint.config.temperature,
    }
    asker = Asker(endpoint, photos, prompts, count)
    with RecordWriter(out, Described, made_with) as writer, ThreadPoolExecutor(parallel) as pool:
        waiting = _waiting(given, writer, result)
        failed_in_row = 0
        try:
            for proposal, future in _in_order(pool, asker.describe, waiting, 2 * parallel):
                try:
                    sentences, why = future.result()
                except (
                    LimitReached
                ) as limit:  # what is on the way, and what was answered before, is still taken
                    result.stopped = result.stopped or str(limit)
                    endpoint.stopped.set()
                    continue
                except EndpointDown:
                    raise
                except (QuestionFailed, InputError) as error:
                    result.failed.append(f"{proposal.image}, {proposal.id}: {error}")
                    failed_in_row += isinstance(error, QuestionFailed)
                    if failed_in_row >= MAX_FAILED:
                        raise EndpointDown(
                            f"{endpoint.name} failed {failed_in_row} times in a row, at last: {error}"
                        ) from None
                    continue
                failed_in_row = 0
                writer.write(Described(**proposal_fields(proposal), sentences=tuple(sentences)))
                result.add(sentences, why)
                progress(result.before + result.described, len(given))
        finally:
            endpoint.stopped.set()  # what is on the way is waited for, as it is paid; nothing more is asked
            pool.shutdown(cancel_futures=True)
    return result


@dataclass(frozen=True)
class Asker:
    """Asks an endpoint all questions about an object."""

    endpoint: Endpoint
    photos: Photos
    prompts: Sequence[Prompt]
    count: int

    def describe(self, proposal: Proposal) -> tuple[list[Sentence], str]:
        """The sentences about an object, or why there are none.

        Raises as `Endpoint.ask`, and InputError for its photo.
        """
        found: dict[str, Sentence] = {}
        why = NONE_SEEN
        for prompt in self.prompts:
            texts, reason = self._answered(proposal, fill(prompt, proposal, self.count))
            why = reason or why
            for text in texts[: self.count]:
                found.setdefault(text.casefold(), Sentence(text, self.endpoint.config.model, prompt.name))
        return list(found.values()), why

    def _answered(self, proposal: Proposal, text: str) -> tuple[list[str], str]:
        about = [text, self.photos.hash(proposal), list(proposal.bbox), PICTURES, self.count]
        answer = self._ask(proposal, text, about, None)
        found = sentences_in(answer.content)
        if found is None and answer.content.strip() and not _why_not(answer):
            answer = self._ask(proposal, text, [*about, answer.content], answer)
            found = sentences_in(answer.content)
        if found is None:
            return [], _why_not(answer) or NO_JSON
        return found, "" if found else NONE_SEEN

    def _ask(self, proposal: Proposal, text: str, about: list[Any], before: Answer | None) -> Answer:
        """The answer to a question; `before`: an answer without JSON, after which the model is reminded."""
        key = hashlib.sha256(to_json([self.endpoint.config.model, *about]).encode()).hexdigest()
        if (known := self.endpoint.known(key)) is not None:
            return known
        if self.endpoint.stopped.is_set():  # before a photo is opened in vain
            raise LimitReached("stopped")
        asked = messages(text, pictures(self.photos.open(proposal), proposal))
        if before is not None:
            asked.append({"role": "assistant", "content": before.content})
            asked.append({"role": "user", "content": REMINDER})
        return self.endpoint.ask(key, asked)


def _why_not(answer: Answer) -> str:
    if answer.refusal or answer.finish == "content_filter":
        return REFUSED
    return CUT_OFF if answer.finish == "length" else ""


def describe_with_generator(
    proposals: str | Path,
    photos_dir: str | Path,
    out: str | Path,
    proposer: Proposer,
    count: int = 2,
    seed: int = 0,
    sided: bool = True,
    maybe: float = MAYBE,
    made_with: dict[str, Any] | None = None,
    progress: Progress = _silent,
) -> Describing:
    """Write sentences of the generator (`piza.dataset.generator`) about proposals, without any network.

    Args:
        proposals: as of `describe_with_endpoint`.
        photos_dir: as there.
        out: as there.
        progress: as there.
        proposer: finds what else is in a photo, so that a sentence fits nothing else.
        count: the most sentences for an object. seed: the same one gives the same sentences.
        sided: False for photos that may be mirrored: neither left nor right is said.
        maybe: see `piza.dataset.generator.generated`.
        made_with: settings of the proposer, plain JSON values.

    Raises:
        InputError: for files that cannot be used or were begun in another way.
    """
    given, photos, result = read_records(proposals, Proposal), Photos(photos_dir), Describing()
    settings = {
        "with": GENERATOR,
        "count": count,
        "seed": seed,
        "sided": sided,
        "maybe": maybe,
        **(made_with or {}),
    }
    of_photo: dict[str, list[Proposal]] = {}
    for proposal in given:
        of_photo.setdefault(proposal.image, []).append(proposal)
    with RecordWriter(out, Described, settings) as writer:
        waiting = _waiting(given, writer, result)
        for image, group in groupby(waiting, key=lambda proposal: proposal.image):
            wanted = list(group)
            try:
                picture = photos.open(wanted[0])
            except InputError as error:
                result.failed.append(str(error))
                continue
            # All things of the photo, so that a run that was stopped within it writes the same sentences.
            about = of_photo[image]
            texts = generated(picture, about, proposer(picture, image), seed, count, sided, maybe)
            of_id = dict(zip((p.id for p in about), texts, strict=True))
            records = []
            for proposal in wanted:
                sentences = [Sentence(text, GENERATOR) for text in of_id[proposal.id]]
                records.append(Described(**proposal_fields(proposal), sentences=tuple(sentences)))
                result.add(sentences, ALIKE if is_describable(proposal) else UNSURE)
            writer.write(*records)
            progress(result.before + result.described, len(given))
    return result


def _waiting(
    given: Sequence[Proposal], writer: RecordWriter[Described], result: Describing
) -> list[Proposal]:
    done = {record.id for record in writer.existing}
    waiting = [proposal for proposal in given if proposal.id not in done]
    result.before = len(given) - len(waiting)
    return waiting


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Proposal], Any], items: Iterable[Proposal], ahead: int
) -> Iterator[tuple[Proposal, "Future[Any]"]]:
    """Items with their work, in order; at most `ahead` are begun before the first of them is done."""
    begun: deque[tuple[Proposal, Future[Any]]] = deque()
    for item in items:
        begun.append((item, pool.submit(work, item)))
        if len(begun) >= ahead:
            yield begun.popleft()
    while begun:
        yield begun.popleft()
