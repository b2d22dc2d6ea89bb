"""Rows whose sentences are said in other words as well: what `piza data reword` does, by an endpoint's language model.

A model that is taught each sentence in one wording alone learns the wording: `mini`, so taught, found what new sentences mean in
67.6 %, and in 49.2 % when the same were said in other words (docs/mini.md).
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from piza.dataset.asking import Asked, ask_sentences, each_answer
from piza.dataset.endpoint import Endpoint
from piza.dataset.questions import messages
from piza.errors import MAX_WORKERS, check_whole

SAME = "said the same again"
REQUEST = """A sentence tells of one thing in a photo, so that somebody who sees the photo finds it:

$sentence

Say exactly the same in other words, as $count other people would: $count different English sentences or phrases.

- Keep every fact: what it is, its color, left and right, near and far, order, counts, what it is beside, what is written on it.
  Left stays left. Add no fact.
- Use other words where English has some that mean the same here, another order (the place first, or the thing first), another
  grammar, and relations told from the other side: "the car left of the van" is also "the car that has the van on its right".
- Some shorter, some longer. Never speak of the photo or of the sentence.

Answer with JSON only: {"sentences": ["...", "..."]}."""


@dataclass
class Reworded(Asked):
    """rows: the given ones, each followed by those in other words, as `piza.data.sorec.read_values` has them. added: how many of
    the latter.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    added: int = 0


def reword_rows(
    rows: Sequence[dict[str, Any]],
    endpoint: Endpoint,
    count: int = 1,
    parallel: int = 4,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reworded:
    """Ask for every sentence in `count` other wordings; each is a row of its own about the same box.

    No photo is sent. A sentence that several rows share is asked once, and one that the endpoint's file of answers holds not at
    all, so a run that was stopped goes on.

    Args:
        rows: as `piza.data.sorec.read_values` gives them. All fields of a row are those of its other wordings too, but "ref" and
            "id", which is counted on from the highest, or "ID-1" where some are texts.
        endpoint: who is asked. count: wordings of each sentence. parallel: questions on the way at once.
        progress: called with the number of sentences done, and of all.

    Raises:
        InputError: where the endpoint cannot be reached, does not let us in, or fails five questions in a row.
    """
    check_whole("count", count, 1)
    check_whole("parallel", parallel, 1, MAX_WORKERS)
    sentences = list(dict.fromkeys(row["ref"] for row in rows))
    result, wordings = Reworded(), dict[str, list[str]]()
    ask = partial(_wordings, endpoint, count)
    answers = each_answer(sentences, ask, lambda sentence: repr(sentence[:60]), endpoint, parallel, result)
    with closing(answers):
        for sentence, (found, why) in answers:
            wordings[sentence] = found
            if not found:
                result.without[why] += 1
            progress(len(wordings), len(sentences))
    given = [row["id"] for row in rows if "id" in row]
    new_ids = itertools.count(max((i for i in given if isinstance(i, int)), default=0) + 1)
    counted = all(isinstance(i, int) for i in given)
    taken = set(given)
    ids = []
    # A row without an id has that of its place, where that is free.
    for number, row in enumerate(rows, start=1):
        ids.append(row["id"] if "id" in row else next(new_ids) if number in taken else number)
        taken.add(ids[-1])
    new_ids = itertools.count(max((i for i in taken if isinstance(i, int)), default=0) + 1)
    for row, own in zip(rows, ids, strict=True):
        result.rows.append({**row, "id": own})
        for number, text in enumerate(wordings.get(row["ref"], ()), start=1):
            result.added += 1
            new = next(new_ids) if counted else f"{own}-{number}"
            result.rows.append({**row, "ref": text, "id": new})
    return result


def _wordings(endpoint: Endpoint, count: int, sentence: str) -> tuple[list[str], str]:
    """Other wordings of a sentence, or none and why."""
    question = REQUEST.replace("$count", str(count)).replace("$sentence", sentence)
    found, why = ask_sentences(endpoint, [question, "reword"], lambda: messages(question, ()))
    same = sentence.casefold().rstrip(".")
    others = [text for text in found if text.casefold().rstrip(".") != same]
    return others[:count], why or ("" if others else SAME)
