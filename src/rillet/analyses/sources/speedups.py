"""FuSeConv's speedups: what the source prints, what its latency model gives, and what a plain array makes of it."""

from collections.abc import Callable
from dataclasses import dataclass

from rillet.analyses.systolic import systolic
from rillet.ir.graph import Graph
from rillet.zoo import published

PRINTED_ON = 64
"""Rows and columns of the array that the printed speedups are for."""

OTHERS = (
    "resnet50",
    "resnet50:fuse=half",
    "resnet50:fuse=full",
    "squeezenet1_1",
    "squeezenet1_1:fuse=full",
    "vgg16:form=fuseconv",
    "vgg16:form=fuseconv,fuse=half",
)
"""Networks that the source has code for and prints no speedup of, each baseline before its variants."""


@dataclass(frozen=True, slots=True)
class SpeedupRow:
    """A network or FuSe variant on a square array; speedups are the baseline's cycles on a plain array over its own."""

    model: str
    baseline: str
    array: int
    """Rows, and columns."""
    printed: float | None
    """None where the source prints none."""
    cycles: int
    """By the source's model: a baseline on a plain array, a variant on one that broadcasts weights to its rows."""
    speedup: float
    agrees: bool | None
    """True where the speedup, rounded or cut off, is the printed one; None where none is printed for this array."""
    deviation_percent: float | None
    """Of the speedup from the printed one."""
    plain_cycles: int
    """By the same model, the variant on a plain array too."""
    plain_speedup: float
    exact_cycles: int
    """As `cycles`, but what such arrays really take (convention `exact`)."""
    exact_speedup: float


def speedups(open_model: Callable[[str], Graph], array: int = PRINTED_ON) -> tuple[SpeedupRow, ...]:
    """All rows of the source's tables and its other networks; raises TargetError for an array without rows."""
    printed: dict[str, float | None] = {row.model: row.speedup for row in published.fuseconv()}
    printed |= dict.fromkeys(OTHERS)
    rows: list[SpeedupRow] = []
    for model, value in printed.items():
        graph = open_model(model)
        variant = "fuse=" in model.partition(":")[2]
        first = rows[-1].baseline if variant else model
        own = "fuse" if variant else "systolic"
        cycles = systolic(graph, rows=array, columns=array, convention="fuse", hardware=own).cycles
        plain = systolic(graph, rows=array, columns=array, convention="fuse").cycles
        exact = systolic(graph, rows=array, columns=array, hardware=own).cycles
        base = next((row for row in rows if row.model == first), None)
        speedup = base.cycles / cycles if base else 1.0
        compared = value if array == PRINTED_ON else None
        rows.append(
            SpeedupRow(
                model=model,
                baseline=first,
                array=array,
                printed=value,
                cycles=cycles,
                speedup=speedup,
                agrees=None if compared is None else _agrees(speedup, compared),
                deviation_percent=None if compared is None else 100 * (speedup / compared - 1),
                plain_cycles=plain,
                plain_speedup=base.cycles / plain if base else 1.0,
                exact_cycles=exact,
                exact_speedup=base.exact_cycles / exact if base else 1.0,
            )
        )
    return tuple(rows)


def _agrees(value: float, printed: float) -> bool:
    """True where `value`, rounded or cut off to the digits of `printed`, is `printed`."""
    digits = len(str(printed).partition(".")[2])
    return printed in (round(value, digits), int(value * 10**digits) / 10**digits)
