"""What a program takes on a board, as planned and beside what was measured."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rillet.backends.c.footprint import Footprint, footprint
from rillet.plan.rows.plan import RowPlan
from rillet.report.screen import Grid, Screen, columns

if TYPE_CHECKING:
    from rillet.runtime.emulator.proof import CoreVerification


def record(made: RowPlan) -> dict[str, Any]:
    """What the program of a board's plan takes; nothing for other plans."""
    return {} if made.board is None else {"footprint": asdict(footprint(made, made.board))}


def planned(console: Screen, found: Footprint) -> None:
    """What the program of a plan takes."""
    rows = [
        ("RAM", f"{found.ram_bytes:,} bytes", f"arena {found.arena_bytes:,}, context {found.context_bytes:,}"),
        ("flash", _bytes(found.flash_bytes), f"constants and at most about {found.code_bytes:,} bytes of code"),
        ("constants", _bytes(found.constant_bytes), "all arrays"),
        ("flash reads", _bytes(found.flash_read_bytes), "of constants, an image"),
    ]
    if found.stack_bytes is not None:
        rows.insert(1, ("stack", _bytes(found.stack_bytes), "at most, of net_run's caller"))
    if found.instructions is not None:
        rows.append(("instructions", f"{found.instructions:,}", f"an image, {found.kernels} kernels"))
    if found.milliseconds is not None:
        band = f"{_ms(found.low_milliseconds)} to {_ms(found.high_milliseconds)}"
        rows.append(("time", f"{_ms(found.milliseconds)} ms", f"an image, {band} (rillet targets: the source)"))
    console.print(f"on {found.board}:", soft_wrap=True)
    console.draw(Grid(columns(("", "value", "remark"), words=("", "remark"), leave=("remark",)), rows, heading=False))


def beside(result: "CoreVerification") -> list[str]:
    """Lines that say what was measured beside what was planned."""
    ram, flash, count = result.planned_ram_bytes, result.planned_flash_bytes, result.planned_instructions
    stack = _bytes(result.planned_stack_bytes)
    if ram is None or flash is None or count is None:
        return [f"{'as' if result.stack_bounded else 'not as'} planned: stack at most {stack}"]
    said = f"{count:,} instructions ({result.instructions / count - 1:+.1%} measured)"
    word = "as planned" if result.as_planned else "not as planned"
    return [f"{word}: {said}, RAM {ram:,} bytes, stack at most {stack}, flash at most {flash:,} bytes"]


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count:,} bytes"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
