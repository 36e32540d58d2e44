"""The table of a network's array sizes: dense, packed and coded."""

from rillet.analyses.coding import NetworkSize
from rillet.report.screen import columns
from rillet.report.tables import Table


def sizes(size: NetworkSize) -> Table:
    """A row for each array of weights, one for all others, and the sum."""
    names = ("array", "values", "zeros", "distinct", "dense bytes", "packed", "coded", "as")
    shown = columns(names, words=("array", "as"), leave=("distinct", "as", "packed", "zeros", "values", "dense bytes"))
    rows: list[tuple[str, ...]] = []
    others = [0] * 5
    for one in size.tensors:
        numbers = (one.values, one.zeros, one.dense_bytes, one.packed_bytes, one.coded_bytes)
        if not one.name.endswith(".weight"):
            others = [a + b for a, b in zip(others, numbers, strict=True)]
            continue
        zeros = f"{one.zeros / one.values:.1%}"
        rows.append((one.name, f"{one.values:,}", zeros, f"{one.distinct:,}", *_bytes(*numbers[2:]), one.kind))
    if others[0]:
        share = f"{others[1] / others[0]:.1%}"
        rows.append(("all others", f"{others[0]:,}", share, "", *_bytes(*others[2:]), ""))
    values, zeros = sum(one.values for one in size.tensors), sum(one.zeros for one in size.tensors)
    total = _bytes(size.dense_bytes, size.packed_bytes, size.coded_bytes)
    rows.append(("total", f"{values:,}", f"{zeros / values:.1%}", "", *total, ""))
    notes = (
        "dense: 32 bits a value; packed: the bits of the element type; coded: Huffman's codes with their tables "
        "(docs/compression.md)",
        f"coded is {size.dense_bytes / size.coded_bytes:.1f} times less than dense, "
        f"{size.packed_bytes / size.coded_bytes:.1f} times less than packed",
    )
    return Table(shown, tuple(rows), notes)


def _bytes(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)
