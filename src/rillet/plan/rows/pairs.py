"""Sums over the nodes of a segment, for all segments of a graph at once: matrices of [stop, start]."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]
"""A number for every pair of cut points: row `stop` is one past the last node, column `start` the first."""


class Pairs:
    """All pairs of cut points of `last`, which says of each node the place of its last reader (the number of nodes
    where the value is an output).
    """

    def __init__(self, last: Sequence[int]) -> None:
        self.count = len(last)
        self.place = np.arange(self.count)
        self.last = np.array(last)

    def run(self, weights: Sequence[Any] | Matrix) -> Matrix:
        """The sum over start <= i < stop."""
        total = np.concatenate([[0], np.cumsum(weights)])
        return total[:, None] - total[None, :]

    def most(self, weights: Sequence[Any] | Matrix) -> Matrix:
        """The greatest over start <= i < stop of numbers that are 0 or more."""
        rows = np.zeros((self.count + 1, self.count + 1), np.asarray(weights).dtype)
        rows[1:] = np.where(self.place[:, None] >= np.arange(self.count + 1)[None, :], np.asarray(weights)[:, None], 0)
        return np.maximum.accumulate(rows, axis=0)

    def kept(self, weights: Sequence[Any] | Matrix) -> Matrix:
        """The sum over the values made in a segment and read after it."""
        marks = self._marks(weights)
        np.add.at(marks, (self.place + 1, self.place), weights)
        np.subtract.at(marks, (self.last + 1, self.place), weights)
        return self._filled(marks)

    def ended(self, weights: Sequence[Any] | Matrix, until: Sequence[int] | Matrix) -> Matrix:
        """The sum over the values made in a segment and read in it alone, those of segments that begin at or before
        `until`.
        """
        marks = self._marks(weights)
        np.add.at(marks, (self.last + 1, np.minimum(self.place, until)), weights)
        return self._filled(marks)

    def before(self, weights: Sequence[Any] | Matrix) -> Matrix:
        """For each start, the sum over the values made before it that it or a later node reads."""
        marks = np.zeros(self.count + 2, np.asarray(weights).dtype)
        np.add.at(marks, self.place + 1, weights)
        np.subtract.at(marks, self.last + 1, weights)
        return np.cumsum(marks)[: self.count + 1]

    def _marks(self, weights: Sequence[Any] | Matrix) -> Matrix:
        return np.zeros((self.count + 2, self.count + 1), np.asarray(weights).dtype)

    def _filled(self, marks: Matrix) -> Matrix:
        """What was marked where it begins, summed over earlier stops and later starts."""
        return np.cumsum(np.cumsum(marks[:-1], axis=0)[:, ::-1], axis=1)[:, ::-1]
