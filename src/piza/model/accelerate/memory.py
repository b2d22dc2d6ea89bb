"""Memory that is kept between the steps of a look, where the C library would hand it back.

A look makes and drops hundreds of tensors of some megabytes. By default glibc asks the system for each of them anew, which
clears every page before it is used: a fifth of the time of a look on a CPU.

This is a setting of the process, not of a model: it cannot be undone.
"""

import ctypes
import os

KEEP = 32 * 2**20  # bytes: smaller blocks come from memory that is kept; the most that glibc takes
TRIM = 256 * 2**20  # bytes that may be kept free at the end of the heap
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_memory() -> bool:
    """Tells the C library to keep memory, for the whole process and for good; returns whether it does.

    False, and nothing is changed, where the library is not glibc, and where the environment says how it is to be done
    (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ or GLIBC_TUNABLES).
    """
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
    if any(name in os.environ for name in names):
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):  # another system
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, KEEP)) and bool(mallopt(_M_TRIM_THRESHOLD, TRIM))
