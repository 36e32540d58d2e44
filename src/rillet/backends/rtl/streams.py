"""Layers that read pixel by pixel: their steps, the operands of their inputs, and what becomes of values in lanes."""

from dataclasses import dataclass

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables
from rillet.backends.rtl.layout import bits_of, layout
from rillet.backends.rtl.memories import words
from rillet.backends.rtl.stage import Stage, bounds, inside
from rillet.ir.facts import is_constant, is_function
from rillet.ir.ops import Add, Multiply, Rounding
from rillet.ir.types import DType, TensorType
from rillet.plan.pipeline.memories import SIDE_BITS, TABLE_WORDS
from rillet.plan.pipeline.registers import plain_sum

COPIED = 3
"""Registers from a step to what is copied: memory, operand, output."""


@dataclass(frozen=True, slots=True)
class Turn:
    """When an input is read, in the Verilog of a stage; all where every step reads an operand."""

    step: str = "step"
    last: str = "last"
    """With it the last operand of the pixel."""
    release: str = "fired"
    """With it the last for good."""
    again: bool = False
    """A pixel is read more than once."""


def firing(stage: Stage, late: int, uses: tuple[str, ...] = ("last",), gathers: bool = False) -> None:
    """Steps and firings; results leave `late` registers behind their step.

    uses: `last`, `at`, `first_pixel` and `last_pixel`, where the layer needs them. gathers: only the last firing of an
    image has a result.
    """
    folding = stage.plan.folding
    count = bits_of(folding.cycles)
    ok = [f"ok{place}" for place in range(len(stage.sources))]
    stage.add(
        f"wire {', '.join(['step', *(name for name in uses if name != 'at'), *ok])};",
        *([f"wire [{count - 1}:0] at;"] if "at" in uses else []),
        "/* verilator lint_off PINCONNECTEMPTY */  // what this layer has no use for",
    )
    stage.part("rillet_steps", "steps", {
        "STEPS": folding.cycles, "PIXELS": folding.firings, "GATHERS": int(gathers), "NB": count,
    }, {
        "clk": "clk", "rst": "rst", "ok": " && ".join(ok), "room": "out_room", "step": "step",
        **{name: name if name in uses else "" for name in ("last", "first_pixel", "last_pixel", "at")},
        "out_begin": "out_begin", "done": "fired", "stall": "stalled",
    })  # fmt: skip
    stage.add(
        "/* verilator lint_on PINCONNECTEMPTY */",
        f"reg [{late - 1}:0] live;",
        f"always @(posedge clk) live <= rst ? 0 : {{live[{late - 2}:0], step{' && last_pixel' * gathers}}};",
        f"assign out_valid = live[{late - 1}];",
    )


