"""Weights and constants in the order in which kernels/core_helium.S reads them."""

import numpy as np

from rillet.arithmetic.fixed_point import Ints
from rillet.backends.c.core_words import channel_words, in_parts, row_words, words_of
from rillet.ir.graph import Array
from rillet.plan.board.kernels import Finish

_GROUP = 4
"""Channels whose sums are one vector."""
_ORDER = [0, 2, 1, 3]
"""Of the channels of a group: two of them are summed at a time, and put into a vector at once."""


def dense(rows: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """Weights row by row, both parts of a row beside each other; for four channels biases, mantissas, nudges, shifts to
    the left.
    """
    weights = np.concatenate(in_parts(rows), 1) if known.wide else rows
    return {"weights": _grouped(weights)[:, _ORDER].astype(np.int8), "channels": _channels(bias, known, _ORDER)}


def taps(rows: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """Weights of four channels tap by tap, in 16 bits where they are wide, and the same for four channels."""
    weights = _grouped(rows).transpose(0, 2, 1).astype(np.int16 if known.wide else np.int8)
    return {"weights": weights, "channels": _channels(bias, known, [0, 1, 2, 3])}


def rows(taps: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """For each channel nine weights and the shift to the left, in bytes or 16 bits; then bias, mantissa, nudge."""
    nine, right = taps.reshape(len(taps), 9), known.rounding.right
    return {"channels": row_words(nine, -right, channel_words(bias, known)[:, :3], known.wide)}


def _grouped(values: Ints) -> Ints:
    """Values of each channel, in groups of channels; those that are missing in the last are 0."""
    wider = np.pad(values, ((0, -len(values) % _GROUP), (0, 0)))
    return wider.reshape(-1, _GROUP, values.shape[1])


def _channels(bias: Ints, known: Finish, order: list[int]) -> Array:
    rounding = known.rounding
    parts = (bias, rounding.mantissa, rounding.nudge, -rounding.right)
    columns = np.stack([part.astype(np.int64) for part in parts], 1)
    four = _grouped(columns).transpose(0, 2, 1).copy()
    four[:, 0] = four[:, 0][:, order]
    return words_of(four)
