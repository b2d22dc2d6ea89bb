"""Keeping libraries of C from writing on the screen of whoever uses this one."""

import ctypes
import functools
from pathlib import Path

import PIL


@functools.cache
def silence_libtiff() -> bool:
    """Have Pillow's libtiff say nothing about odd files on stderr; what is wrong with one is raised. Whether that could be done.

    Done for wheels of Pillow, which bring a libtiff of their own, so that no other program's is touched.
    """
    home = Path(PIL.__file__).parent
    for path in sorted([*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")]):
        try:
            library = ctypes.CDLL(str(path))  # loaded already: this is the same one
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                setter = getattr(library, name)
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
            return True
        except (OSError, AttributeError):
            continue
    return False
