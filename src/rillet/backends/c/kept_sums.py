"""Lines of tiles whose sums go through memory on their way to bytes."""

from rillet.backends.c.tile_shapes import TOGETHER


def factors(first: int, size: int) -> list[str]:
    """Constants of a group of vectors."""
    return [
        f"  const rillet_factors f{v} = rillet_factors_of(k, first + {v} * RILLET_LANES);"
        for v in range(first, first + size)
    ]


def rounded(kept: str, first: int, size: int) -> list[str]:
    """Rounds the sums of a group of vectors, which lie at `kept`, and stores those of the pixels `from` to `to` - 1."""
    at, parts = f"{first} * RILLET_LANES", range(size)
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
            f"  for (; p + {TOGETHER} <= to; p += {TOGETHER}) {{",
            *(f"    const rillet_sums s{q} = {sums(f'(p + {q})', 0)};" for q in range(TOGETHER)),
            f"    rillet_store_1_of_{TOGETHER}(out + p * pitch + {at}, pitch,"
            f" {', '.join(f's{q}' for q in range(TOGETHER))}, {ends}",
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
