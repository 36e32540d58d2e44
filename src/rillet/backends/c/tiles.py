"""Writes register tiles as C in the vocabulary of kernels/vector_*.h: unrolled, or compilers do not keep sums in
registers. One function a shape; the numbers of a layer are literal arguments of it.
"""

from dataclasses import dataclass

from rillet.backends.c.matrix_tiles import matrix_tile
from rillet.backends.c.tile_shapes import (
    TOGETHER,
    DenseTile,
    DepthwiseRow,
    DepthwiseTile,
    Tile,
    WinogradTile,
    groups,
    kind,
)
from rillet.backends.c.winograd import sum_shapes, winograd_sums, winograd_tile
from rillet.plan.host.tilings import GROUP_ROWS, VECTORS, Values


@dataclass(frozen=True, slots=True)
class _Dense:
    """The words that dense tiles of one kind of values are written in."""

    value: str
    """The type of a value."""
    weight: str
    spread: str
    """The same values in every lane, from their address."""
    spread_type: str
    load: str
    weights_type: str
    add: str


_DENSE = {
    Values.REAL: _Dense(
        *("float", "float", "rillet_reals_all(*({}))", "rillet_reals"),
        *("rillet_reals_load", "rillet_reals", "rillet_reals_add_product"),
    ),
    Values.PAIRS: _Dense(
        *("uint16_t", "uint16_t", "rillet_bf16s_all({})", "rillet_bf16s"),
        *("rillet_bf16s_load", "rillet_bf16s", "rillet_reals_add_pairs"),
    ),
    Values.HALVES: _Dense(
        *("int16_t", "int16_t", "rillet_halves_all({})", "rillet_halves"),
        *("rillet_halves_load", "rillet_halves", "rillet_sums_add_halves"),
    ),
    Values.BYTES: _Dense(
        *("rillet_byte", "int8_t", "rillet_bytes_all({})", "rillet_bytes"),
        *("rillet_weights_load", "rillet_weights", "rillet_sums_add_products"),
    ),
}


def tiles_header(tiles: set[Tile], kernels: str) -> str:
    """The text of kernels/tiles.h: every tile that a program uses."""
    dense = sorted((t for t in tiles if isinstance(t, DenseTile)), key=lambda t: t.name)
    squares = sorted(t for t in tiles if isinstance(t, WinogradTile))
    rows = sorted(t for t in tiles if isinstance(t, DepthwiseRow))
    depthwise = {tile.name: tile for tile in sorted(tile for row in rows for tile in row.tiles)}.values()
    parts = [
        "/* Register tiles of this program, unrolled. */",
        "#ifndef RILLET_TILES_H",
        "#define RILLET_TILES_H",
        f'#include "vector_{kernels}.h"',
        '#include "channels.h"',
        *(['#include "winograd.h"'] if squares else []),
        *(matrix_tile(tile) if tile.values.matrix else _dense(tile) for tile in dense),
        *(winograd_sums(pixels, vectors) for pixels, vectors in sum_shapes(squares)),
        *(winograd_tile(tile) for tile in squares),
        *(_real_depthwise(tile) if tile.real else _byte_depthwise(tile) for tile in depthwise),
        *(_row(row, compact=VECTORS[kernels].compact) for row in rows),
        "#endif",
    ]
    return "\n".join(parts) + "\n"


def _dense(tile: DenseTile) -> str:
    """Pixels or windows `step` apart in, pixels `pitch` apart out.

    Weights: [depth][vectors][lanes], with as many values of the depth innermost as one instruction takes in.
    """
    words, deep = _DENSE[tile.values], tile.values.deep
    real, pixels, vectors = tile.values.real, range(tile.pixels), range(tile.vectors)
    out, sums = ("float", "rillet_reals") if real else ("rillet_byte", "rillet_sums")
    wide = "RILLET_LANES" if deep == 1 else f"{deep} * RILLET_LANES"
    channels = f"rillet_channels_{kind(real)}_tiles"
    depth = "rillet_runs runs" if tile.windows else "int32_t depth"
    lines = [
        f"\n/* {tile.pixels} pixels x {tile.vectors} vectors{' of windows' if tile.windows else ''}. */",
        f"RILLET_SHAPE void {tile.name}(const {words.value} *{'at' if tile.windows else 'a'}, int32_t step,"
        f" const {words.weight} *w, {depth},",
        f"    int32_t first, {out} *out, int32_t pitch, int32_t lanes, const {channels} *k)",
        "{",
    ]
    load = "rillet_reals_load" if real else "rillet_sums_load"
    # Or compilers take short loops apart and load all weights before the first pixel, into memory; and keep the biases
    # of the next tile in registers that the sums of this one need.
    lines.append("  RILLET_OPAQUE(w);")
    lines += [f"  const {'float' if real else 'int32_t'} *bias = k->bias + first;", "  RILLET_OPAQUE(bias);"]
    for v in vectors:
        lines.append(f"  {sums} s0_{v} = {load}(bias + {v} * RILLET_LANES);")
    lines += [f"  {sums} {', '.join(f's{p}_{v} = s0_{v}' for v in vectors)};" for p in pixels if p]
    if tile.windows:
        lines += [
            "  for (int32_t r = 0; r < runs.parts * runs.rows * runs.in_row; r++) {",
            f"    const {words.value} *a ="
            " at + r / runs.in_row % runs.rows * runs.row_step + r % runs.in_row * runs.step;",
        ]
    count = "runs.values" if tile.windows else "depth"
    lines.append(f"  for (int32_t i = 0; i < {count}; i += {deep}, a += {deep}, w += {tile.vectors} * {wide}) {{")
    lines += [f"    {words.weights_type} w{v} = {words.load}(w + {v} * {wide});" for v in vectors]
    if tile.values is not Values.BYTES and tile.pixels > 1:
        # Or compilers load them again for each of two or three pixels.
        lines += [f"    RILLET_KEEP(w{v});" for v in vectors]
    for p in pixels:
        spread = words.spread.format(f"a + {p} * step")
        lines.append(f"    const {words.spread_type} a{p} = {spread};")
        lines += [f"    s{p}_{v} = {words.add}(s{p}_{v}, a{p}, w{v});" for v in vectors]
    lines.append("  }}" if tile.windows else "  }")
    if real:
        for v in vectors:
            place = f"{v} * RILLET_LANES"
            lines += [
                f"  rillet_reals_store(out + {p} * pitch + {place}, s{p}_{v}, lanes - {place}, k->low, k->high);"
                for p in pixels
            ]
    else:
        for first, size in groups(tile.vectors):
            lines += _stored(tile.pixels, first, size)
    return "\n".join([*lines, "}"])