def stream(
    stage: Stage, place: int, lanes: int, when: Turn | None = None, first: int = 0, count: int | None = None
) -> str:
    """The operands of an input two registers behind their step; gives their name.

    They are all channels, or `count` of them from `first` on.
    """
    source, when = stage.sources[place], when or Turn()
    # One that lies across operands is cut out of a word that has the whole pixel.
    across = first % lanes
    made = layout(source.node.shape.channels, source.bits, source.beat, lanes, source.depth, whole=bool(across))
    operands, begin = (1, 0) if across else (made.operands, first // lanes)
    end = begin + -(-(count or made.channels) // lanes) - 1
    stage.ring(place, made, 1)
    stage.add(
        f"assign re{place} = {when.step}, freed{place} = {HELD if when.release == HELD else 'fired'};",
        f"wire [{made.select_bits - 1}:0] select{place};",
        f"wire [{lanes * made.bits - 1}:0] x{place};",
        f"reg valid{place};",
        f"always @(posedge clk) valid{place} <= {when.step};",
    )
    stage.part("rillet_stream", f"stream{place}", {
        "OPERANDS": operands, "SIZE": made.size, "DEPTH": made.depth, "HOLDS": int(when.again),
        "FIRST_WORD": begin // operands, "FIRST": begin % operands,
        "SKIP": made.words - end // operands + begin // operands, "AB": made.address_bits, "SB": made.select_bits,
    }, {
        "clk": "clk", "rst": "rst", "arrived": f"arrived{place}", "step": when.step, "last": when.last,
        "release_pixel": when.release, "ok": f"ok{place}", "ra": f"ra{place}", "select": f"select{place}",
    })  # fmt: skip
    stage.part("rillet_operand", f"operand{place}", {
        "BITS": made.bits, "WORD": made.word_channels * made.bits, "OPERANDS": operands, "CHANNELS": lanes,
        "TAKEN": lanes, "SB": made.select_bits, "SHIFT": first if across else 0,
    }, {
        "clk": "clk", "enable": f"valid{place}", "word": f"rd{place}", "select": f"select{place}", "part": "1'b0",
        "pad": "1'b0", "x": f"x{place}",
    })  # fmt: skip
    return f"x{place}"


HELD = "fired && last_pixel"
"""When a value of the whole image, read again for each pixel, is let go."""


def constant(stage: Stage, position: int, lanes: int, step: str = "step") -> str:
    """The operands of an input that never changes, when those of streams come; gives their name."""
    node = stage.graph.by_name[stage.node.inputs[position]]
    stored = stage.graph.param(node, "value").astype(np.int64).reshape(node.shape.pixels, -1)
    wide = -(-node.shape.channels // lanes) * lanes
    values = np.pad(stored - (128 if node.type.dtype is DType.U8 else 0), ((0, 0), (0, wide - node.shape.channels)))
    rows = values.reshape(-1, lanes)
    stage.add(f"wire [{lanes * 8 - 1}:0] c{position};")
    stage.part("rillet_constant", f"constant{position}", {
        "WIDTH": lanes * 8, "SIZE": len(rows), "AB": bits_of(len(rows)),
        "STYLE": stage.style(lanes * 8, len(rows)),
        "FILE": stage.memory(f"constant{position}", words((rows, 8))),
    }, {"clk": "clk", "rst": "rst", "step": step, "x": f"c{position}"})  # fmt: skip
    return f"c{position}"


def elementwise(stage: Stage, lanes: int, late: int) -> list[str]:
    """The operands of every input, in the order of the layer."""
    node = stage.node
    held = [source.node.shape.pixels == 1 and node.shape.pixels > 1 for source in stage.sources]
    stage.beat = lanes
    firing(stage, late, ("last", "last_pixel") if any(held) else ("last",))
    streams = {
        source.node.name: stream(stage, place, lanes, Turn(release=HELD, again=True) if holds else None)
        for place, (source, holds) in enumerate(zip(stage.sources, held, strict=True))
    }
    return [
        constant(stage, position, lanes) if is_constant(stage.graph.by_name[name].op) else streams[name]
        for position, name in enumerate(node.inputs)
    ]


# -- functions, sums, products -----------------------------------------------------------------------------------------


def function(stage: Stage) -> None:
    """A function of one value, or a requantisation, by its table."""
    source, node = stage.sources[0].node.type, stage.node
    assert source.quant is not None and node.type.quant is not None
    stored = tables.stored_values(source.dtype)
    if node.type.dtype is DType.BINARY:
        table = np.where(stored - source.quant.zero_point < 0, 1, 0)
    elif is_function(node.op):
        table = tables.activation_table(node.op, source.quant, source.dtype, node.type.quant, node.type.dtype)
    else:
        made = fp.requantize(stored, source.quant, node.type.quant)
        table = np.clip(made, *node.type.dtype.integers)
    lanes = stage.plan.folding.outputs
    (x,) = elementwise(stage, lanes, COPIED)
    path = stage.memory("table", words((by_byte(table, source, node.type), stage.bits)))
    stage.lanes(
        lanes,
        f"rillet_table #(.OUT({stage.bits}), .STYLE({stage.style(stage.bits, TABLE_WORDS)}), .FILE({path})) table_of"
        f" (.clk(clk), .x({x}[i*8 +: 8]), .y(out_data[i*{stage.bits} +: {stage.bits}]));",
    )


def by_byte(table: fp.Ints, source: TensorType, out: TensorType) -> fp.Ints:
    """Results by the byte that hardware has of a value, as hardware has them, from those by stored value."""
    places = np.arange(256) ^ (0x80 if source.dtype is DType.U8 else 0)
    return table[places] - (128 if out.dtype is DType.U8 else 0)


def add(stage: Stage, op: Add) -> None:
    """A sum, or a difference."""
    lanes = stage.plan.folding.outputs
    one, two = (inside(type_) for type_ in stage.graph.input_types(stage.node))
    out = inside(stage.node.type)
    low, high = bounds(stage, op.activation)
    if plain_sum(stage.graph, stage.node):
        a, b = (f"{name}[i*8 +: 8]" for name in elementwise(stage, lanes, 3))
        minus = two.zero_point if op.subtract else -two.zero_point
        parameters = f".SUBTRACT({int(op.subtract)}), .BIAS({out.zero_point - one.zero_point + minus})"
        parameters += f", .LOW({low}), .HIGH({high})"
        ports = f".clk(clk), .a({a}), .b({b}), .q(out_data[i*8 +: 8])"
        stage.lanes(lanes, f"rillet_sum #({parameters}) sum ({ports});")
        return
    constants = fp.add_constants(one, two, out)
    stored = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
    sides = [
        fp.multiply_double((stored - quant.zero_point) << fp.ADD_SHIFT, scale.mantissa, scale.shift)
        for quant, scale in ((one, constants.left), (two, constants.right))
    ]
    wide = max(int(np.abs(side).max()).bit_length() for side in sides) + 1
    paths = [stage.memory(f"side{place}", words((side, wide))) for place, side in enumerate(sides)]
    a, b = (f"{name}[i*8 +: 8]" for name in elementwise(stage, lanes, 10))
    style = f".STYLE({stage.style(SIDE_BITS, TABLE_WORDS)})"
    scale = scaled(constants.out, out.zero_point, low, high)
    stage.lanes(
        lanes,
        f"wire signed [{wide - 1}:0] a, b;",
        f"reg signed [{wide}:0] sum;",
        f"rillet_table #(.OUT({wide}), {style}, .FILE({paths[0]})) left (.clk(clk), .x({a}), .y(a));",
        f"rillet_table #(.OUT({wide}), {style}, .FILE({paths[1]})) right (.clk(clk), .x({b}), .y(b));",
        f"always @(posedge clk) sum <= {{a[{wide - 1}], a}} {'-' if op.subtract else '+'} {{b[{wide - 1}], b}};",
        f"rillet_scale #(.IN({wide + 1}), {scale[0]}) round (.clk(clk), .v(sum), {scale[1]}, .q(out_data[i*8 +: 8]));",
    )


def scaled(scale: fp.Multiplier, zero: int, low: int, high: int) -> tuple[str, str]:
    """Parameters and constant ports of a requantisation by one multiplier."""
    parameters = f".LEFT({int(scale.shift > 0)}), .ZERO({zero}), .LOW({low}), .HIGH({high})"
    return parameters, f".mantissa(31'd{scale.mantissa}), .shift(6'd{scale.shift & 63})"


def multiply(stage: Stage, op: Multiply) -> None:
    """A product of two values."""
    lanes = stage.plan.folding.outputs
    types = stage.graph.input_types(stage.node)
    one, two = types[0].quant, types[1].quant
    out = inside(stage.node.type)
    assert one is not None and two is not None
    low, high = bounds(stage, op.activation)
    shifts = op.rounding is Rounding.SHIFT
    a, b = elementwise(stage, lanes, 6 if shifts else 10)
    if shifts:
        s = shift.product_shift(one, two, out)
        wide = max(18, s + 2)
        parameters = f".IN({wide}), .ZERO({out.zero_point}), .LOW({low}), .HIGH({high})"
        ports, module = f".s(5'd{s})", "rillet_shift"
    else:
        wide = 18
        parameters, ports = scaled(fp.product_multiplier(one, two, out), out.zero_point, low, high)
        parameters, module = f".IN(18), {parameters}", "rillet_scale"
    zeros = f".ZERO_A({inside(types[0]).zero_point}), .ZERO_B({inside(types[1]).zero_point})"
    widened = "p" if wide == 18 else f"{{{{{wide - 18}{{p[17]}}}}, p}}"
    stage.lanes(
        lanes,
        "wire signed [17:0] p;",
        f"rillet_product #({zeros}) product (.clk(clk), .a({a}[i*8 +: 8]), .b({b}[i*8 +: 8]), .p(p));",
        f"{module} #({parameters}) round (.clk(clk), .v({widened}), {ports}, .q(out_data[i*8 +: 8]));",
    )
