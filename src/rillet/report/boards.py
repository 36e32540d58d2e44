"""What programs take on a board's emulated core, plan by plan and layer by layer, as tables and records."""

from dataclasses import asdict
from typing import Any

from rillet.bench.boards import BoardBench, BoardProfile, LayerCount, PlanCost
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.report.text import node_text

_PLANS = columns(
    ("plan", "channels", "instructions", "per MAC", "RAM", "stack", "flash", "flash read", "bytes"),
    words=("plan", "channels", "bytes"),
    leave=("flash read", "per MAC", "stack", "bytes"),
)
_LAYERS = columns(
    ("layer", "what", "kernel", "instructions", "share", "", "MACs", "per MAC"),
    words=("layer", "what", "kernel", ""),
    leave=("", "what", "MACs", "kernel", "share"),
)
_BLOCKS = 24
"""Letters of the longest bar in the terminal."""


def bench_table(found: BoardBench) -> Table:
    """A row for each plan; what it was run on below."""
    notes = [
        f"{found.model}, {found.macs:,} MACs; {found.board}: {found.core}, kernels: {found.kernels}",
        "of one image, counted; RAM: .data and .bss; flash: code and constants; flash read: bytes by loads of these",
        "per MAC: of the network as it is given; bytes: whether the output is the reference's",
        *found.notes,
        f"{found.emulator}; {found.compiler}",
    ]
    return Table(_PLANS, tuple(_plan(row) for row in found.plans), tuple(notes))


def bench_records(found: BoardBench) -> list[dict[str, Any]]:
    """A flat record for each plan."""
    facts = {name: value for name, value in asdict(found).items() if name not in ("plans", "notes")}
    return [asdict(row) | facts for row in found.plans]


def _plan(row: PlanCost) -> tuple[str, ...]:
    return (
        row.objective,
        "live" if row.live else "all",
        f"{row.instructions:,}",
        f"{row.instructions_per_mac:.2f}",
        *(f"{count:,}" for count in (row.ram_bytes, row.stack_bytes, row.flash_bytes, row.flash_read_bytes)),
        "equal" if row.equal else "differ",
    )


def profile_table(found: BoardProfile) -> Table:
    """A row for each layer in the plan's order, what is between them, and their sum, which is all instructions."""
    longest = max((layer.instructions for layer in found.layers), default=1) or 1
    rows = [_layer(found, layer, longest) for layer in found.layers]
    share = f"{found.between / found.instructions:.1%}"
    rows.append(("between layers", "", "", f"{found.between:,}", share, "", "", ""))
    each = f"{found.instructions / found.graph.macs:.2f}" if found.graph.macs else ""
    rows.append(("sum", "", "", f"{found.instructions:,}", "100.0%", "", f"{found.graph.macs:,}", each))
    notes = (
        f"{found.board}: {found.core}, kernels: {found.kernels}; instructions of one image, counted",
        "built with its stages apart: the program as it is emitted takes slightly fewer or more",
        *found.notes,
        f"{found.emulator}; {found.compiler}",
    )
    return Table(_LAYERS, tuple(rows), notes)


def profile_record(found: BoardProfile) -> dict[str, Any]:
    """The same as a record."""
    return {
        "model": found.graph.name,
        "board": found.board,
        "core": found.core,
        "kernels": found.kernels,
        "emulator": found.emulator,
        "compiler": found.compiler,
        "layers": [asdict(layer) for layer in found.layers],
        "between": found.between,
        "instructions": found.instructions,
        "notes": list(found.notes),
    }


def _layer(found: BoardProfile, layer: LayerCount, longest: int) -> tuple[str, ...]:
    return (
        layer.name,
        node_text(found.graph, found.graph.by_name[layer.name]),
        layer.kernel,
        f"{layer.instructions:,}",
        f"{layer.share:.1%}",
        "█" * round(_BLOCKS * layer.instructions / longest),
        f"{layer.macs:,}" if layer.macs else "",
        "" if layer.instructions_per_mac is None else f"{layer.instructions_per_mac:.2f}",
    )
