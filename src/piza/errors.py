"""The one error a user is meant to read, its smaller sister, and how it quotes other errors."""

import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class InputError(ValueError):
    """Something that was given cannot be used.

    The message is one sentence that says what was given and what is wanted; the command line prints it and
    exits with code 2. Faults of the program itself are never reported this way. Control characters and line breaks,
    which names in others' files may hold, become their backslash escapes.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_CONTROLS.sub(lambda found: repr(found[0])[1:-1], str(message)))


class InputWarning(UserWarning):
    """Something that was given can be used, but is hardly what was meant.

    The message is one sentence, as that of an InputError; the command line prints it on stderr and goes on.
    """


def reason(error: BaseException, longest: int = 200) -> str:
    """The first sentence of what another library complains about, without its full stop, to quote in an InputError."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(" .")[:longest]
