"""Loads built libraries into this process, and lets one caller at a time into each."""

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path

from rillet.errors import BuildError
from rillet.system.cache import forget

_locks: dict[int, threading.RLock] = {}


def load_library(file: Path, names: Sequence[str]) -> ctypes.CDLL:
    """The library in a file, with all of these functions and variables.

    Raises BuildError where it cannot be loaded or lacks one; it is then not kept, so that it is made again.
    """
    try:
        found = ctypes.CDLL(str(file))
        for name in names:
            ctypes.c_char.in_dll(found, name)
    except (OSError, ValueError) as error:
        forget(file)
        reason = str(error).replace(str(file), file.name)[:200]
        raise BuildError(f"the C compiler must make a library with {', '.join(names)}, got: {reason}") from None
    return found


def lock_of(library: ctypes.CDLL) -> threading.RLock:
    """The lock of a library: its arena is one, however many have loaded it."""
    # A file that is loaded twice has one handle, and is never unloaded.
    return _locks.setdefault(library._handle, threading.RLock())  # pyright: ignore[reportPrivateUsage]
