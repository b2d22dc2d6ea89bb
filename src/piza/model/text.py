"""Sentences to tokens: one block a sentence, ending in exactly one full stop.

GroundingDINO cuts a prompt into blocks at "." and "?" and lets words see only their own block, so marks inside a
sentence would cut it in two, and without a final "." the result depends on padding.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from piza.errors import InputError
from piza.model.known_words import unknown_words
from piza.process import ForkableLock

if TYPE_CHECKING:
    from torch import Tensor

DOT = 1012  # the id of "." on which the library cuts blocks; its tokenizers and ours use it
CLS, SEP = 101, 102
MAX_KEPT = 16_384  # sentences whose tokens are remembered
MAX_CHARACTERS = (
    40  # of a sentence, per token that is read: no need to tokenize a book to know that it is too long
)


def normalize(expression: str) -> str:
    """The sentence as one block: inner "." and "?" become spaces (or nothing between digits: 2.5 -> 2 5), one final ".".

    Raises InputError for what is no string or holds no words.
    """
    if not isinstance(expression, str):
        raise InputError(f"expected a sentence as text, got {type(expression).__name__}")
    if "\0" in expression:
        raise InputError(f"expected a sentence, got a text with a zero byte, {expression[:60]!r}")
    words = re.sub(r"[.?\s]+", " ", expression).strip()
    if not re.search(r"\w", words):
        raise InputError(f"expected a sentence that describes an object, got no words in {expression[:60]!r}")
    return words + "."


class Prompter:
    """Turns lists of sentences into model inputs, each sentence a block of its own; safe to use from several threads.

    tokenizer: called with `add_special_tokens=False` and `split_special_tokens=True`, it returns a mapping with "input_ids". max_tokens: of a prompt.
    prefix: token ids that every block starts with, such as learned context vectors; they count to `max_tokens`, and no
    pooling reads them.
    """

    def __init__(self, tokenizer: Any, max_tokens: int = 256, prefix: Sequence[int] = ()):
        self.tokenizer = tokenizer
        self.prefix = tuple(prefix)
        self.max_tokens = max_tokens - len(self.prefix)  # those left for a sentence with its two marks
        self.known_words: Mapping[str, int] | None = (
            None  # those that the model was taught; None: not recorded
        )
        self._lock = ForkableLock()  # a tokenizer of transformers fails in two threads at once
        self._ids = lru_cache(maxsize=MAX_KEPT)(self._tokenize)

    def __reduce__(self) -> Any:
        made_of = (self.tokenizer, self.max_tokens + len(self.prefix), self.prefix)
        return Prompter, made_of, {"known_words": self.known_words}  # all but the lock and what is remembered

    def unknown_words(self, expression: str) -> list[str]:
        """The words of a sentence that the model was never taught; none where that is not recorded."""
        return [] if self.known_words is None else unknown_words(expression, self.known_words)

    def _tokenize(self, text: str) -> tuple[int, ...]:
        with self._lock:
            found = self.tokenizer(
                text, add_special_tokens=False, split_special_tokens=True
            )  # "[SEP]" is a text
        ids = tuple(found["input_ids"])
        if len(ids) + 2 > self.max_tokens:
            raise InputError(f"expected a sentence of at most {self.max_tokens} tokens, got {len(ids) + 2}")
        return ids

    def token_ids(self, expression: str) -> tuple[int, ...]:
        """The ids of one sentence with its full stop, without prefix and marks.

        Raises InputError for a sentence without words, or with too many.
        """
        text = normalize(expression)
        if len(text) > MAX_CHARACTERS * self.max_tokens:
            raise InputError(
                f"expected a sentence of at most {self.max_tokens} tokens, got {len(text)} characters"
            )
        return self._ids(text)

    def __call__(self, prompts: Sequence[Sequence[str]]) -> "tuple[Tensor, Tensor, Tensor]":
        """Tokens of a batch of prompts as tensors: see `arrays`."""
        import torch  # not needed where graphs are run (piza.runtimes)

        input_ids, attention_mask, pooling = (torch.from_numpy(array) for array in self.arrays(prompts))
        return input_ids, attention_mask, pooling

    def arrays(
        self, prompts: Sequence[Sequence[str]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Tokens of a batch of prompts of one or more sentences each.

        Returns input_ids (batch, tokens), attention_mask (batch, tokens) and pooling (batch, tokens, blocks): each
        column averages over the tokens of one sentence, the full stop included; columns of missing blocks are zero.
        Raises InputError for a sentence without words, or with too many.
        """
        rows = [[self.token_ids(sentence) for sentence in prompt] for prompt in prompts]
        longest = max(2 + sum(len(self.prefix) + len(ids) for ids in row) for row in rows)
        input_ids = np.zeros((len(rows), longest), dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        pooling = np.zeros((len(rows), longest, max(map(len, rows))), dtype=np.float32)
        for i, row in enumerate(rows):
            at = 1
            input_ids[i, 0] = CLS
            for k, ids in enumerate(row):
                input_ids[i, at : at + len(self.prefix)] = self.prefix
                at += len(self.prefix)
                input_ids[i, at : at + len(ids)] = ids
                pooling[i, at : at + len(ids), k] = 1 / len(ids)
                at += len(ids)
            input_ids[i, at] = SEP
            attention_mask[i, : at + 1] = 1
        return input_ids, attention_mask, pooling
