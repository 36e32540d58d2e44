"""Writes Winograd tiles as C: products of transforms by register tiles, and what kernels/winograd.h makes of them."""

from rillet.backends.c.kept_sums import factors, rounded
from rillet.backends.c.tile_shapes import WinogradTile, groups
from rillet.plan.host.pieces import even, split
from rillet.plan.host.winograd import CHUNK, PIXELS, PLACES, SQUARE


def sum_shapes(tiles: list[WinogradTile]) -> list[tuple[int, int]]:
    """Pixels and vectors of the register tiles that these call."""
    return sorted({(pixels, tile.vectors) for tile in tiles for pixels in _sizes(tile)})


def _sizes(tile: WinogradTile) -> list[int]:
    """Of the register tiles of each place, the largest first."""
    return sorted(set(split(tile.squares, even(tile.squares, PIXELS))), reverse=True)


def winograd_sums(pixels: int, vectors: int) -> str:
    """Sums of products of transforms: [pixels][vectors], of values `step` apart.

    Weights: [pairs of the depth][vectors][lanes][2]. begin: what is added to, `on` from a pixel to the next.
    """
    parts, places = range(vectors), range(pixels)
    lines = [
        f"\n/* {pixels} pixels x {vectors} vectors of transforms. */",
        f"static __attribute__((noinline)) void {_sums_name(pixels, vectors)}(const int16_t *a, int32_t step,",
        "    int32_t depth, const int16_t *w, const int32_t *begin, int32_t on, int32_t *sums)",
        "{",
        *(
            f"  rillet_sums s{p}_{v} = rillet_sums_load(begin + {p} * on + {v} * RILLET_LANES);"
            for p in places
            for v in parts
        ),
        f"  for (int32_t i = 0; i < depth; i += 2, a += 2, w += {2 * vectors} * RILLET_LANES) {{",
        *(f"    rillet_halves w{v} = rillet_halves_load(w + {2 * v} * RILLET_LANES);" for v in parts),
        *(f"    RILLET_KEEP(w{v});" for v in parts),
    ]
    for p in places:
        lines.append(f"    const rillet_halves a{p} = rillet_halves_all(a + {p} * step);")
        lines += [f"    s{p}_{v} = rillet_sums_add_halves(s{p}_{v}, a{p}, w{v});" for v in parts]
    lines.append("  }")
    for p in places:
        lines += [f"  rillet_sums_keep(sums + {p * vectors + v} * RILLET_LANES, s{p}_{v});" for v in parts]
    return "\n".join([*lines, "}"])


def _sums_name(pixels: int, vectors: int) -> str:
    return f"rillet_winograd_sums_{pixels}x{vectors}"


def winograd_tile(tile: WinogradTile) -> str:
    """Squares from `at` on, `across` of them in a row of squares, of a map of `width` columns and `high` rows.

    `plane` values lie from a place of the transforms to the next, `depth` from a square to the next; `turned` is room
    for transforms of weights.
    """
    count, vectors, kind = tile.squares, tile.vectors, "int16_t" if tile.kept else "int8_t"
    ((first, size),) = groups(vectors)
    wide = f"{vectors} * RILLET_LANES"
    lines = [
        f"\n/* {count} squares x {vectors} vectors. */",
        f"RILLET_SHAPE void {tile.name}(const int16_t *values, int32_t plane, int32_t depth, const {kind} *weights,",
        f"    {'' if tile.kept else 'int16_t *turned, '}int32_t *sums, int32_t first, rillet_byte *to_map, int32_t at,",
        "    int32_t across, int32_t width, int32_t high, int32_t pitch, int32_t lanes,",
        "    const rillet_channels_byte_tiles *k)",
        "{",
        *_products(tile),
        *factors(first, size),
        f"  for (int32_t q = 0; q < {count}; q++) {{",
        f"    int32_t whole[{SQUARE * SQUARE} * {wide}] __attribute__((aligned(64)));",
        f"    for (int32_t v = 0; v < {wide}; v += RILLET_LANES)",
        f"      rillet_winograd_whole(sums + q * {wide} + v, {_apart(tile)}, k->bias + first + v, whole + v,",
        f"                            {wide});",
        f"    const int32_t row = (at + q) / across * {SQUARE}, column = (at + q) % across * {SQUARE};",
        f"    const int32_t from = 0, to = width - column < {SQUARE} ? width - column : {SQUARE};",
        f"    for (int32_t y = 0; y < {SQUARE} && row + y < high; y++) {{",
        f"      int32_t *const kept = whole + y * {SQUARE} * {wide};",
        "      rillet_byte *const out = to_map + ((row + y) * width + column) * pitch;",
        *(f"      {line}" for line in rounded("kept", first, size)),
        "    }",
        "  }",
        "}",
    ]
    return "\n".join(lines)


def _apart(tile: WinogradTile) -> str:
    """From the sums of a place to those of the next."""
    return f"({tile.squares * tile.vectors} * RILLET_LANES + RILLET_W_LINE / 4)"


def _products(tile: WinogradTile) -> list[str]:
    """Sums of all places; by transforms of the weights of some channels at a time where they are not stored."""
    count, wide = tile.squares, f"{tile.vectors} * RILLET_LANES"
    if tile.kept:
        start, from_, weights, deep, between = list[str](), "values", "weights", "depth", f"depth * {wide}"
        begin, on = "rillet_winograd_nothing", "0"
    else:
        start = [
            f"  for (int32_t c = 0; c < depth; c += {CHUNK}) {{",
            f"    const int32_t deep = depth - c < {CHUNK} ? depth - c : {CHUNK};",
            f"    const int32_t between = deep * {wide} + RILLET_W_LINE / 2;",
            f"    rillet_winograd_weights(weights + 9 * c * {wide}, deep / 2, {wide}, between, turned);",
        ]
        from_, weights, deep, between = "values + c", "turned", "deep", "between"
        begin, on = f"c ? s + p * {wide} : rillet_winograd_nothing", f"c ? {wide} : 0"
    loop = [
        f"  for (int32_t i = 0; i < {PLACES}; i++) {{",
        f"    const int16_t *const a = {from_} + i * plane, *const w = {weights} + i * {between};",
        f"    int32_t *const s = sums + i * {_apart(tile)};",
        "    int32_t p = 0;",
    ]
    for pixels in _sizes(tile):
        loop += [
            f"    for (; p + {pixels} <= {count}; p += {pixels})",
            f"      {_sums_name(pixels, tile.vectors)}"
            f"(a + p * depth, depth, {deep}, w, {begin}, {on}, s + p * {wide});",
        ]
    loop.append("  }")
    return loop if tile.kept else [*start, *(f"  {line}" for line in loop), "  }"]
