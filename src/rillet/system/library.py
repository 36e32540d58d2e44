"""Compiled libraries in this process: loading, contexts, and a lock for their global state."""

import ctypes
import mmap
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.errors import BuildError
from rillet.system.cache import forget

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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
    """The lock of a library, for callers that take turns: those of programs that have threads themselves."""
    # A file that is loaded twice has one handle, and is never unloaded.
    return _locks.setdefault(library._handle, threading.RLock())  # pyright: ignore[reportPrivateUsage]


CONTEXT_NAMES = ("net_context_bytes", "net_arena_bytes", "net_init")
"""What a library must have for a `Context`."""


class Context:
    """A net_context of an emitted program with an arena of its own; its threads end when nobody refers to it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        context, arena = (_pages(_number(library, f"net_{what}_bytes")) for what in ("context", "arena"))
        self.pointer = ctypes.c_void_p(ctypes.addressof(context))
        self.arena = arena
        library.net_init.restype = ctypes.c_int32
        if library.net_init(self.pointer, ctypes.c_void_p(ctypes.addressof(arena))):
            # Pages are aligned, so it is the other reason.
            raise BuildError("the system must give this process the registers of AMX, got a refusal")
        stop = getattr(library, "net_stop", None)
        # The memory is held for as long as threads may use it.
        weakref.finalize(self, _stopped, stop, self.pointer, context, arena)


def _stopped(stop: Callable[[ctypes.c_void_p], object] | None, pointer: ctypes.c_void_p, *_memory: object) -> None:
    if stop is not None:
        stop(pointer)


def address(array: "npt.NDArray[np.generic]") -> int:
    """Where the bytes of an array lie, for as long as somebody holds it; `array.ctypes` takes a microsecond to tell."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):  # it may not be written to, or is empty
        return array.ctypes.data


def _number(library: ctypes.CDLL, name: str) -> int:
    return ctypes.c_int32.in_dll(library, name).value


def _pages(count: int) -> "ctypes.Array[ctypes.c_uint8]":
    """Memory that begins at a page, all zeros, and costs nothing before it is touched."""
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked process has its own
    return (ctypes.c_uint8 * count).from_buffer(mmap.mmap(-1, max(count, 1), flags=private))
