"""A WordPiece vocabulary of the words of a training."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from piza.model.text import CLS, DOT, SEP
from piza.training.from_scratch.frames.cache import FrameCache

UNKNOWN, MASK, QUESTION_MARK = 100, 103, 1029


def sentences_of(caches: Iterable[FrameCache]) -> Iterator[str]:
    """All sentences and phrases of some frame caches."""
    for cache in caches:
        for note in cache.notes:
            yield from (row[0] for row in note["rows"])
            yield from (phrase for phrase, _ in note["phrases"])


def write_tokenizer(folder: Path, sentences: Iterable[str], min_count: int = 2) -> None:
    """Write a tokenizer that knows the words that occur at least `min_count` times, and letters and digits for all others.

    The library splits prompts at the hard-coded ids 101, 102, 1012 (".") and 1029 ("?"); these tokens keep their places.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    splitter = BertWordPieceTokenizer(lowercase=True)
    words: Counter[str] = Counter()
    for sentence in sentences:
        pieces = splitter.pre_tokenizer.pre_tokenize_str(sentence.lower())
        words.update(piece for piece, _ in pieces)
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789")
    plain = letters + ["##" + c for c in letters] + list(",;:!'\"-()/&%+")
    known = {*plain, ".", "?"}
    plain += [word for word, count in words.most_common() if count >= min_count and word not in known]
    vocabulary = {word: i for i, word in enumerate(_with_fixed_places(plain))}
    BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)


def _with_fixed_places(plain: list[str]) -> list[str]:
    """The tokens in order, around those whose ids are fixed."""
    fixed = {
        0: "[PAD]", UNKNOWN: "[UNK]", CLS: "[CLS]", SEP: "[SEP]", MASK: "[MASK]", DOT: ".", QUESTION_MARK: "?",
    }  # fmt: skip
    tokens: list[str] = []
    rest = iter(plain)
    while len(tokens) <= max(fixed):
        at = len(tokens)
        tokens.append(fixed[at] if at in fixed else next(rest, f"[unused{at}]"))
    return [*tokens, *rest]
