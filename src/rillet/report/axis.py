"""An axis of a picture: where numbers lie, and the round ones to show."""

import math
from collections.abc import Iterator


class Axis:
    """Where a number lies between two places on the page, and the round numbers between."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        span = (high - low) or max(abs(high), 1.0) * 0.1
        magnitude = 10.0 ** math.floor(math.log10(span / 5))
        self.step = next(m * magnitude for m in (1, 2, 5, 10) if span / (m * magnitude) <= 6)
        self.low, self.span, self.start, self.end = low, span, start, end

    def ticks(self) -> Iterator[float]:
        """The round numbers that the axis shows."""
        slack = 1e-9 * self.span
        first = math.ceil((self.low - slack) / self.step)
        last = math.floor((self.low + self.span + slack) / self.step)
        return (self.step * i for i in range(first, last + 1))

    def at(self, value: float) -> float:
        """The place of a number."""
        return round(self.start + (value - self.low) / self.span * (self.end - self.start), 1)
