"""Pools: the greatest or the mean of what lies under a window, or of a full tensor as its pixels come."""

from typing import assert_never

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift
from rillet.backends.rtl.layout import bits_of
from rillet.backends.rtl.memories import words
from rillet.backends.rtl.stage import Stage, bounds, inside
from rillet.backends.rtl.streams import firing, scaled, stream
from rillet.backends.rtl.windows import by_channels, windowed
from rillet.errors import Unsupported
from rillet.ir.ops import Pool, PoolKind, Rounding
from rillet.ir.types import DType
from rillet.plan.pipeline.memories import SUMS_STEPS, total_bits, under_window_bits


def pool(stage: Stage, op: Pool) -> None:
    """A pool of any kind."""
    match op.kind:
        case PoolKind.MEAN:
            _mean(stage, op)
        case PoolKind.MAX if stage.plan.accumulates:
            _gather(stage, 4, maximum=True)
            _clamped(stage, op)
        case PoolKind.MAX:
            _under_windows(stage, op, stage.bits, fill=-(1 << (stage.bits - 1)))
            _clamped(stage, op)
            stage.add("reg valid3;", "always @(posedge clk) valid3 <= leaves && !rst;", "assign out_valid = valid3;")
        case PoolKind.AVERAGE if stage.plan.accumulates:
            count = op.window.taps
            _gather(stage, 6)
            _divided(stage, op, [count])
        case PoolKind.AVERAGE:
            counts = _counts(stage, op)
            _under_windows(stage, op, under_window_bits(op.window.taps), fill=0)
            _divided(stage, op, counts)
            stage.add(
                "reg [2:0] live;",
                "always @(posedge clk) live <= rst ? 0 : {live[1:0], leaves};",
                "assign out_valid = live[2];",
            )
        case _ as other:
            assert_never(other)


def _gather(stage: Stage, late: int, bias: int = 0, maximum: bool = False) -> int:
    """`results` of a map as its pixels come, one more register behind the operands; gives the bits of each."""
    lanes, steps, acc = stage.plan.folding.outputs, stage.plan.folding.cycles, total_bits(stage.graph, stage.node)
    stage.beat = lanes
    firing(stage, late, ("last", "at", "first_pixel", "last_pixel"), gathers=True)
    x, bits = stream(stage, 0, lanes), bits_of(steps)
    stage.add(
        "reg valid2, first1, first2;",
        f"reg [{bits - 1}:0] at1, at2;",
        "always @(posedge clk) {valid2, first1, first2, at1, at2} <= {valid0 && !rst, first_pixel, first1, at, at1};",
        f"wire [{lanes * acc - 1}:0] results;",
    )
    stage.part("rillet_total", "total", {
        "LANES": lanes, "STEPS": steps, "NB": bits, "BITS": stage.sources[0].bits, "MAXIMUM": int(maximum),
        "BIAS": bias, "ACC": acc,
        "STYLE": stage.style(lanes * acc, steps, constant=False) if steps >= SUMS_STEPS else '"registers"',
    }, {
        "clk": "clk", "enable": "valid2", "first": "first2", "at": "at2", "soon": "at", "x": x, "sums": "results",
    })  # fmt: skip
    return acc


