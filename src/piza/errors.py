"""The one error a user is meant to read, its smaller sister, and how it quotes other errors."""


class InputError(ValueError):
    """Something that was given cannot be used.

    The message is one sentence that says what was given and what is wanted; the command line prints it and
    exits with code 2. Faults of the program itself are never reported this way.
    """


class InputWarning(UserWarning):
    """Something that was given can be used, but is hardly what was meant.

    The message is one sentence, as that of an InputError; the command line prints it on stderr and goes on.
    """


def reason(error: BaseException, longest: int = 200) -> str:
    """The first sentence of what another library complains about, without its full stop, to quote in an InputError."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(" .")[:longest]