def _stored(pixels: int, first: int, size: int) -> list[str]:
    """Rounds and stores the sums of a group of vectors."""
    at, parts = f"{first} * RILLET_LANES", range(first, first + size)
    lines = [f"  if (rillet_by_integers(k, first + {at})) {{", f"    int32_t kept[{pixels * size} * RILLET_LANES];"]
    for p in range(pixels):
        lines += [f"    rillet_sums_keep(kept + {p * size + v - first} * RILLET_LANES, s{p}_{v});" for v in parts]
    arguments = f"kept, {size}, {pixels}, first + {at}, out + {at}, pitch, lanes - {at}, k"
    lines += [f"    rillet_store_kept({arguments});", "  } else {"]
    for v in parts:
        place = f"first + {v} * RILLET_LANES"
        lines.append(f"    const rillet_factors f{v} = rillet_factors_of(k, {place});")
    for p in range(pixels):
        lines += [f"    s{p}_{v} = rillet_sums_to_store(s{p}_{v}, f{v}, k);" for v in parts]
        place = f"out + {p} * pitch + {at}"
        sums, store = [f"s{p}_{v}" for v in parts], f"rillet_store_{size}({place},"
        if size == 1 and p < pixels - pixels % TOGETHER:
            if p % TOGETHER < TOGETHER - 1:
                continue
            begin = p + 1 - TOGETHER
            sums = [f"s{q}_{first}" for q in range(begin, p + 1)]
            store = f"rillet_store_1_of_{TOGETHER}(out + {begin} * pitch + {at}, pitch,"
        lines.append(f"    {store} {', '.join(sums)}, lanes - {at},")
        lines.append("                   k->zero + k->centre, k->low, k->high, rillet_as_bits(k));")
    return [*lines, "  }"]


def _depthwise_head(tile: DepthwiseTile, value: str, weight: str, extra: str) -> list[str]:
    (high, wide), channels = tile.kernel, f"rillet_channels_{kind(tile.real)}_tiles"
    ends = f"{tile.first} to {tile.last - 1}" if tile.inside or tile.real else "`from` to `to` - 1"
    return [
        f"\n/* {tile.pixels} pixels x {tile.vectors} vectors under windows of {high}x{wide}, stride {tile.stride},"
        f" dilation {tile.dilation};\n   of the columns, {ends} lie inside. */",
        f"RILLET_SHAPE void {tile.name}(const {value} *const row[], int32_t at, int32_t step, const {weight} *w,",
        f"    int32_t first, {value} *out, int32_t pitch, int32_t lanes, {extra}const {channels} *k)",
        "{",
    ]


def _real_depthwise(tile: DepthwiseTile) -> str:
    """`at` is the first column's place in each row, columns lie `step` apart; weights as [taps][lanes]."""
    pixels = range(tile.pixels)
    lines = _depthwise_head(tile, "float", "float", "")
    lines.append("  rillet_reals s0 = rillet_reals_load(k->bias + first);")
    if tile.pixels > 1:
        lines.append(f"  rillet_reals {', '.join(f's{p} = s0' for p in pixels if p)};")
    inside = [c for c in range(max(tile.first, 0), tile.last) if tile.uses(c)]
    if not inside:
        lines.append("  (void)row, (void)at, (void)step, (void)w;")
    for i in range(tile.kernel[0]) if inside else ():
        # From the first column inside: one before it may lie before the array.
        lines += ["  {", f"    const float *const from = row[{i}] + (at + {inside[0]} * step);"]
        lines += [f"    const rillet_reals a{c} = rillet_reals_load(from + {c - inside[0]} * step);" for c in inside]
        for j in range(tile.kernel[1]):
            used = [p for p in pixels if p * tile.stride + j * tile.dilation in inside]
            if used:
                tap = i * tile.kernel[1] + j
                lines.append(f"    const rillet_reals w{j} = rillet_reals_load(w + {tap} * RILLET_LANES);")
            for p in used:
                column = p * tile.stride + j * tile.dilation
                lines.append(f"    s{p} = rillet_reals_add_product(s{p}, a{column}, w{j});")
        lines.append("  }")
    lines += [f"  rillet_reals_store(out + {p} * pitch, s{p}, lanes, k->low, k->high);" for p in pixels]
    return "\n".join([*lines, "}"])