def _under_windows(stage: Stage, op: Pool, acc: int, fill: int) -> None:
    """`results` of windows, with `leaves`, and the `count` of values in each where that differs."""
    folding = stage.plan.folding
    lanes, taps = folding.outputs, folding.taps
    stage.beat = lanes
    windowed(
        stage, op.window, by_channels(lanes, folding.cycles * taps // op.window.taps), fill, ("first", "last", "pad")
    )
    count = bits_of(op.window.taps + 1)
    stage.add(
        "wire leaves;",
        f"wire [{lanes * acc - 1}:0] results;",
        "/* verilator lint_off UNUSEDSIGNAL */  // where all windows are full",
        f"wire [{count - 1}:0] count;",
        "/* verilator lint_on UNUSEDSIGNAL */",
    )
    stage.part("rillet_pool", "pool", {
        "LANES": lanes, "TAPS": taps, "BITS": stage.bits, "MAXIMUM": int(op.kind is PoolKind.MAX), "ACC": acc,
        "NB": count,
    }, {
        "clk": "clk", "rst": "rst", "valid": "valid2", "first": "first2", "last": "last2", "pad": "pad2", "x": "x",
        "leaves": "leaves", "results": "results", "count": "count",
    })  # fmt: skip


def _clamped(stage: Stage, op: Pool) -> None:
    """The results within the bounds of the layer's activation; a register."""
    bits = stage.bits
    low, high = (-1, 0) if bits == 1 else bounds(stage, op.activation)
    stage.lanes(
        stage.plan.folding.outputs,
        f"rillet_clamp #(.BITS({bits}), .LOW({low}), .HIGH({high})) clamp"
        f" (.clk(clk), .v(results[i*{bits} +: {bits}]), .q(out_data[i*{bits} +: {bits}]));",
    )


def _counts(stage: Stage, op: Pool) -> list[int]:
    """How many values windows have: as few numbers as there are."""
    ones = []
    shape, window, out = stage.sources[0].node.shape, op.window, stage.node.shape
    for size, places, kernel, stride, before in (
        (shape.height, out.height, window.kernel[0], window.stride[0], window.padding[0]),
        (shape.width, out.width, window.kernel[1], window.stride[1], window.padding[2]),
    ):
        starts = np.arange(places) * stride - before
        ones.append(np.minimum(starts + kernel, size) - np.maximum(starts, 0))
    return sorted({int(count) for count in np.outer(*ones).reshape(-1)})


def _divided(stage: Stage, op: Pool, counts: list[int]) -> None:
    """The results divided by their counts, half away from zero; three registers.

    A quotient is a product with the reciprocal, rounded up, cut off behind so many bits that no sum comes out wrong.
    """
    unsigned = stage.node.type.dtype is DType.U8
    most = max((255 if unsigned else 128) * count + count // 2 for count in counts)
    bits = next(
        bits
        for bits in range(64)
        if all(most * (-(-(1 << bits) // count) * count - (1 << bits)) < 1 << bits for count in counts)
    )
    reciprocals = {count: -(-(1 << bits) // count) for count in counts}
    wide = max(reciprocals.values()).bit_length()
    alone = counts[0] if len(counts) == 1 else 0
    rows = [alone] if alone else range(max(counts) + 1)
    path = stage.memory("reciprocals", words((np.array([reciprocals.get(n, 0) for n in rows], np.int64), wide)))
    low, high = bounds(stage, op.activation)
    acc, count = under_window_bits(op.window.taps), bits_of(op.window.taps + 1)
    parameters = (
        f".ACC({acc}), .NB({count}), .COUNT({alone}), .COUNTS({len(rows)}), .RB({wide}), .SHIFT({bits}), "
        f".UNSIGNED({int(unsigned)}), .LOW({low}), .HIGH({high}), .FILE({path})"
    )
    number = f"{count}'d{alone}" if alone else "count"
    stage.lanes(
        stage.plan.folding.outputs,
        f"rillet_average #({parameters}) average (.clk(clk), .sum(results[i*{acc} +: {acc}]), .count({number}),"
        " .q(out_data[i*8 +: 8]));",
    )


def _mean(stage: Stage, op: Pool) -> None:
    """The mean of a map, which may have another scale."""
    source = stage.sources[0].node
    if not op.window.covers(source.shape):
        raise Unsupported(f"{stage.where}: window of a mean must cover the map")
    count = source.shape.pixels
    quant, out = source.type.quant, stage.node.type.quant
    assert quant is not None and out is not None
    low, high = bounds(stage, op.activation)
    zero = inside(stage.node.type).zero_point
    if op.rounding is Rounding.SHIFT:
        s = shift.mean_shift(quant, out, count)
        late, said = 5, (f".ZERO({zero}), .LOW({low}), .HIGH({high})", f".s(5'd{s})")
        module = "rillet_shift"
    else:
        late, said = 9, scaled(fp.mean_multiplier(quant, out, count), zero, low, high)
        module = "rillet_scale"
    acc = _gather(stage, late, bias=-count * stage.sources[0].zero_point)
    stage.lanes(
        stage.plan.folding.outputs,
        f"{module} #(.IN({acc}), {said[0]}) round"
        f" (.clk(clk), .v(results[i*{acc} +: {acc}]), {said[1]}, .q(out_data[i*8 +: 8]));",
    )
