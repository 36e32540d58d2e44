"""Weights and constants in the order in which kernels/core_armv6m.S reads them."""

import numpy as np

from rillet.arithmetic.fixed_point import Ints
from rillet.backends.c.core_words import channel_words, in_parts, row_words
from rillet.ir.graph import Array
from rillet.plan.board.kernels import WORD, Finish


def dense(rows: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """Words of four weights, those of two parts row after row; for each channel bias, mantissa, nudge, shift."""
    parts = in_parts(rows) if known.wide else [rows]
    fours = np.stack([part.reshape(len(rows), -1, WORD) for part in parts], 1)
    bytes_ = fours[..., [1, 3, 0, 2]] + np.array([128, 128, 128, 0])
    words = np.ascontiguousarray((bytes_ & 255).astype(np.uint8)).view("<i4")
    return {"weights": words, "channels": channel_words(bias, known)}


def taps(rows: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """Weights channel by channel, in 16 bits where they are wide, and the same for each channel."""
    return {"weights": rows.astype(np.int16 if known.wide else np.int8), "channels": channel_words(bias, known)}


def rows(taps: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """For each channel nine weights, column by column, and the shift as bytes or 16 bits; bias, mantissa, nudge."""
    columns = taps.transpose(0, 2, 1).reshape(len(taps), 9)
    return {"channels": row_words(columns, known.rounding.right, channel_words(bias, known)[:, :3], known.wide)}
