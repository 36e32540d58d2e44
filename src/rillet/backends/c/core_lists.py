"""Lists of ternary weights and constants in the order in which kernels/core_lists.S reads them."""

import numpy as np

from rillet.arithmetic.fixed_point import Ints
from rillet.backends.c.core_words import channel_words, words_of
from rillet.ir.graph import Array
from rillet.plan.board.kernels import RUN, Finish


def lists(signs: Ints, levels: Ints, bias: Ints, known: Finish) -> dict[str, Array]:
    """Places of + and of - run by run, each run's count before them; of each channel bias, mantissa, nudge, shift, and
    its two levels.

    signs: output channels x depth, of -1, 0 and 1; levels: output channels x 2.
    """
    made = [
        np.concatenate(([len(places)], places))
        for row in signs
        for sign in (1, -1)
        for places in (np.flatnonzero(row[at : at + RUN] == sign) for at in range(0, len(row), RUN))
    ]
    channels = np.concatenate([channel_words(bias, known), words_of(levels)], 1)
    return {"weights": np.concatenate(made).astype(np.uint8), "channels": channels}
