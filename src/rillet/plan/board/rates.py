"""Instructions a core takes around its kernels, by kind of work, and in kernels whose text is not counted line by line.

Rates of compiled code are fitted to emulated runs of VWW, ResNet-8, person detection and MobileNetV2 0.35 (96 x 96)
under both plans, built by gcc 12 -O3, where every stage's function was kept by itself (noinline); another compiler
gives other counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.plan.rows.plan import CoreKernels


@dataclass(frozen=True, slots=True)
class Around:
    """Instructions of compiled code."""

    attempt: float
    """Of a stage's function: what tells whether it may fire, and which pixels."""
    call: float
    """Of a call of a kernel by the pixel: its arguments."""
    row: float
    """Of one by the row."""
    tap: float
    """Of the place of a tap."""
    window_row: Mapping[int, float]
    """Of a row of a window, by pixels at once."""
    border: tuple[float, float]
    """Of a tap of a window at the map's border, and of a byte of it: they are copied."""
    copied_row: tuple[float, float]
    """Of a row of a window whose bytes are copied, and of a byte of it."""
    rest_byte: float
    """Of a byte that whole words leave of a window's row."""
    same: float
    """Of a sum of two values, all of one scale."""
    rescaled: float
    """Of a sum or product of two values."""
    finish: float
    """Of a sum that the portable function makes a stored value."""
    pooled: tuple[float, float]
    """Of a value that a global pool reads, and of one that it makes."""
    softmax: float
    """Of a value."""
    convolved: tuple[float, float]
    """Of a value of a portable convolution of bytes, and of a multiply-accumulate."""
    portable: float
    """Of any other portable kernel: each multiply-accumulate and each value that it reads."""
    pushed: float
    """Of a pixel that is pushed in, or of a row where tiles are rows."""
    step: float
    """Of a step of the schedule, which tries a stage: the loop over steps."""
    driven: float
    """Of a tile of a full map that drives a segment."""
    set_byte: float
    """Of a byte that memset or memcpy writes, of those that an emitted folder brings: sixteen at a time."""
    flipped_byte: float
    """Of a byte of uint8 input that is copied as int8."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Instructions of the kernels of a core, and around them; those of the DSP kernels are in dsp.py."""

    around: Around
    dense: Mapping[int, tuple[float, float]]
    """By pixels at once: of the output channels that are made at once (constants, rounding, storing), and of a word of
    their weights, or of a vector.
    """
    wide: float = 0
    """Of those channels, where their weights are in two parts."""
    gather: tuple[float, float] = (0, 0)
    """Of a pixel whose values are gathered, and of a word or vector of them."""
    taps: tuple[float, float] = (0, 0)
    """Depthwise by the pixel, of the channels that are made at once: their constants and rounding, and a tap."""
    taps_together: int = 1
    rows_channel: float = 0
    """Depthwise by the row: a channel."""
    rows_pixels: tuple[float, float] = (0, 0)
    """Of the pixels that are made at once, under a stride of 1 and of 2."""
    rows_together: int = 1
    shift: float = 0
    """How much less a sum takes under the rule `shift`."""


RATES: Mapping[CoreKernels, Rates] = {
    CoreKernels.DSP: Rates(
        dense={},
        around=Around(
            attempt=33,
            call=32,
            row=75,
            tap=15.5,
            window_row={1: 48, 3: 20},
            border=(22, 0.75),
            copied_row=(32, 1),
            rest_byte=7,
            same=16,
            rescaled=40,
            finish=50,
            pooled=(6, 17),
            softmax=58,
            convolved=(56, 6),
            portable=6,
            pushed=20,
            step=13,
            driven=12,
            set_byte=0.6,
            flipped_byte=1.4,
        ),
    ),
    CoreKernels.ARMV6M: Rates(
        dense={3: (107, 31.5), 1: (53, 14.5)},
        wide=20,
        gather=(20, 15),
        taps=(47, 6.67),
        rows_channel=105,
        rows_pixels=(74.5, 73.5),
        shift=12,
        around=Around(
            attempt=50,
            call=199,
            row=218,
            tap=40,
            window_row={1: 155, 3: 155},
            border=(0, 0),
            copied_row=(45, 5),
            rest_byte=0,
            same=19,
            rescaled=169,
            finish=126,
            pooled=(9, 60),
            softmax=200,
            convolved=(126, 6),
            portable=30,
            pushed=95,
            step=13,
            driven=20,
            set_byte=0.6,
            flipped_byte=6,
        ),
    ),
    CoreKernels.HELIUM: Rates(
        dense={3: (73, 24), 1: (36, 10)},
        wide=13,
        taps=(16, 7),
        taps_together=4,
        rows_channel=37,
        rows_pixels=(29, 40),
        rows_together=4,
        around=Around(
            attempt=33,
            call=54,
            row=75,
            tap=14,
            window_row={1: 48, 3: 110},
            border=(12, 1),
            copied_row=(0, 0),
            rest_byte=0,
            same=26,
            rescaled=53,
            finish=51,
            pooled=(4, 24),
            softmax=58,
            convolved=(15, 7),
            portable=7,
            pushed=23,
            step=13,
            driven=12,
            set_byte=0.15,
            flipped_byte=1.4,
        ),
    ),
}
