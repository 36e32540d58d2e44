"""The constants of a program as bytes that an assembler includes: for a compiler of this machine, nobody reads them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

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
_WASM_ALIGNMENT = 16
"""Vectors of WebAssembly are a quarter as wide, and pages download what lies between."""
DATA = "net_weights.bin"
_MAC = "darwin"
_SECTIONS = {_MAC: "  .const"}
_SECTION = "  .section .rodata"
_WASM_SECTION, _WASM_ZEROS = '  .section .rodata.weights,"",@', '  .section .bss.weights,"",@'
"""Memory that begins as zeros is in no file."""


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

    platform: as Python calls it, or WASM, where arrays lie side by side, with room behind the last. In the order of
    bytes of the machine that this runs on, or of WebAssembly.
    """
    same = same_arrays(arrays)
    own = own_arrays(arrays, same)
    header = weights_header([compact_declaration(name, array) for name, array in own.items()], same)
    if platform == WASM:
        return _wasm_weights(own, header)
    lines, data, at = [_SECTIONS.get(platform, _SECTION)], list[memoryview](), 0
    for name, array in own.items():
        symbol = f"{'_' if platform == _MAC else ''}{name}_data"
        lines += [
            f"  .balign {ALIGNMENT}",
            f"  .globl {symbol}",
            f"  {'.private_extern' if platform == _MAC else '.hidden'} {symbol}",
            f"{symbol}:",
            *_included(at, array.nbytes),
            f"  .zero {SPARE_BYTES + -array.nbytes % ALIGNMENT}",
        ]
        data.append(bytes_of(array))
        at += array.nbytes
    if platform != _MAC:
        # Or linkers make the stack executable.
        lines.append('  .section .note.GNU-stack,"",%progbits')
    return Sources({"net_weights.h": header, "net_weights.s": "\n".join([*lines, ""])}, {DATA: data})


def _wasm_weights(own: Mapping[str, Array], header: str) -> Sources:
    """The same, side by side: what vectors read behind an array is the next one, or room behind the last."""
    stored = {name: bytes_of(array.astype(array.dtype.newbyteorder("<"), copy=False)) for name, array in own.items()}
    zeros = {name for name, values in stored.items() if not np.frombuffer(values, np.uint8).any()}
    lines, data, at = list[str](), list[memoryview](), 0
    for section, names in ((_WASM_SECTION, own.keys() - zeros), (_WASM_ZEROS, zeros)):
        inside = [name for name in own if name in names]
        lines += [section] if inside else []
        for name in inside:
            symbol, nbytes = f"{name}_data", len(stored[name])
            room = -nbytes % _WASM_ALIGNMENT + (_WASM_ALIGNMENT if name == inside[-1] else 0)
            lines += [
                f"  .balign {_WASM_ALIGNMENT}",
                f"  .globl {symbol}",
                f"  .hidden {symbol}",
                f"  .type {symbol},@object",
                f"{symbol}:",
                *([f"  .zero {nbytes}"] if section is _WASM_ZEROS else _included(at, nbytes)),
                f"  .zero {room}",
                f"  .size {symbol}, {nbytes + room}",
            ]
            if section is _WASM_SECTION:
                data.append(stored[name])
                at += nbytes
    return Sources({"net_weights.h": header, "net_weights.s": "\n".join([*lines, ""])}, {DATA: data})


def _included(at: int, nbytes: int) -> list[str]:
    return [f'  .incbin "{DATA}", {at}, {nbytes}'] if nbytes else []
