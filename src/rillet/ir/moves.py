"""Operations that put values elsewhere and compute none, beside those of neighbouring channels and of whole rows."""

from dataclasses import dataclass

from rillet.errors import GraphError
from rillet.ir.types import Shape


@dataclass(frozen=True, slots=True)
class Select:
    """Channels of a value in any order, each as often as it is named: a shuffle, a step, a repetition.

    -1 stands for a channel of zeros (real zeros): so channels are added.
    """

    channels: tuple[int, ...]
    arity = 1

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < -1:
            raise GraphError(f"channels of a select must be at least one, none below -1, got {list(self.channels[:9])}")

    def output_shape(self, source: Shape) -> Shape:
        """The shape that it makes of a map; raises GraphError where it has no such channel."""
        if max(self.channels) >= source.channels:
            raise GraphError(f"channels of a select must be within {source.channels}, got {max(self.channels)}")
        return Shape(source.height, source.width, len(self.channels))


def widened(channels: int, before: int, after: int) -> Select:
    """All channels of a map, with so many of zeros before and after them."""
    return Select((-1,) * before + tuple(range(channels)) + (-1,) * after)


@dataclass(frozen=True, slots=True)
class DepthToSpace:
    """Each pixel of a map of `height` x `width` becomes a square of `block` x `block`; the first channels are the first
    pixel of the square, the next ones the pixel to its right.
    """

    block: int
    height: int
    width: int
    arity = 1

    def __post_init__(self) -> None:
        if min(self.block, self.height, self.width) < 1:
            got = f"{self.block}, {self.height}, {self.width}"
            raise GraphError(f"block, height and width of depthtospace must be at least 1, got {got}")

    @property
    def rows(self) -> tuple[int, ...]:
        """For each row of the result, the one of the source that it comes of."""
        return tuple(row // self.block for row in range(self.height * self.block))

    @property
    def columns(self) -> tuple[int, ...]:
        """The same of columns."""
        return tuple(column // self.block for column in range(self.width * self.block))

    def output_shape(self, source: Shape) -> Shape:
        """The shape that it makes of a map; raises GraphError for another map, or channels that do not divide."""
        if (source.height, source.width) != (self.height, self.width):
            raise GraphError(f"depthtospace must read a map of {self.height}x{self.width}, got {source}")
        if source.channels % self.block**2:
            raise GraphError(f"channels must be a multiple of {self.block}x{self.block}, got {source.channels}")
        return Shape(self.height * self.block, self.width * self.block, source.channels // self.block**2)


@dataclass(frozen=True, slots=True)
class SpaceToDepth:
    """Each square of `block` x `block` pixels becomes one: the channels of the first, then of the one to its right."""

    block: int
    arity = 1

    def __post_init__(self) -> None:
        if self.block < 1:
            raise GraphError(f"block of spacetodepth must be at least 1, got {self.block}")

    def output_shape(self, source: Shape) -> Shape:
        """The shape that it makes of a map; raises GraphError where the squares do not fill it."""
        if source.height % self.block or source.width % self.block:
            raise GraphError(f"map must consist of squares of {self.block}x{self.block}, got {source}")
        return Shape(source.height // self.block, source.width // self.block, source.channels * self.block**2)
