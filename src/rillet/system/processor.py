"""What of the processor the operating system lets this process use."""

import ctypes
import sys
from functools import cache

_ARCH_PRCTL, _ASK, _TILES = 158, 0x1023, 18
"""The system call of x86-64 Linux, ARCH_REQ_XCOMP_PERM, and the state component that registers of tiles are."""


@cache
def tiles_allowed() -> bool:
    """Whether Linux gives this process the registers of AMX, which it must be asked for; asking twice does no harm."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ASK, _TILES) == 0
    except (OSError, AttributeError):
        return False
