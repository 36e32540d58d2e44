"""Arrays as C: small ones value by value, others as numbers of 64 bits, which take the least text and compile fast."""

import numpy as np

from rillet.backends.c.constants import C_TYPES, declaration, definition
from rillet.ir.graph import Array

READABLE_BYTES = 256
"""Arrays of at most so many bytes are written value by value."""
_WORD_BYTES, _IN_A_LINE = 8, 6
_LETTERS = "abcdef"


def _line_macros() -> str:
    lines = (
        f"#define W{size}({', '.join(_LETTERS)}) \\\n"
        f"  {', '.join(f'RILLET_ORDER_{size}(0x##{a})' for a in _LETTERS)},\n"
        f"#define V{size}(a) RILLET_ORDER_{size}(0x##a),\n"
        for size in (1, 2, 4, 8)
    )
    return "".join(lines)


WORD_MACROS = """
/* Numbers of 64 bits in hexadecimal digits, eight bytes each, the first byte the least significant one. Where the most
   significant byte comes first, values of 1, 2 or 4 bytes change their places within a number. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define RILLET_ORDER_4(w) ((uint64_t)(w) >> 32 | (uint64_t)(w) << 32)
#define RILLET_ORDER_2(w) \\
  ((RILLET_ORDER_4(w) >> 16 & 0x0000ffff0000ffff) | (RILLET_ORDER_4(w) & 0x0000ffff0000ffff) << 16)
#define RILLET_ORDER_1(w) \\
  ((RILLET_ORDER_2(w) >> 8 & 0x00ff00ff00ff00ff) | (RILLET_ORDER_2(w) & 0x00ff00ff00ff00ff) << 8)
#else
#define RILLET_ORDER_4(w) w
#define RILLET_ORDER_2(w) w
#define RILLET_ORDER_1(w) w
#endif
#define RILLET_ORDER_8(w) w
""" + _line_macros()
"""What the lines of `define_numbers` need before them."""


def in_words(array: Array) -> bool:
    """Whether an array is written so."""
    return array.nbytes > READABLE_BYTES


def declare_numbers(name: str, array: Array, place: str = "") -> str:
    """Lines of a header for an array: its type, itself, and the name of its values; `place` is an attribute."""
    if not in_words(array):
        return declaration(name, array, place)
    values, count = f"{C_TYPES[array.dtype.name]} values[{array.size}]", -(-array.nbytes // _WORD_BYTES)
    kind = f"union {name}_words {{ uint64_t words[{count}]; {values}; }}"
    return f"{kind};\nextern const union {name}_words {name}_data{place};\n#define {name} ({name}_data.values)"


def define_numbers(name: str, array: Array) -> str:
    """An array with its values."""
    if not in_words(array):
        return definition(name, array)
    return "\n".join([f"const union {name}_words {name}_data = {{{{", *word_lines(array), "}};"])


def word_lines(array: Array) -> list[str]:
    """The numbers."""
    digits = [f"{word:x}" for word in _words(array)]
    size, whole = array.itemsize, len(digits) - len(digits) % _IN_A_LINE
    rows = (",".join(digits[at : at + _IN_A_LINE]) for at in range(0, whole, _IN_A_LINE))
    return [*(f"W{size}({row})" for row in rows), *(f"V{size}({word})" for word in digits[whole:])]


def _words(array: Array) -> list[int]:
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return np.frombuffer(data + bytes(-len(data) % _WORD_BYTES), "<u8").tolist()
