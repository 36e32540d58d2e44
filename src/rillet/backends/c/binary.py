"""The constants of a program as bytes that an assembler includes: for a compiler of this machine, nobody reads them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rillet.backends.c.data import SPARE_BYTES, compact_declaration, own_arrays, same_arrays, weights_header
from rillet.ir.graph import Array

ALIGNMENT = 64
"""Of every array, in bytes."""
DATA = "net_weights.bin"
_MAC = "darwin"


@dataclass(frozen=True, slots=True)
class Sources:
    """What a compiler of this machine is given: files of text, and of bytes that the assembler includes, each as the
    arrays that it is made of.
    """

    files: dict[str, str]
    data: dict[str, list[memoryview]]


def binary_weights(arrays: Mapping[str, Array], platform: str = sys.platform) -> Sources:
    """net_weights.h, net_weights.s and net_weights.bin: every array aligned to 64 bytes, with room behind it that
    vectors may read; arrays of one type and content are one. In the order of bytes of the machine that this runs on.
    """
    own, same = own_arrays(arrays), same_arrays(arrays)
    lines, data, at = ["  .const"] if platform == _MAC else ["  .section .rodata"], list[memoryview](), 0
    for name, array in own.items():
        symbol = f"{'_' if platform == _MAC else ''}{name}_data"
        lines += [
            f"  .balign {ALIGNMENT}",
            f"  .globl {symbol}",
            f"  {'.private_extern' if platform == _MAC else '.hidden'} {symbol}",
            f"{symbol}:",
            *([f'  .incbin "{DATA}", {at}, {array.nbytes}'] if array.nbytes else []),
            f"  .zero {SPARE_BYTES + -array.nbytes % ALIGNMENT}",
        ]
        data.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        at += array.nbytes
    if platform != _MAC:
        # Or linkers make the stack executable.
        lines.append('  .section .note.GNU-stack,"",%progbits')
    header = weights_header([compact_declaration(name, array) for name, array in own.items()], same)
    return Sources({"net_weights.h": header, "net_weights.s": "\n".join([*lines, ""])}, {DATA: data})
