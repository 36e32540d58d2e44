"""Writes register tiles of a matrix unit as C, in the vocabulary of kernels/vector_amx.h."""

from dataclasses import dataclass

from rillet.backends.c.kept_sums import factors, rounded
from rillet.backends.c.tile_shapes import DenseTile, groups, kind
from rillet.plan.host.matrix import MATRIX_REGISTERS, MATRIX_ROWS
from rillet.plan.host.tilings import Values


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The words that dense tiles of a matrix unit are written in."""

    value: str
    weight: str
    add: str


_MATRIX = {
    Values.MATRIX_BYTES: _Matrix("rillet_byte", "int8_t", "RILLET_MATRIX_ADD_BYTES"),
    Values.MATRIX_PAIRS: _Matrix("uint16_t", "uint16_t", "RILLET_MATRIX_ADD_BF16"),
}


def matrix_tile(tile: DenseTile) -> str:
    """The same by a matrix unit, for `count` pixels: of more than a tile has the last begins early enough to be whole,
    of fewer it reads on. Of windows `wide` pixels of every `line` are the result's. Sums go through memory.

    Weights: [depth][vectors][lanes], with as many values of the depth innermost as lie together in a lane.
    """
    words, real, pixels = _MATRIX[tile.values], tile.values.real, tile.pixels
    out, value = ("float", "float") if real else ("rillet_byte", "int32_t")
    channels = f"rillet_channels_{kind(real)}_tiles"
    depth = "rillet_runs runs" if tile.windows else "int32_t depth"
    stored = [(0, tile.vectors)] if real else groups(tile.vectors)
    begin = [
        f"\n/* {pixels} pixels x {tile.vectors} vectors{' of windows' if tile.windows else ''}, by matrices. */",
        f"RILLET_SHAPE void {tile.name}(const {words.value} *in, int32_t step, const {words.weight} *weights, {depth},",
        f"    int32_t first, {out} *values, int32_t pitch, int32_t lanes, int32_t count,"
        f" {'int32_t wide, int32_t line, ' if tile.windows else ''}const {channels} *k)",
        "{",
        f"  {value} sums[{pixels * tile.vectors} * RILLET_LANES] __attribute__((aligned(64)));",
        *([] if real else [line for first, size in stored for line in factors(first, size)]),
        f"  for (int32_t at = 0; at < count; at += {pixels}) {{",
        f"    const int32_t begin = at + {pixels} <= count || count < {pixels} ? at : count - {pixels};",
        f"    const int32_t end = begin + {pixels} <= count ? {pixels} : count - begin;",
        *(f"    {line}" for line in _sums(tile, stored)),
    ]
    lines = (
        _reals(tile) if real else [line for first, size in stored for line in rounded(_kept(tile, first), first, size)]
    )
    if not tile.windows:
        run = ["const int32_t from = at - begin, to = end;", f"{out} *const out = values + begin * pitch;", *lines]
        return "\n".join([*begin, *(f"    {line}" for line in run), "  }", "}"])
    run = [
        "for (int32_t from = at - begin, to; from < end; from = to) {",
        "  const int32_t x = (begin + from) % line, left = (x < wide ? wide : line) - x;",
        "  to = from + left < end ? from + left : end;",
        "  if (x >= wide) continue;",
        f"  {out} *const out = values + ((begin + from) / line * wide + x - from) * pitch;",
        *(f"  {line}" for line in lines),
        "}",
    ]
    return "\n".join([*begin, *(f"    {line}" for line in run), "  }", "}"])


def _sums(tile: DenseTile, stored: list[tuple[int, int]]) -> list[str]:
    """Brings the sums of a tile to memory, for each group of vectors that are stored together as [pixels][vectors]."""
    words, deep = _MATRIX[tile.values], tile.values.deep
    blocks, vectors = range(tile.pixels // MATRIX_ROWS), range(tile.vectors)
    width = f"{tile.values.together} * RILLET_LANES"
    lines = [f"const {words.weight} *w = weights;"]
    for v in vectors:
        for b in blocks:
            lines.append(f"RILLET_MATRIX_LOAD({b * tile.vectors + v}, k->bias + first + {v} * RILLET_LANES, 0);")
    if tile.windows:
        lines += [
            "for (int32_t r = 0; r < runs.parts * runs.rows * runs.in_row; r++) {",
            f"  const {words.value} *a = in + begin * step"
            " + r / runs.in_row % runs.rows * runs.row_step + r % runs.in_row * runs.step;",
        ]
    else:
        lines.append(f"const {words.value} *a = in + begin * step;")
    depth, whole = "runs.values" if tile.windows else "depth", f"{MATRIX_ROWS} * {tile.vectors} * {width}"
    lines.append(f"for (int32_t i = 0; i < {depth}; i += {deep}, a += {deep}, w += {whole}) {{")
    free = tile.pixels // MATRIX_ROWS * tile.vectors
    values = range(free, free + len(blocks))
    weights = range(values.stop, MATRIX_REGISTERS)
    for b in blocks:
        lines.append(f"  RILLET_MATRIX_LOAD({values[b]}, a + {b * MATRIX_ROWS} * step, step * sizeof *a);")
    for v in vectors:
        register = weights[v % len(weights)]
        lines.append(f"  RILLET_MATRIX_LOAD({register}, w + {v} * {width}, {tile.vectors} * {width} * sizeof *w);")
        lines += [f"  {words.add}({b * tile.vectors + v}, {values[b]}, {register});" for b in blocks]
    lines.append("}}" if tile.windows else "}")
    for first, size in stored:
        for v in range(first, first + size):
            for b in blocks:
                start = f"{first * tile.pixels + b * MATRIX_ROWS * size + v - first} * RILLET_LANES"
                lines.append(f"RILLET_MATRIX_STORE({b * tile.vectors + v}, sums + {start}, {size} * RILLET_LANES * 4);")
    return lines


def _reals(tile: DenseTile) -> list[str]:
    """Clamps and stores sums of float32."""
    lines = ["for (int32_t p = from; p < to; p++) {"]
    for v in range(tile.vectors):
        at = f"{v} * RILLET_LANES"
        lines += [
            f"  const rillet_reals s{v} = rillet_reals_load(sums + (p * {tile.vectors} + {v}) * RILLET_LANES);",
            f"  rillet_reals_store(out + p * pitch + {at}, s{v}, lanes - {at}, k->low, k->high);",
        ]
    return [*lines, "}"]


def _kept(tile: DenseTile, first: int) -> str:
    """Where the sums of a group of vectors lie."""
    return f"sums + {first * tile.pixels} * RILLET_LANES" if first else "sums"
