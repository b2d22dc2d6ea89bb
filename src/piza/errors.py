"""The one error a user is meant to read, its smaller sister, how it quotes other errors, and which numbers are too large.

More than these limits is a slip of the keyboard, and would be computed for years.
"""

import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

MAX_COUNT = 10**9
"""Of whatever is counted."""

MAX_WORKERS = 1024
"""Processes, or requests at once."""

FARTHEST = 20_040_000
"""Meters, half the equator."""

HASH_BITS = 256
"""Of the hash by which photos look the same."""

MAX_TILES_A_SIDE = 32
"""Parts of a photo across, and down."""

MAX_SECONDS = 10**7
"""Of any limit on time: four months."""

MAX_RETRIES = 100
MAX_SEED = 2**63 - 1


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


def check_whole(name: str, value: object, minimum: int, maximum: int = MAX_COUNT) -> None:
    """Raise InputError, naming what was given, unless it is a whole number in these limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise InputError(f"{name}: expected a whole number from {minimum} to {maximum}, got {value!r:.40}")
