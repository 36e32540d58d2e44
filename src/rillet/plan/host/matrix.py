"""Tiles of a matrix unit, which multiplies sixteen pixels by sixteen channels at a time, and what they take."""

from functools import lru_cache

from rillet.plan.rows.plan import Tiling

MATRIX_ROWS = 16
"""Pixels that a matrix unit multiplies at a time, by as many channels."""
MATRIX_BYTES = 64
"""Of the depth, what it takes in of each pixel."""
LEAST_MATRIX_DEPTH = 24
"""Bytes of a window's run from which on a matrix unit is faster than vectors: its sums go through memory."""
LEAST_MATRIX_PIXELS = 6
"""Of a matrix unit's rows, from which on it is worth while where the others may read on."""
MATRIX_REGISTERS = 8
"""Of a matrix unit, for sums, values and at least one for weights."""
_MATRIX_STEPS, _MATRIX_LATENCY, _MATRIX_LOAD = 16, 52, 9
"""Cycles from one product of registers to the next, until its sums are there, and for loading a register."""
_MATRIX_STORED = 5
"""Cycles in which a vector of sums of a pixel becomes values."""
_MATRIX_NS = 0.3
"""Of a cycle."""


def matrix_tiling(channels: int, pixels: int, products: int, threads: int = 1) -> Tiling:
    """The tile of a matrix unit with the fewest cycles, for pieces of so many pixels and more, each of so many products
    deep; the channels dealt out to so many threads.
    """
    return min(_matrix_tilings(channels, pixels, products, threads), key=lambda found: found[0])[1]


def matrix_ns(channels: int, pixels: int, products: int) -> float:
    """Estimated nanoseconds of so many pixels by a matrix unit."""
    return min(cycles for cycles, _ in _matrix_tilings(channels, pixels, products, 1)) * _MATRIX_NS


@lru_cache(maxsize=4096)
def _matrix_tilings(channels: int, pixels: int, products: int, threads: int) -> list[tuple[float, Tiling]]:
    """Each possible tile and what it takes."""
    most, out = -(-channels // MATRIX_ROWS), list[tuple[float, Tiling]]()

    def cycles(v: int, high: int) -> float:
        each = max(_MATRIX_STEPS * v * high, _MATRIX_LATENCY, _MATRIX_LOAD * (v + high))
        return products * each + (_MATRIX_STORED * v + 8) * MATRIX_ROWS * high + _MATRIX_LATENCY

    for high in range(1, max(1, pixels // MATRIX_ROWS) + 1):
        for v in range(1, min(most, (MATRIX_REGISTERS - 1) // high - 1) + 1):
            whole, rest = divmod(most, v)
            if threads > 1:
                whole, rest = -(-(whole + (rest > 0)) // threads), 0
            total = whole * cycles(v, high) + (cycles(rest, high) if rest else 0)
            out.append((total * -(-pixels // (high * MATRIX_ROWS)), Tiling(high * MATRIX_ROWS, v)))
    return out
