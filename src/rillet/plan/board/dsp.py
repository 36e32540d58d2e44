"""Instructions of the kernels of kernels/core_dsp.S, counted line by line from its text: exact for every call."""

from rillet.ir.ops import Rounding


def dense(pairs: int, words: int, pixels: int, rule: Rounding, *, clamped: bool, wide: bool, sums: bool = False) -> int:
    """One call of a dense kernel: so many pairs of output channels, of one pixel or of three.

    sums: they are stored as they are.
    """
    group = {(3, False): 17, (3, True): 16, (1, False): 8, (1, True): 7}[pixels, wide]
    loop = words * group + words % 2 + 2 * (words // 4)
    finish = _finish(rule, wide=wide)
    if pixels == 3:
        stored = (0 if wide else 6) + 2 if sums else 2 * (1 + 3 * finish + (19 if clamped else 0) + 5)
        return 12 + pairs * (22 + loop + stored)
    stored = (0 if wide else 2) + 2 if sums else 2 * (1 + finish) + (13 if clamped else 0) + 3
    return 10 + pairs * (13 + loop + stored)


def gather(words: int, pixels: int, *, wide: bool) -> int:
    """One call that gathers words of four values."""
    split = 2 if wide else 4
    if pixels == 3:
        return 4 + words * (6 + 3 * split)
    return 8 + words // 2 * (5 + 2 * split) + words % 2 * (2 + split)


def taps(count: int, channels: int, rule: Rounding, *, clamped: bool) -> int:
    """One pixel of a depthwise convolution with `count` taps."""
    threes, single = divmod(count, 3)
    each = 7 + _rounded(rule) + (7 if clamped else 0)
    return 14 + channels // 4 * (16 + 11 * single + 29 * threes + 4 * each)


def rows(channels: int, width: int, stride: int, rule: Rounding) -> int:
    """One row of a depthwise 3x3 convolution over planes."""
    pair = 17 + 3 * (7 if stride == 1 else 9) + 2 * (_rounded(rule) - 2)
    odd = pair + 20 if width % 2 else 4
    return 7 + channels * (22 + width // 2 * pair + odd)


def _rounded(rule: Rounding) -> int:
    """Of a sum, without its last shift and its saturation."""
    return 4 if rule is Rounding.SHIFT else 2


def _finish(rule: Rounding, *, wide: bool) -> int:
    return _rounded(rule) + (2 if wide else 3)
