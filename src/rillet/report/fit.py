"""Tables of a network's fit on boards, and of remedies."""

from collections.abc import Sequence

from rillet.costs.fit import Fit
from rillet.costs.remedies import Remedy
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.targets.boards import Board


def boards(rows: Sequence[Fit]) -> Table:
    """A network on each board, with what is left over or missing."""
    names = ("board", "fits", "precision", "RAM", "spare", "layer by layer", "flash", "spare ", "ms", "low", "high")
    shown = columns(
        (*names, "kernels"),
        words=("board", "fits", "precision", "kernels"),
        leave=("kernels", "precision", "layer by layer", "low", "high", "spare ", "spare"),
    )
    cells = tuple(
        (
            found.board,
            "yes" if found.fits else "no",
            found.precision,
            f"{found.ram_bytes:,}",
            f"{found.ram_spare:,}",
            f"{found.layerwise_bytes:,}",
            f"{found.flash_bytes:,}",
            f"{found.flash_spare:,}",
            *(_ms(ms) for ms in (found.milliseconds, found.low_milliseconds, found.high_milliseconds)),
            found.footprint.kernels,
        )
        for found in rows
    )
    unknown = [found.board for found in rows if found.footprint.stack_bytes is None]
    untimed: dict[str, list[str]] = {}
    for found in rows:
        if found.untimed:
            untimed.setdefault(found.untimed, []).append(found.board)
    notes = [
        *dict.fromkeys(_precision(found) for found in rows),
        f"bytes, as `rillet plan` plans for least {rows[0].objective}: RAM: arena, state and stack; layer by layer: "
        "activations as full tensors; flash: constants, and code at most",
        *([f"{', '.join(unknown)}: the stack is not known and not counted"] if unknown else []),
        "spare: negative where bytes are missing; ms: instructions of an image x cycles each (rillet targets: the "
        "source)",
        *(f"{', '.join(names)}: {why}" for why, names in untimed.items()),
    ]
    notes += [f"{found.board}: {miss}" for found in rows for miss in found.misses]
    return Table(shown, cells, tuple(notes))


def _precision(found: Fit) -> str:
    own = found.own_precision
    if found.precision == own:
        return f"{found.model}: {own}, as the network is"
    return f"{found.model}: as if it were {found.precision}; the network is {own} and must be brought to it first"


def remedies(found: Sequence[Remedy], board: Board | None = None) -> Table:
    """What would make a network fit, a row for each kind of change, and what is typed to see it; where nothing does,
    how a network that fits the board is searched for.
    """
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
    kinds = {remedy.kind for remedy in found if remedy.fit is not None}
    notes = [
        *(["live channels: those that change an output byte, and no others"] if "live channels" in kinds else []),
        *(["8 bits: by rillet quantize"] if "8 bits" in kinds else []),
        *(["another width or resolution must be trained or quantised anew"] if kinds & _RESIZED else []),
        *(remedy.command for remedy in found if remedy.command),
    ]
    if not kinds and board is not None:
        notes.append(f"none of these makes it fit; for a network that does: {_search(board)}")
    return Table(shown, cells, tuple(notes))


def _search(board: Board) -> str:
    limits = f"ram@{board.key}<={board.ram_bytes}B, flash@{board.key}<={board.flash_bytes}B"
    return f'rillet search microbotnet --data cifar10 --budget "{limits}" --out RUN'


_RESIZED = {"width", "resolution", "width and resolution"}


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
