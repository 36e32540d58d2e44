"""Axes of a map, whole or in parts: how a reshaped and transposed tensor lies over height, width and channels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rillet.ir.types import Shape

REPEATED = "*"


class Axis(NamedTuple):
    """An axis of a map, or a part of one: `length` places, `step` apart."""

    of: str
    """C, H or W, or REPEATED for one that repeats its values."""
    length: int
    step: int = 1


Dim = tuple[Axis, ...]
"""The axes that lie in one dimension of a tensor, the slowest first; those of length 1 lie nowhere."""
Dims = tuple[Dim, ...]


def axes_of(shape: Shape, order: Iterable[str] = "CHW") -> dict[str, Axis]:
    """The axes of a map that are longer than 1, by their letters and in this order."""
    found = {"C": shape.channels, "H": shape.height, "W": shape.width}
    return {letter: Axis(letter, found[letter]) for letter in order if found[letter] > 1}


def length(dim: Dim) -> int:
    """Length of a dimension."""
    return math.prod(axis.length for axis in dim)


def merged(dim: Iterable[Axis]) -> Dim:
    """The axes with neighbouring parts drawn together where they follow each other."""
    out: list[Axis] = []
    for axis in dim:
        if out and out[-1].of == axis.of and out[-1].step == axis.length * axis.step:
            axis = Axis(axis.of, out.pop().length * axis.length, axis.step)
        out.append(axis)
    return tuple(out)


def regrouped(dims: Dims, wanted: Sequence[int]) -> Dims | None:
    """The same values in the same order as dimensions of these lengths, axes cut where they must be; None where no cut
    gives full parts.
    """
    left = [axis for dim in dims for axis in dim]
    out: list[Dim] = []
    for size in wanted:
        taken: list[Axis] = []
        while size > 1:
            if not left:
                return None
            axis = left.pop(0)
            if size % axis.length == 0:
                size //= axis.length
                taken.append(axis)
            elif axis.length % size == 0 and axis.of != REPEATED:
                inner = axis.length // size
                taken.append(Axis(axis.of, size, axis.step * inner))
                left.insert(0, Axis(axis.of, inner, axis.step))
                size = 1
            else:
                return None
        out.append(merged(taken))
    return None if left else tuple(out)


def parts_of(dims: Dims, letter: str = "C") -> list[Axis]:
    """The parts of an axis in the order in which they appear."""
    return [axis for dim in dims for axis in dim if axis.of == letter]


def laid(parts: Sequence[Axis]) -> dict[Axis, Axis]:
    """For parts of the channels, the slowest first, what each is where they lie so and without gaps."""
    out: dict[Axis, Axis] = {}
    step = 1
    for part in reversed(parts):
        out[part] = Axis(part.of, part.length, step)
        step *= part.length
    return out


def renamed(dims: Dims, names: Mapping[Axis, Axis]) -> Dims:
    """The dimensions with other axes in the place of some."""
    return tuple(merged(names.get(axis, axis) for axis in dim) for dim in dims)


def order_of(parts: Sequence[Axis]) -> tuple[int, ...]:
    """The channels in the order in which parts, the slowest first, run over them."""
    order = np.zeros((), np.int64)
    for part in parts:
        order = order[..., None] + np.arange(part.length) * part.step
    return tuple(order.reshape(-1).tolist())


def by_step(parts: Iterable[Axis]) -> list[Axis]:
    """Parts from the slowest to the fastest."""
    return sorted(parts, key=lambda part: -part.step)


def written(dims: Dims, shape: Shape) -> str:
    """A layout for messages, as in 1xCxHxW; of a part of an axis its length and the axis."""
    whole = axes_of(shape).values()
    names = [
        "".join(a.of if a in whole or a.of == REPEATED else f"({a.length} of {a.of})" for a in dim) for dim in dims
    ]
    return "x".join(name or "1" for name in names)


# -- two tensors -------------------------------------------------------------------------------------------------------


def aligned(left: Dims, right: Dims) -> tuple[Dims, Dims] | None:
    """Two layouts with as many dimensions and, where both have axes, as many axes of the same lengths in each.

    None where axes of different kinds or lengths meet. Parts of the channels may meet others of their length.
    """
    rank = max(len(left), len(right))
    one, other = (((),) * (rank - len(dims)) + dims for dims in (left, right))
    pairs = [_cut(first, second) for first, second in zip(one, other, strict=True)]
    found = [pair for pair in pairs if pair is not None]
    return (tuple(a for a, _ in found), tuple(b for _, b in found)) if len(found) == rank else None


def _cut(left: Dim, right: Dim) -> tuple[Dim, Dim] | None:
    """The axes of two dimensions cut where either of them ends."""
    if not left or not right:
        return left, right
    if length(left) != length(right):
        return None
    one, other = list(left), list(right)
    out: list[tuple[Axis, Axis]] = []
    while one and other:
        size = min(one[0].length, other[0].length)
        for axes in (one, other):
            inner, rest = divmod(axes[0].length, size)
            if rest:
                return None
            if inner > 1:
                axis = axes.pop(0)
                axes[:0] = [Axis(axis.of, size, axis.step * inner), Axis(axis.of, inner, axis.step)]
        out.append((one.pop(0), other.pop(0)))
        if len({axis.of for axis in out[-1]} - {REPEATED}) > 1:
            return None
    return tuple(a for a, _ in out), tuple(b for _, b in out)


def paired(left: Dims, right: Dims) -> tuple[Dims, Dims, Dims] | None:
    """Two layouts aligned, and that of an operation on both tensors; None where they do not fit each other.

    The channels of the result lie as those of the operand that has all parts, else in the order of the dimensions.
    """
    layouts = aligned(left, right)
    if layouts is None:
        return None
    dims = tuple(
        tuple(one if one.of != REPEATED else other for one, other in zip(first or second, second or first, strict=True))
        for first, second in zip(*layouts, strict=True)
    )
    if all(parts_of(own) != parts_of(dims) for own in layouts):
        dims = _by_appearance(dims)
    return *layouts, dims


def _by_appearance(dims: Dims) -> Dims:
    """The layout whose channels lie in the order in which their parts appear."""
    out = [list(dim) for dim in dims]
    step = 1
    for i, j in [(i, j) for i, dim in enumerate(dims) for j, axis in enumerate(dim) if axis.of == "C"][::-1]:
        out[i][j] = Axis("C", out[i][j].length, step)
        step *= out[i][j].length
    return tuple(map(tuple, out))


def pixels_of(dims: Dims) -> list[Axis]:
    """The axes of rows and columns."""
    return [axis for letter in "HW" for axis in parts_of(dims, letter)]


def size_of(dims: Dims) -> tuple[int, int]:
    """Height and width of a layout's map."""
    return length(tuple(parts_of(dims, "H"))), length(tuple(parts_of(dims, "W")))


