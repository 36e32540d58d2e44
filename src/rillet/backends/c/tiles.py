"""Writes register tiles as C in the vocabulary of kernels/vector_*.h: unrolled, or compilers do not keep sums in
registers. One function a shape; the numbers of a layer are literal arguments of it.
"""

from dataclasses import dataclass

from rillet.plan.host.matrix import MATRIX_REGISTERS, MATRIX_ROWS
from rillet.plan.host.tilings import GROUP_ROWS, VECTORS, Values


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
        called = _MATRIX[self.values].name if self.values.matrix else _DENSE[self.values].name
        return f"rillet_{called}_{'windows_' if self.windows else ''}{self.pixels}x{self.vectors}"


@dataclass(frozen=True, slots=True)
class _Dense:
    """The words that dense tiles of one kind of values are written in."""

    name: str
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
        *("f32", "float", "float", "rillet_reals_all(*({}))", "rillet_reals"),
        *("rillet_reals_load", "rillet_reals", "rillet_reals_add_product"),
    ),
    Values.PAIRS: _Dense(
        *("bf16", "uint16_t", "uint16_t", "rillet_bf16s_all({})", "rillet_bf16s"),
        *("rillet_bf16s_load", "rillet_bf16s", "rillet_reals_add_pairs"),
    ),
    Values.HALVES: _Dense(
        *("halves", "int16_t", "int16_t", "rillet_halves_all({})", "rillet_halves"),
        *("rillet_halves_load", "rillet_halves", "rillet_sums_add_halves"),
    ),
    Values.BYTES: _Dense(
        *("byte", "rillet_byte", "int8_t", "rillet_bytes_all({})", "rillet_bytes"),
        *("rillet_weights_load", "rillet_weights", "rillet_sums_add_products"),
    ),
}


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The words that dense tiles of a matrix unit are written in."""

    name: str
    value: str
    weight: str
    add: str


_MATRIX = {
    Values.MATRIX_BYTES: _Matrix("byte_matrix", "rillet_byte", "int8_t", "RILLET_MATRIX_ADD_BYTES"),
    Values.MATRIX_PAIRS: _Matrix("bf16_matrix", "uint16_t", "uint16_t", "RILLET_MATRIX_ADD_BF16"),
}


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


Tile = DenseTile | DepthwiseRow


def tiles_header(tiles: set[Tile], kernels: str) -> str:
    """The text of kernels/tiles.h: every tile that a program uses."""
    dense = sorted((t for t in tiles if isinstance(t, DenseTile)), key=lambda t: t.name)
    rows = sorted(t for t in tiles if isinstance(t, DepthwiseRow))
    depthwise = {tile.name: tile for tile in sorted(tile for row in rows for tile in row.tiles)}.values()
    parts = [
        "/* Register tiles of this program, unrolled. */",
        "#ifndef RILLET_TILES_H",
        "#define RILLET_TILES_H",
        f'#include "vector_{kernels}.h"',
        '#include "channels.h"',
        *(_matrix(tile) if tile.values.matrix else _dense(tile) for tile in dense),
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


def _matrix(tile: DenseTile) -> str:
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
        *([] if real else [line for first, size in stored for line in _matrix_factors(first, size)]),
        f"  for (int32_t at = 0; at < count; at += {pixels}) {{",
        f"    const int32_t begin = at + {pixels} <= count || count < {pixels} ? at : count - {pixels};",
        f"    const int32_t end = begin + {pixels} <= count ? {pixels} : count - begin;",
        *(f"    {line}" for line in _matrix_sums(tile, stored)),
    ]
    if real:
        lines = _matrix_reals(tile)
    else:
        lines = [line for first, size in stored for line in _matrix_bytes(tile, first, size)]
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


def _matrix_sums(tile: DenseTile, stored: list[tuple[int, int]]) -> list[str]:
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


def _matrix_reals(tile: DenseTile) -> list[str]:
    """Clamps and stores sums of float32."""
    lines = ["for (int32_t p = from; p < to; p++) {"]
    for v in range(tile.vectors):
        at = f"{v} * RILLET_LANES"
        lines += [
            f"  const rillet_reals s{v} = rillet_reals_load(sums + (p * {tile.vectors} + {v}) * RILLET_LANES);",
            f"  rillet_reals_store(out + p * pitch + {at}, s{v}, lanes - {at}, k->low, k->high);",
        ]
    return [*lines, "}"]


def _matrix_factors(first: int, size: int) -> list[str]:
    """Constants of a group of vectors."""
    return [
        f"  const rillet_factors f{v} = rillet_factors_of(k, first + {v} * RILLET_LANES);"
        for v in range(first, first + size)
    ]


def _matrix_bytes(tile: DenseTile, first: int, size: int) -> list[str]:
    """Rounds and stores the sums of a group of vectors."""
    at, parts = f"{first} * RILLET_LANES", range(size)
    kept = f"sums + {first * tile.pixels} * RILLET_LANES" if first else "sums"
    lines = [
        f"if (rillet_by_integers(k, first + {at})) {{",
        f"  rillet_store_kept({kept} + from * {size} * RILLET_LANES, {size}, to - from, first + {at},",
        f"      out + from * pitch + {at}, pitch, lanes - {at}, k);",
        "} else {",
        "  int32_t p = from;",
    ]
    ends = f"lanes - {at}, k->zero + k->centre, k->low, k->high, rillet_as_bits(k));"

    def sums(pixel: str, v: int) -> str:
        place = f"{kept} + ({pixel} * {size} + {v}) * RILLET_LANES"
        return f"rillet_sums_to_store(rillet_sums_load({place}), f{first + v}, k)"

    if size == 1:
        lines += [
            f"  for (; p + {_TOGETHER} <= to; p += {_TOGETHER}) {{",
            *(f"    const rillet_sums s{q} = {sums(f'(p + {q})', 0)};" for q in range(_TOGETHER)),
            f"    rillet_store_1_of_{_TOGETHER}(out + p * pitch + {at}, pitch,"
            f" {', '.join(f's{q}' for q in range(_TOGETHER))}, {ends}",
            "  }",
        ]
    lines += [
        "  for (; p < to; p++) {",
        *(f"    const rillet_sums s{v} = {sums('p', v)};" for v in parts),
        f"    rillet_store_{size}(out + p * pitch + {at}, {', '.join(f's{v}' for v in parts)}, {ends}",
        "  }",
        "}",
    ]
    return lines


def groups(vectors: int, most: int = 4) -> list[tuple[int, int]]:
    """How vectors of sums are stored as bytes: by four, two or one, at most so many, as (first, size)."""
    out: list[tuple[int, int]] = []
    while vectors:
        first = out[-1][0] + out[-1][1] if out else 0
        size = next(n for n in (4, 2, 1) if n <= min(vectors, most))
        out.append((first, size))
        vectors -= size
    return out


_TOGETHER = 4
"""Pixels of one vector that are stored together, as four vectors of a pixel are."""


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
        if size == 1 and p < pixels - pixels % _TOGETHER:
            if p % _TOGETHER < _TOGETHER - 1:
                continue
            begin = p + 1 - _TOGETHER
            sums = [f"s{q}_{first}" for q in range(begin, p + 1)]
            store = f"rillet_store_1_of_{_TOGETHER}(out + {begin} * pitch + {at}, pitch,"
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