_EDGE = "rillet_four outside, int32_t from, int32_t to, "


def _byte_depthwise(tile: DepthwiseTile) -> str:
    """As above, weights as [groups of four rows][taps of a row][vectors], loaded."""
    pixels, parts = range(tile.pixels), range(tile.vectors)
    lines = _depthwise_head(tile, "rillet_byte", "rillet_weights", "" if tile.inside else _EDGE)
    for q in parts:
        lines.append(f"  rillet_sums s0_{q} = rillet_sums_load(k->bias + first + {q} * RILLET_LANES);")
    lines += [f"  rillet_sums {', '.join(f's{p}_{q} = s0_{q}' for q in parts)};" for p in pixels if p]
    for group in range(-(-tile.kernel[0] // GROUP_ROWS)):
        for column in range(tile.columns):
            uses = tile.uses(column)
            if not uses:
                continue
            rows = ", ".join(f"row[{GROUP_ROWS * group + i}] + (at + {column} * step)" for i in range(GROUP_ROWS))
            four = f"rillet_four_rows_{tile.vectors}({rows})"
            if not tile.inside:
                four = f"from <= {column} && {column} < to ? {four} : outside"
            lines += ["  {", f"    const rillet_four a = {four};"]
            for p, tap in uses:
                for q in parts:
                    weights = f"w[{(group * tile.kernel[1] + tap) * tile.vectors + q}]"
                    lines.append(f"    s{p}_{q} = rillet_sums_add_products(s{p}_{q}, a.part[{q}], {weights});")
            lines.append("  }")
    return "\n".join([*lines, *_stored(tile.pixels, 0, tile.vectors), "}"])


def _loaded(high: int, wide: int, vectors: int, *, compact: bool) -> list[str]:
    """Loads weights of bytes, group by group; `compact`: those of rows that are none are not there."""
    wholes, rest = divmod(high, GROUP_ROWS)
    groups, each = -(-high // GROUP_ROWS), wide * vectors
    lines = [f"  rillet_weights w[{groups * each}];"]
    whole = wholes if compact else groups
    if whole:
        load = f"rillet_weights_load(weights + i * {GROUP_ROWS} * RILLET_LANES)"
        lines.append(f"  for (int32_t i = 0; i < {whole * each}; i++) w[i] = {load};")
    if groups > whole:
        at, first = whole * each, f"{whole * each * GROUP_ROWS} * RILLET_LANES + "
        load = f"rillet_weights_load_rows(weights + {first if at else ''}i * {rest} * RILLET_LANES, {rest})"
        lines.append(f"  for (int32_t i = 0; i < {each}; i++) w[{f'{at} + ' if at else ''}i] = {load};")
    return lines


def _row(row: DepthwiseRow, *, compact: bool) -> str:
    """The tiles of each run, whose first pixel and end the caller tells; `at` is the place of pixel 0's first column.

    Weights of bytes are loaded once for all tiles: no compiler can, which must think that what is stored may be such.
    """
    tile, runs = row.tiles[0], range(len(row.tiles))
    value, weight = ("float", "float") if tile.real else ("rillet_byte", "int8_t")
    edge = not (tile.real or row.inside)
    outside = "int32_t outside, " if edge else ""
    ends = ", ".join(f"int32_t x{i}, int32_t end{i}" for i in runs)
    lines = [
        "\n/* A row of these. */",
        f"RILLET_SHAPE void {row.name}(const {value} *const row[], int32_t at, int32_t step, const {weight} *weights,",
        f"    int32_t first, {value} *out, int32_t lanes, {outside}{ends},",
        f"    const rillet_channels_{kind(tile.real)}_tiles *k)",
        "{",
    ]
    w = "weights"
    if not tile.real:
        w = "w"
        lines += _loaded(*tile.kernel, tile.vectors, compact=compact)
    if edge:
        lines.append("  const rillet_four padding = rillet_four_all(outside);")
    for i, t in enumerate(row.tiles):
        more = "" if t.real or t.inside else f"padding, {t.first}, {t.last}, "
        lines += [
            f"  for (int32_t x = x{i}; x < end{i}; x += {t.pixels})",
            f"    {t.name}(row, at + x * {row.stride} * step, step, {w}, first, out + x * step, step, lanes, {more}k);",
        ]
    return "\n".join([*lines, "}"])
