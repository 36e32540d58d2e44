"""The tables of the sources, the printed number beside the computed one."""

from collections.abc import Callable
from dataclasses import dataclass

from rillet.analyses.count import Convention, count
from rillet.ir.graph import Graph
from rillet.zoo import published

Open = Callable[[str], Graph]
"""Makes the network that a name means."""


@dataclass(frozen=True, slots=True)
class AlphaRow:
    """MobileNetV1 at a width and image size."""

    model: str
    width: float
    resolution: int
    printed_macs_millions: float
    macs: int
    printed_params_millions: float
    params: int
    """Under the convention of the table: 3 numbers a channel of a batch norm."""
    trainable_params: int
    top1_percent: float
    macs_agree: bool
    params_agree: bool


@dataclass(frozen=True, slots=True)
class FuseRow:
    """A network and FuSe variant."""

    model: str
    printed_flops_millions: int
    flops: int
    """Under the convention of the table, `pthflops`."""
    macs: int
    printed_params_millions: float
    params: int
    """As the published code counts them, dead ones included."""
    live_params: int
    top1_percent: float
    printed_speedup: float
    flops_agree: bool
    params_agree: bool


def alpha(open_model: Open) -> tuple[AlphaRow, ...]:
    """MobileNetV1 by width and image size; numbers agree where the true one rounds to the printed one."""
    rows: list[AlphaRow] = []
    for row in published.alpha():
        graph = open_model(row.model)
        slim = count(graph, Convention.SLIM)
        rows.append(
            AlphaRow(
                row.model,
                row.width,
                row.resolution,
                row.macs_millions,
                slim.macs,
                row.params_millions,
                slim.params,
                count(graph).params,
                row.top1_percent,
                macs_agree=round(slim.macs / 1e6) == row.macs_millions,
                params_agree=round(slim.params / 1e6, 2) == row.params_millions,
            )
        )
    return tuple(rows)


def fuseconv(open_model: Open) -> tuple[FuseRow, ...]:
    """FuSeConv's networks; its parameters agree where the true number, cut off to two decimals, is the printed one."""
    rows: list[FuseRow] = []
    for row in published.fuseconv():
        graph = open_model(row.model)
        flops, plain = count(graph, Convention.PTHFLOPS), count(graph)
        params = plain.params + row.dead_params
        rows.append(
            FuseRow(
                row.model,
                row.flops_millions,
                flops.macs,
                plain.macs,
                row.params_millions,
                params,
                plain.params,
                row.top1_percent,
                row.speedup,
                flops_agree=row.flops_millions in (flops.macs // 10**6, round(flops.macs / 1e6)),
                params_agree=params // 10**4 == round(row.params_millions * 100),
            )
        )
    return tuple(rows)
