"""Tables of a network's fit on boards, and of remedies."""

from collections.abc import Sequence

from rillet.costs.fit import Fit, Remedy
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.targets.boards import Board


def boards(rows: Sequence[tuple[Fit, Board]]) -> Table:
    """A network on each board, with what is left over or missing."""
    names = ("board", "fits", "precision", "RAM", "spare", "layer by layer", "flash", "spare ", "ms", "low", "high")
    shown = columns(
        (*names, "cycles a MAC", "rests on"),
        words=("board", "fits", "precision", "rests on"),
        leave=("rests on", "cycles a MAC", "precision", "low", "high", "layer by layer", "ms", "spare ", "spare"),
    )
    cells = tuple(
        (
            board.name,
            "yes" if found.fits else "no",
            found.precision,
            f"{found.ram_bytes:,}",
            f"{found.ram_spare:,}",
            f"{found.layerwise_bytes:,}",
            f"{found.flash_bytes:,}",
            f"{found.flash_spare:,}",
            *(_ms(ms) for ms in (found.milliseconds, found.low_milliseconds, found.high_milliseconds)),
            f"{board.cycles_per_mac.value:g}",
            board.cycles_per_mac.confidence,
        )
        for found, board in rows
    )
    notes = [
        *dict.fromkeys(_precision(found) for found, _ in rows),
        "bytes; RAM: the arena of the row plan with the least, counters and a stack; "
        "layer by layer: activations as full tensors; flash: weights, constants and estimated code",
        "spare: negative where bytes are missing; ms: from published measurements with the best 8-bit kernels",
    ]
    notes += [f"{board.name}: {miss}" for found, board in rows for miss in found.misses]
    return Table(shown, cells, tuple(notes))


def _precision(found: Fit) -> str:
    own, few = found.own_precision, f", weights of at most {found.weight_bits} bits" if found.weight_bits < 8 else ""
    if found.precision == own:
        return f"{found.model}: {own}, as the network is{few}"
    return f"{found.model}: as if it were {found.precision}{few}; the network is {own} and must be brought to it first"


def remedies(found: Sequence[Remedy]) -> Table:
    """What would make a network fit, a row for each kind of change."""
    shown = columns(
        ("change", "to", "RAM", "flash", "MACs", "why not"),
        words=("change", "to", "why not"),
        wrap=("why not",),
        leave=("MACs", "flash", "RAM"),
    )
    cells = tuple(
        (remedy.kind, "-", "", "", "", remedy.why)
        if remedy.fit is None
        else (
            remedy.kind,
            remedy.change,
            f"{remedy.fit.ram_bytes:,}",
            f"{remedy.fit.flash_bytes:,}",
            f"{remedy.fit.macs:,}",
            "",
        )
        for remedy in found
    )
    note = "each the smallest change of its kind, planned again; a changed network must be trained or quantised anew"
    exact = ("live channels: --live removes those that change no output byte",)
    return Table(shown, cells, (note, *(exact if any(remedy.kind == "live channels" for remedy in found) else ())))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
