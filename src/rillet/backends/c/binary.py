"""The constants of a program as bytes that an assembler includes: for a compiler of this machine, nobody reads them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rillet.backends.c.data import (
    SPARE_BYTES,
    bytes_of,
    compact_declaration,
    own_arrays,
    same_arrays,
    weights_header,
)
from rillet.ir.graph import Array
from rillet.targets.host import WASM

ALIGNMENT = 64
"""Of every array, in bytes."""
_WASM_ALIGNMENT, _WASM_SPARE_BYTES = 16, 16
"""Vectors of WebAssembly are a quarter as wide, and pages download what lies between."""
DATA = "net_weights.bin"
_MAC = "darwin"
_SECTIONS = {_MAC: "  .const", WASM: '  .section .rodata.weights,"",@'}
_SECTION = "  .section .rodata"


@dataclass(frozen=True, slots=True)
class Sources:
    """What a compiler of this machine is given: files of text, and of bytes that the assembler includes, each as the
    arrays that it is made of.
    """

    files: dict[str, str]
    data: dict[str, list[memoryview]]


def binary_weights(arrays: Mapping[str, Array], platform: str = sys.platform) -> Sources:
    """net_weights.h, net_weights.s and net_weights.bin: every array aligned to 64 bytes, with room behind it that
    vectors may read; arrays of one type and content are one.

    platform: as Python calls it, or WASM. In the order of bytes of the machine that this runs on, or of WebAssembly.
    """
    same = same_arrays(arrays)
    own = own_arrays(arrays, same)
    wasm = platform == WASM
    alignment, spare = (_WASM_ALIGNMENT, _WASM_SPARE_BYTES) if wasm else (ALIGNMENT, SPARE_BYTES)
    lines, data, at = [_SECTIONS.get(platform, _SECTION)], list[memoryview](), 0
    for name, array in own.items():
        symbol = f"{'_' if platform == _MAC else ''}{name}_data"
        room = spare + -array.nbytes % alignment
        lines += [
            f"  .balign {alignment}",
            f"  .globl {symbol}",
            f"  {'.private_extern' if platform == _MAC else '.hidden'} {symbol}",
            *([f"  .type {symbol},@object"] if wasm else []),
            f"{symbol}:",
            *([f'  .incbin "{DATA}", {at}, {array.nbytes}'] if array.nbytes else []),
            f"  .zero {room}",
            *([f"  .size {symbol}, {array.nbytes + room}"] if wasm else []),
        ]
        data.append(bytes_of(array.astype(array.dtype.newbyteorder("<"), copy=False) if wasm else array))
        at += array.nbytes
    if platform not in (_MAC, WASM):
        # Or linkers make the stack executable.
        lines.append('  .section .note.GNU-stack,"",%progbits')
    header = weights_header([compact_declaration(name, array) for name, array in own.items()], same)
    return Sources({"net_weights.h": header, "net_weights.s": "\n".join([*lines, ""])}, {DATA: data})
