"""Text from users and files, made safe to print and to draw: one line, no control characters."""

import unicodedata

# They reorder the text around them, so that a line reads as something else than it says (Unicode TR 36, 2.5).
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """The text on one line, for a terminal, a drawing or a page.

    Runs of white space become one blank. Control characters (such as the escape that begins a terminal command), marks
    that reorder text and halves of surrogate pairs become their backslash escapes, so that what is shown is what the
    text holds. Letters of all scripts, joiners and emoji stay.
    """
    shown = "".join(letter if _is_plain(letter) else _escape(letter) for letter in text)
    return " ".join(shown.split())


def _is_plain(letter: str) -> bool:
    if letter.isspace():
        return True
    return letter not in _REORDERING and unicodedata.category(letter) not in ("Cc", "Cs")


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
