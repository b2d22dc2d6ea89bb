"""The words that a model was taught: words.txt in its folder, one "word count" a line."""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from piza.errors import InputError, reason
from piza.files import atomic_write

WORDS_FILE = "words.txt"
MAX_BYTES = 10_000_000  # of words.txt; a list has some thousand words
MAX_DIGITS = 18  # of a count
MIN_TAUGHT = 3  # a word met so often in the training sentences counts as taught

UNSEEN, PICTURES = "Cf", "So"  # categories of Unicode


def split_words(sentence: str) -> list[str]:
    """The words of a sentence in lower case; numbers and punctuation are none. "Dark-colored" is two words.

    Letters are those of every script. An emoji or another picture (U+2603) is a word by itself. What has no width, such as a soft
    hyphen, is passed over, as tokenizers do it.
    """
    words = [""]
    for character in unicodedata.normalize("NFC", sentence.lower()):
        category = unicodedata.category(character)
        if category[0] in "LM":
            if category[0] == "L" or words[-1]:  # a mark behind no letter says how to draw an emoji
                words[-1] += character
        elif category == PICTURES:
            words += [character, ""]
        elif category != UNSEEN:
            words.append("")
    return [word for word in words if word]


def unknown_words(sentence: str, known: Iterable[str] | Mapping[str, int]) -> list[str]:
    """The words of a sentence that are not among the `known` ones, in their order, each once.

    Single Latin letters are never unknown: signs show them. A plural or a possessive of a known word is known.
    """
    found: dict[str, None] = {}
    for word in split_words(sentence):
        forms = {word, word.removesuffix("s"), word.removesuffix("es")}
        if not _is_latin_letter(word) and not any(form in known for form in forms):
            found[word] = None
    return list(found)


def _is_latin_letter(word: str) -> bool:
    return len(word) == 1 and unicodedata.name(word, "").startswith("LATIN ")


def write_known_words(folder: str | Path, counts: Mapping[str, int]) -> None:
    """Write FOLDER/words.txt, most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    with atomic_write(Path(folder) / WORDS_FILE) as part:
        part.write_text("".join(f"{word} {count}\n" for word, count in ordered), encoding="utf-8")


def read_known_words(folder: str | Path) -> dict[str, int] | None:
    """The words taught at least `MIN_TAUGHT` times, with their counts; None for a model that has no such list.

    Raises InputError when the list cannot be read, was cut short, or is not as `write_known_words` leaves it: a word lost from
    it would be called unknown without a fault being seen.
    """
    path = Path(folder) / WORDS_FILE
    if not path.is_file():
        return None
    counts: dict[str, int] = {}
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{str(path)!r}: expected a list of words of at most {MAX_BYTES // 10**6} MB")
        text = path.read_bytes().decode("utf-8")  # with line ends as they are
        if not text.endswith("\n"):
            raise InputError(
                f"{str(path)!r}: expected a list of words that ends with a line end; it was cut short"
            )
        highest = 10**MAX_DIGITS
        for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
            line = line.removesuffix("\r")
            word, _, count = line.partition(" ")
            if not (count.isascii() and count.isdigit() and len(count) <= MAX_DIGITS):
                problem = "a word and a count"
            elif split_words(word) != [word]:
                problem = "one word in lower case"
            elif word in counts:
                problem = "each word once"
            elif int(count) > highest:
                problem = "the words in the order of their counts"
            else:
                counts[word] = highest = int(count)
                continue
            raise InputError(f"{str(path)!r}, line {number}: expected {problem}, got {line[:40]!r}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} cannot be read as a list of words: {reason(error)}") from None
    return {word: count for word, count in counts.items() if count >= MIN_TAUGHT}
