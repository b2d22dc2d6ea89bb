"""The one error a user is meant to read."""


class InputError(ValueError):
    """Something that was given cannot be used.

    The message is one sentence that says what was given and what is wanted; the command line prints it and
    exits with code 2. Faults of the program itself are never reported this way.
    """