def channels_for(own: Dims, dims: Dims) -> tuple[int, ...]:
    """For each channel of the layout `dims`, the one of a value with the layout `own`, which is aligned with it."""
    seen = {axis: mine[j] if mine else None for dim, mine in zip(dims, own, strict=True) for j, axis in enumerate(dim)}
    order = np.zeros((), np.int64)
    for part in by_step(axis for axis in seen if axis.of == "C"):
        mine = seen[part]
        step = 0 if mine is None or mine.of == REPEATED else mine.step
        order = order[..., None] + np.arange(part.length) * step
    return tuple(order.reshape(-1).tolist())


def squares(dims: Dims, shape: Shape) -> tuple[int, dict[Axis, Axis]] | None:
    """Where rows and columns are both cut into runs of one length: that length, and the axes once squares are channels.

    None where they are not. Of a map that has no rows or columns but those of one square, the whole axis is cut.
    """
    rows, columns = (by_step(parts_of(dims, letter)) for letter in "HW")
    if len(rows) > 2 or len(columns) > 2 or max(len(rows), len(columns)) < 2:
        return None
    block = max(rows[-1].length if len(rows) == 2 else 1, columns[-1].length if len(columns) == 2 else 1)
    names: dict[Axis, Axis] = {}
    for place, (letter, parts, side) in enumerate((("H", rows, shape.height), ("W", columns, shape.width))):
        step = shape.channels * (block if place == 0 else 1)
        if len(parts) == 2 and parts[1].length == block:
            names |= {parts[0]: Axis(letter, parts[0].length), parts[1]: Axis("C", block, step)}
        elif len(parts) == 1 and side == block:
            names |= {parts[0]: Axis("C", block, step)}
        else:
            return None
    return block, names


def behind_pixels(dims: Dims) -> tuple[Axis, Axis] | None:
    """Parts of the channels of one length that lie behind the rows and behind the columns; None where none do."""
    found = {dim[0].of: dim[1] for dim in dims if len(dim) == 2 and dim[0].of != "C" and dim[1].of == "C"}
    if found.keys() != {"H", "W"} or found["H"].length != found["W"].length:
        return None
    return found["H"], found["W"]


def with_squares(dims: Dims, behind: Iterable[Axis]) -> Dims:
    """The layout once the channels `behind` rows and columns are pixels of squares."""
    last = set(behind)
    return tuple(
        (Axis(dim[0].of, dim[0].length * dim[1].length),) if len(dim) == 2 and dim[1] in last else dim for dim in dims
    )


def unordered(dims: Dims) -> bool:
    """True where parts of the channels meet in a dimension that do not follow each other."""
    return any(one.of == other.of == "C" for dim in dims for one, other in pairwise(dim))


def needs_whole(dims: Dims, shape: Shape) -> bool:
    """True where rows or columns are cut, which no op does but into squares."""
    whole = axes_of(shape)
    return any(parts_of(dims, letter) not in ([], [whole.get(letter)]) for letter in "HW")
