"""Instructions of the kernels of kernels/core_lists.S, counted line by line from its text, but for values clamped."""

from collections.abc import Sequence

from rillet.ir.ops import Rounding


def lists(lengths: Sequence[Sequence[int]], pixels: int, rule: Rounding) -> int:
    """One call, of one pixel or of two: of each output channel how long its lists are, run by run, those of + first."""
    return 29 + sum(_channel(channel, pixels, rule) for channel in lengths)


def _channel(lengths: Sequence[int], pixels: int, rule: Rounding) -> int:
    two = pixels == 2
    runs = sum(_run(length, two) for length in lengths) + 2 * (6 if two else 4)
    rounded = pixels * ((20 if rule is not Rounding.SHIFT else 8) + 4)
    return runs + rounded + (18 + 17 if two else 12 + 15)


def _run(length: int, two: bool) -> int:
    tail = 6 if two else 5
    return tail + (4 if not length else 13 + (5 if two else 3) * length + 3 * -(-length // 8))
