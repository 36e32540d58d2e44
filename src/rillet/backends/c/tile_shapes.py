"""The register tiles that a program of a host may call, and their names in C."""

from dataclasses import dataclass

from rillet.plan.host.tilings import Values

_NAMES = {
    Values.REAL: "f32",
    Values.PAIRS: "bf16",
    Values.HALVES: "halves",
    Values.BYTES: "byte",
    Values.MATRIX_PAIRS: "bf16_matrix",
    Values.MATRIX_BYTES: "byte_matrix",
}
"""What names in C call the values of a dense tile."""


@dataclass(frozen=True, slots=True, order=True)
class DenseTile:
    """Sums of `pixels` x `vectors`, of float32 or of bytes; of pixels in line, or of windows over padded rows."""

    values: Values
    pixels: int
    vectors: int
    windows: bool = False

    @property
    def name(self) -> str:
        """Its function in C."""
        return f"rillet_{_NAMES[self.values]}_{'windows_' if self.windows else ''}{self.pixels}x{self.vectors}"


@dataclass(frozen=True, slots=True, order=True)
class WinogradTile:
    """Results of so many squares x `vectors`, of bytes; `kept`: by stored transforms of the weights."""

    squares: int
    vectors: int
    kept: bool

    @property
    def name(self) -> str:
        """Its function in C."""
        return f"rillet_winograd_{'kept_' if self.kept else ''}{self.squares}x{self.vectors}"


@dataclass(frozen=True, slots=True, order=True)
class DepthwiseTile:
    """Sums of `pixels` neighbours, for one vector of float32 values or one, two or four of bytes.

    `first` to `last` - 1 are the columns, of those that the tile looks at, that lie inside the map.
    """

    real: bool
    kernel: tuple[int, int]
    stride: int
    dilation: int
    pixels: int
    vectors: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """Its function in C."""
        words = (
            f"{self.kernel[0]}x{self.kernel[1]}",
            f"s{self.stride}",
            f"d{self.dilation}",
            f"{self.pixels}x{self.vectors}",
        )
        edge = () if self.inside else (str(self.first), str(self.last)) if self.real else ("edge",)
        return "_".join((f"rillet_{kind(self.real)}_depthwise", *words, *edge))

    @property
    def inside(self) -> bool:
        """Whether all its columns are; bytes have one function for all tiles that are not."""
        return self.first == 0 and self.last == self.columns

    @property
    def columns(self) -> int:
        """Columns from the first tap of the first pixel to the last tap of the last."""
        return (self.pixels - 1) * self.stride + (self.kernel[1] - 1) * self.dilation + 1

    def uses(self, column: int) -> list[tuple[int, int]]:
        """The (pixel, tap) pairs that look at a column."""
        found: list[tuple[int, int]] = []
        for tap in range(self.kernel[1]):
            pixel, rest = divmod(column - tap * self.dilation, self.stride)
            if rest == 0 and 0 <= pixel < self.pixels:
                found.append((pixel, tap))
        return found


@dataclass(frozen=True, slots=True, order=True)
class DepthwiseRow:
    """A row of what a depthwise layer makes, for the vectors of its tiles: runs of equal ones, from left to right."""

    tiles: tuple[DepthwiseTile, ...]
    stride: int

    @property
    def inside(self) -> bool:
        """Whether all their columns are inside the map."""
        return all(tile.inside for tile in self.tiles)

    @property
    def name(self) -> str:
        """Its function in C."""
        tile = self.tiles[0]
        start = f"rillet_{kind(tile.real)}_row_{tile.kernel[0]}x{tile.kernel[1]}_s{self.stride}_d{tile.dilation}"
        parts = (f"{t.pixels}x{t.vectors}" + ("" if t.inside else f"_{t.first}_{t.last}") for t in self.tiles)
        return "_".join((start, *parts))


def kind(real: bool) -> str:
    """What names in C call the values of a tile."""
    return "f32" if real else "byte"


Tile = DenseTile | WinogradTile | DepthwiseRow


def groups(vectors: int, most: int = 4) -> list[tuple[int, int]]:
    """How vectors of sums are stored as bytes: by four, two or one, at most so many, as (first, size)."""
    out: list[tuple[int, int]] = []
    while vectors:
        first = out[-1][0] + out[-1][1] if out else 0
        size = next(n for n in (4, 2, 1) if n <= min(vectors, most))
        out.append((first, size))
        vectors -= size
    return out


TOGETHER = 4
"""Pixels of one vector that are stored together, as four vectors of a pixel are."""
