"""Sentences about proposals: what `piza data describe` does, by an endpoint's model or by the generator of drawn scenes."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from piza.data.sorec import find_image
from piza.dataset.asking import NONE_SEEN, Asked, ask_sentences, each_answer
from piza.dataset.candidates import Proposer
from piza.dataset.endpoint import Endpoint
from piza.dataset.generator import GENERATOR, MAYBE, MIN_CATEGORY_SCORE, generated, is_describable
from piza.dataset.questions import PICTURES, Prompt, fill, messages, pictures
from piza.dataset.records import Described, Proposal, RecordWriter, Sentence, proposal_fields, read_records
from piza.errors import MAX_WORKERS, InputError, check_whole
from piza.image import ImageArray, open_image

ALIKE = "no sentence fits it alone"
UNSURE = f"nobody knows what it is, or with a score below {MIN_CATEGORY_SCORE:g} only"

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    return


@dataclass
class Describing(Asked):
    """What a run did.

    described: objects in this run; before: in earlier ones; sentences: in this run.
    """

    described: int = 0
    before: int = 0
    sentences: int = 0

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
            not let us in, or fails `piza.dataset.asking.MAX_FAILED` questions in a row. What was answered until then is kept.
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
    with RecordWriter(out, Described, made_with) as writer:
        waiting = _waiting(given, writer, result)
        answers = each_answer(
            waiting, asker.describe, lambda p: f"{p.image}, {p.id}", endpoint, parallel, result
        )
        with closing(answers):
            for proposal, (sentences, why) in answers:
                writer.write(Described(**proposal_fields(proposal), sentences=tuple(sentences)))
                result.add(sentences, why)
                progress(result.before + result.described, len(given))
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
            question = fill(prompt, proposal, self.count)
            about = [question, self.photos.hash(proposal), list(proposal.bbox), PICTURES, self.count]
            texts, reason = ask_sentences(self.endpoint, about, partial(self._messages, question, proposal))
            why = reason or why
            for text in texts[: self.count]:
                found.setdefault(text.casefold(), Sentence(text, self.endpoint.config.model, prompt.name))
        return list(found.values()), why

    def _messages(self, question: str, proposal: Proposal) -> list[dict[str, Any]]:
        return messages(question, pictures(self.photos.open(proposal), proposal))


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
