"""How large the numbers may be that a caller chooses: more is a slip of the keyboard, and would be computed for years."""

from piza.errors import InputError

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


def check_whole(name: str, value: object, minimum: int, maximum: int = MAX_COUNT) -> None:
    """Raise InputError, naming what was given, unless it is a whole number in these limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise InputError(f"{name}: expected a whole number from {minimum} to {maximum}, got {value!r:.40}")
