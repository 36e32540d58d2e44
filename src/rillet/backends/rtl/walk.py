"""Pixels that each firing of a window needs and frees, as two small tables: of a map's rows, and of their columns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.backends.rtl.layout import bits_of
from rillet.backends.rtl.memories import words
from rillet.ir.types import Shape
from rillet.plan.pipeline.fifos import Reading


@dataclass(frozen=True, slots=True)
class Walk:
    """What the first firing needs, and what the others need and free more: 1 each, or by tables."""

    need: int
    even: bool
    need_bits: int = 1
    free_bits: int = 1
    classes: int = 2
    """Kinds of rows, at least two."""
    rows: str = ""
    columns: str = ""


def walk(reading: Reading, out: Shape, pixels: int, moves: npt.NDArray[np.int64] | None, address_bits: int) -> Walk:
    """The tables of a reading of a map of `pixels`; `moves` are the words of the ring by which each firing moves on."""
    # A firing waits for all those before it.
    needs = np.maximum.accumulate(reading.needs)
    more = np.append(np.diff(needs), pixels + needs[0] - needs[-1])
    freed = np.diff(reading.keeps, prepend=0)
    if moves is None and (more == 1).all() and (freed == 1).all():
        return Walk(int(needs[0]), True)
    fields = [more, freed, np.zeros(len(more), np.int64) if moves is None else moves]
    bits = [*(bits_of(int(field.max()) + 1) for field in fields[:2]), 1 if moves is None else address_bits]
    grids = np.stack([field.reshape(out.height, out.width) for field in fields], 2)
    kinds, of_row = np.unique(grids[:, :-1].reshape(out.height, -1), axis=0, return_inverse=True)
    classes, wide = max(2, len(kinds)), 1 << bits_of(out.width)
    columns = np.zeros((classes, wide, 3), np.int64)
    columns[: len(kinds), : out.width - 1] = kinds.reshape(len(kinds), out.width - 1, 3)
    flat = columns.reshape(-1, 3)
    ends = grids[:, -1]
    rows = words(*((ends[:, i], bits[i]) for i in range(3)), (of_row.reshape(-1).astype(np.int64), bits_of(classes)))
    return Walk(
        int(needs[0]), False, bits[0], bits[1], classes, rows, words(*((flat[:, i], bits[i]) for i in range(3)))
    )
