"""One Verilog module for each stage: its rings, and the parts of the library that make it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables
from rillet.arithmetic.convolution import multipliers, stored_weights
from rillet.backends.rtl.layout import Layout, bits_of, layout
from rillet.backends.rtl.memories import packed_words, words
from rillet.backends.rtl.walk import walk
from rillet.errors import Unsupported
from rillet.ir.facts import is_constant, is_function
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Slice,
    Softmax,
    op_name,
)
from rillet.ir.types import DType, Quant, TensorType
from rillet.plan.pipeline.fifos import Reading
from rillet.plan.pipeline.plan import PixelStage
from rillet.plan.pipeline.registers import blocks_of, plain_sum


@dataclass(frozen=True, slots=True)
class Source:
    """An input of a stage as it comes: the value, the channels of its writer's beats, and the ring's depth."""

    node: Node
    beat: int
    depth: int
    reading: Reading


@dataclass
class Stage:
    """A stage in the making."""

    graph: Graph
    node: Node
    plan: PixelStage
    word: str
    """Its name in Verilog."""
    sources: tuple[Source, ...]
    lines: list[str] = field(default_factory=list[str])
    memories: dict[str, str] = field(default_factory=dict[str, str])
    beat: int = 1
    """Channels of its own beats."""

    @property
    def where(self) -> str:
        """What messages begin with."""
        return f"{self.graph.name}: {self.node.name}"

    def memory(self, name: str, text: str) -> str:
        """A file of words; gives its name as Verilog writes it."""
        path = f"mem/{self.word}_{name}.hex"
        self.memories[path] = text
        return f'"{path}"'

    def add(self, *lines: str) -> None:
        """Lines of the module."""
        self.lines += [f"  {line}" for line in lines]

    def part(self, module: str, name: str, parameters: Mapping[str, object], ports: Mapping[str, object]) -> None:
        """An instance of a part of the library."""
        said = ", ".join(f".{key}({value})" for key, value in parameters.items())
        joined = ", ".join(f".{key}({value})" for key, value in ports.items())
        self.add(f"{module} #({said}) {name}", f"  ({joined});")

    def ring(self, place: int, made: Layout, free_bits: int) -> None:
        """The ring of an input, with wires to its reader."""
        self.add(
            f"wire arrived{place}, re{place};",
            f"wire [{free_bits - 1}:0] freed{place};",
            f"wire [{made.copies * made.address_bits - 1}:0] ra{place};",
            f"wire [{made.copies * made.word_channels * made.bits - 1}:0] rd{place};",
        )
        parameters = {
            "BEAT": made.beat * made.bits, "BEATS": made.beats, "CHUNKS": made.chunks, "WORDS": made.words,
            "DEPTH": made.depth, "COPIES": made.copies, "AB": made.address_bits, "FB": free_bits,
        }  # fmt: skip
        ports = {name: f"in{place}_{name[3:]}" for name in ("in_begin", "in_valid", "in_data", "in_room")}
        ports |= {name: f"{name}{place}" for name in ("arrived", "freed", "re", "ra", "rd")}
        self.part("rillet_ring", f"ring{place}", parameters, {"clk": "clk", "rst": "rst", **ports})
        last = self.lines.pop()
        observed = f"    , .peak(peaks[{32 * place + 31}:{32 * place}])"
        self.lines += [last[:-2], "`ifdef RILLET_OBSERVE", observed, "`endif", "  );"]


def inside(type_: TensorType) -> Quant:
    """A value's quantisation as hardware has it: of uint8 the sign bit is flipped, 128 taken off."""
    assert type_.quant is not None
    return Quant(type_.quant.scale, inner(type_.quant.zero_point, type_.dtype))


def inner(stored: int, dtype: DType) -> int:
    """A stored integer as hardware has it."""
    return stored - 128 if dtype is DType.U8 else stored


def bounds(stage: Stage, activation: Activation) -> tuple[int, int]:
    """Least and greatest result, as hardware has them."""
    type_ = stage.node.type
    assert type_.quant is not None
    clamp = fp.activation_clamp(activation, type_.quant, type_.dtype)
    return inner(clamp.low, type_.dtype), inner(clamp.high, type_.dtype)


def write(stage: Stage) -> None:
    """Fills in the module's lines, its memories and the width of its beats; raises Unsupported for what has none."""
    for value in (*(source.node for source in stage.sources), stage.node):
        if value.type.dtype not in (DType.I8, DType.U8):
            raise Unsupported(f"{stage.where}: values must be i8 or u8 as hardware, got {value.type.dtype.value}")
    for name in stage.node.inputs:
        if is_constant(stage.graph.by_name[name].op):
            raise Unsupported(f"{stage.where}: operands must be computed as hardware, got the constant {name}")
    match stage.node.op:
        case Conv():
            _conv(stage, stage.node.op)
        case Pool(kind=PoolKind.MEAN) if stage.plan.accumulates:
            _mean(stage, stage.node.op)
        case Activate() | Requantize():
            _table(stage)
        case Add():
            _add(stage, stage.node.op)
        case Multiply():
            _multiply(stage, stage.node.op)
        case Pool() | Concat() | Slice() | Pad() | Resize() | BatchNorm() | Softmax():
            raise Unsupported(f"{stage.where}: {op_name(stage.node.op)} has no hardware yet")
        case Input() | Constant():
            raise AssertionError(f"{stage.node.name} is no stage")
        case _ as other:
            assert_never(other)


# -- convolutions ------------------------------------------------------------------------------------------------------


def _conv(stage: Stage, op: Conv) -> None:
    source, folding, out = stage.sources[0], stage.plan.folding, stage.node.shape
    shape = source.node.shape
    blocks = blocks_of(op.out_channels, op.groups, folding)
    each = shape.channels // op.groups
    parts, taps = -(-each // folding.inputs), folding.taps
    inner_parts = op.groups == 1
    operand = folding.inputs if inner_parts else blocks.groups * each
    made = layout(shape.channels, source.beat, operand, source.depth, taps)
    stage.beat = blocks.units
    found = walk(source.reading, out, shape.pixels, None)
    stage.ring(0, made, found.free_bits)
    w = op.window
    step_bits, part_bits = bits_of(folding.cycles), bits_of(parts)
    tables_ = {}
    if not found.even:
        tables_ = {
            "WALK": 1, "CLASSES": found.classes, "RB": bits_of(found.classes), "CB": bits_of(found.classes),
            "ROWS": stage.memory("rows", found.rows), "COLUMNS": stage.memory("columns", found.columns),
        }  # fmt: skip
    stage.add(
        "wire valid1, first1, last1, short1, step;",
        f"wire [{taps - 1}:0] pad1;",
        f"wire [{made.select_bits - 1}:0] select1;",
        f"wire [{part_bits - 1}:0] part1;",
        f"wire [{step_bits - 1}:0] at;",
    )
    window = {
        "H": shape.height, "W": shape.width, "OH": out.height, "OW": out.width, "KH": w.kernel[0], "KW": w.kernel[1],
        "SY": w.stride[0], "SX": w.stride[1], "DY": w.dilation[0], "DX": w.dilation[1], "TOP": w.padding[0],
        "LEFT": w.padding[2], "TAPS": taps, "BLOCKS": blocks.count, "PARTS": parts, "INNER": int(inner_parts),
        "REPEAT": 1 if inner_parts else blocks.each, "ENDS": int(inner_parts or blocks.groups > 1),
        "OPERANDS": made.operands, "WORDS": made.words,
        "DEPTH": made.depth, "NEED": found.need, **tables_, "AB": made.address_bits, "SB": made.select_bits,
        "PB": part_bits, "WB": step_bits, "NB": found.need_bits, "FB": found.free_bits,
    }  # fmt: skip
    stage.part("rillet_window", "window", window, {
        "clk": "clk", "rst": "rst", "arrived": "arrived0", "room": "out_room", "step": "step", "out_begin": "out_begin",
        "done": "fired", "stall": "stalled", "freed": "freed0", "ra": "ra0", "at": "at", "valid": "valid1",
        "first": "first1", "last": "last1", "short_block": "short1", "pad": "pad1", "select": "select1",
        "part": "part1",
    })  # fmt: skip
    wide = blocks.groups * folding.inputs * 8
    kind, weight_bits, weights, zero = _weights(stage, op)
    word = folding.outputs * taps * folding.inputs * weight_bits
    stage.add("assign re0 = step;", f"wire [{taps * wide - 1}:0] x;")
    operand_parameters = {
        "BITS": 8, "WORD": made.word_channels * 8, "OPERANDS": made.operands,
        "GROUPS": blocks.groups if each > 1 else 1,
        "CHANNELS": made.operand if inner_parts else each, "TAKEN": folding.inputs,
        "PARTS": 1 if inner_parts else parts,
        "SB": made.select_bits, "PB": part_bits, "ZERO": inside(source.node.type).zero_point,
    }  # fmt: skip
    if not inner_parts and each == 1:
        operand_parameters |= {"CHANNELS": blocks.groups, "TAKEN": blocks.groups}
    for tap in range(taps):
        stage.part("rillet_operand", f"operand{tap}", operand_parameters, {
            "clk": "clk", "enable": "valid1",
            "word": f"rd0[{made.word_channels * 8 * tap} +: {made.word_channels * 8}]",
            "select": "select1", "part": "part1", "pad": f"pad1[{tap}]", "x": f"x[{wide * tap} +: {wide}]",
        })  # fmt: skip
    path = stage.memory("weights", _weight_words(weights, op, stage, blocks.groups, blocks.each, weight_bits))
    stage.add(f"wire [{word - 1}:0] w1;")
    stage.part(
        "rillet_rom", "weights", {"WIDTH": word, "DEPTH": folding.cycles, "AB": step_bits, "FILE": path},
        {"clk": "clk", "re": "step", "ra": "at", "rd": "w1"},
    )  # fmt: skip
    stage.add(
        f"reg [{word - 1}:0] w2;",
        "reg valid2, first2, last2, short2;",
        f"reg [{taps - 1}:0] pad2;",
        "always @(posedge clk) begin",
        "  w2 <= w1;",
        "  valid2 <= valid1 && !rst;",
        "  {first2, last2, short2, pad2} <= {first1, last1, short1, pad1};",
        "end",
    )
    bias = (stage.graph.param(stage.node, "bias").astype(np.int64) if op.bias else 0) - zero
    acc, beats, rule, left, path = _scales(stage, op, bias, weights, blocks.units)
    drains = folding.outputs // blocks.units
    stage.add("wire leaves;", f"wire [{blocks.units * acc - 1}:0] sums;")
    stage.part("rillet_mac", "mac", {
        "OUTPUTS": folding.outputs, "GROUPS": blocks.groups, "TAKEN": folding.inputs, "TAPS": taps, "XB": 8,
        "WB": weight_bits, "KIND": kind, "ACC": acc, "ALONE": int(folding.cycles == blocks.count),
        "UNITS": blocks.units, "DRAINS": drains, "SHORT": blocks.last_beats,
    }, {
        "clk": "clk", "rst": "rst", "valid": "valid2", "first": "first2", "last": "last2", "short_block": "short2",
        "x": "x", "pad": "pad2", "w": "w2", "leaves": "leaves", "sums": "sums",
    })  # fmt: skip
    low, high = bounds(stage, op.activation)
    stage.part("rillet_requantise", "requantise", {
        "UNITS": blocks.units, "BEATS": beats, "ACC": acc, "RULE": rule, "LEFT": left,
        "ZERO": inside(stage.node.type).zero_point, "LOW": low, "HIGH": high, "FILE": path,
    }, {
        "clk": "clk", "rst": "rst", "valid": "leaves", "sums": "sums", "out_valid": "out_valid",
        "out_data": "out_data",
    })  # fmt: skip


def _weights(stage: Stage, op: Conv) -> tuple[int, int, fp.Ints, fp.Ints]:
    """How products are taken, the bits of a weight, the weights, and what the zero point of the input adds to sums."""
    stored, zero = stored_weights(stage.graph, stage.node, op)
    weights = stored - zero
    point = inside(stage.sources[0].node.type).zero_point * weights.reshape(len(weights), -1).sum(1)
    if op.levels is None and op.weights in (DType.TERNARY, DType.BINARY):
        return (1, 2, weights, point) if op.weights is DType.TERNARY else (2, 1, weights, point)
    bits = max(int(weights.max()).bit_length(), int(-weights.min() - 1).bit_length() if weights.min() < 0 else 0) + 1
    return 0, max(8, bits), weights, point


def _weight_words(weights: fp.Ints, op: Conv, stage: Stage, together: int, each: int, bits: int) -> str:
    """A word a cycle: by block, tap and part; in it by output, tap and channel. What pads is 0."""
    folding = stage.plan.folding
    outputs, channels, taps = folding.outputs, folding.inputs, folding.taps
    own, high, wide, depth = op.out_channels // op.groups, *weights.shape[1:]
    if together == 1:
        shaped = weights.reshape(op.groups, own, high * wide, depth)
        padded = _padded(shaped, 1, each * outputs)
    else:
        padded = _padded(weights.reshape(1, op.out_channels, high * wide, depth), 1, outputs)
    padded = _padded(padded, 3, channels)
    flat = padded.reshape(-1, outputs, high * wide // taps, taps, padded.shape[3] // channels, channels)
    ordered = flat.transpose(0, 2, 4, 1, 3, 5).reshape(-1, outputs * taps * channels)
    assert len(ordered) == folding.cycles
    if bits == 1:
        ordered = (ordered < 0).astype(np.int64)
    return words((ordered, bits))


def _padded(array: fp.Ints, axis: int, multiple: int) -> fp.Ints:
    more = -array.shape[axis] % multiple
    return np.pad(array, [(0, more if i == axis else 0) for i in range(array.ndim)])


def _scales(stage: Stage, op: Conv, bias: fp.Ints, weights: fp.Ints, units: int) -> tuple[int, int, int, int, str]:
    """Bits of a sum, beats of a pixel, the rule, whether any shifts left, and the memory of what requantises."""
    source = stage.sources[0].node
    assert source.type.quant is not None and stage.node.type.quant is not None
    mantissa, exponent = (
        array.astype(np.int64)
        for array in multipliers(stage.graph, stage.node, op, source.type.quant, stage.node.type.quant)
    )
    reach = int((np.abs(bias) + 128 * np.abs(weights.reshape(len(weights), -1)).sum(1)).max())
    acc = min(32, reach.bit_length() + 1)
    rule = {Rounding.SHIFT: 0, Rounding.DOUBLE: 1, Rounding.SINGLE: 2}[op.rounding]
    fields = [(exponent, 5)] if rule == 0 else [(mantissa, 31), (exponent, 6)]
    if rule == 0:
        acc = max(acc, min(33, int(exponent.max()) + 2))
    split = [(_padded(values, 0, units).reshape(-1, units), bits) for values, bits in [(bias, acc), *fields]]
    left = int(rule != 0 and bool((exponent > 0).any()))
    return acc, len(split[0][0]), rule, left, stage.memory("requantise", packed_words(split))


# -- values in, values out ---------------------------------------------------------------------------------------------


def _streams(stage: Stage, lanes: int, late: int, gathers: bool = False) -> None:
    """Steps, and the operands x0, x1 of the inputs two cycles later; `live` is what is on its way to the result."""
    node, first = stage.node, stage.sources[0].node.shape
    steps = stage.plan.folding.cycles
    held = first.pixels > 1 and any(source.node.shape.pixels == 1 for source in stage.sources)
    stage.beat = lanes
    stage.add(
        "wire step, last, last_pixel;" if gathers or held else "wire step, last;",
        *(["wire first_pixel;", f"wire [{bits_of(steps) - 1}:0] at;"] if gathers else []),
        f"wire ok = {' && '.join(f'ok{i}' for i in range(len(stage.sources)))};",
        f"reg [{late - 1}:0] live;",
        f"always @(posedge clk) live <= rst ? 0 : {{live[{late - 2}:0], step{' && last_pixel' * gathers}}};",
        f"assign out_valid = live[{late - 1}];",
    )
    for place, source in enumerate(stage.sources):
        holds = source.node.shape.pixels == 1 and first.pixels > 1
        made = layout(node.shape.channels, source.beat, lanes, source.depth)
        stage.add(f"wire ok{place};")
        stage.ring(place, made, 1)
        letting = "fired && last_pixel" if holds else "fired"
        stage.add(
            f"assign re{place} = step, freed{place} = {letting};",
            f"wire [{made.select_bits - 1}:0] select{place};",
            f"wire [{lanes * 8 - 1}:0] x{place};",
            f"reg valid{place};",
            f"always @(posedge clk) valid{place} <= step;",
        )
        stage.part("rillet_stream", f"stream{place}", {
            "OPERANDS": made.operands, "SIZE": made.size, "DEPTH": made.depth, "HOLDS": int(holds),
            "AB": made.address_bits, "SB": made.select_bits,
        }, {
            "clk": "clk", "rst": "rst", "arrived": f"arrived{place}", "step": "step", "last": "last",
            "release_pixel": f"freed{place}", "ok": f"ok{place}", "ra": f"ra{place}", "select": f"select{place}",
        })  # fmt: skip
        stage.part("rillet_operand", f"operand{place}", {
            "BITS": 8, "WORD": made.word_channels * 8, "OPERANDS": made.operands, "CHANNELS": lanes, "TAKEN": lanes,
            "SB": made.select_bits,
        }, {
            "clk": "clk", "enable": f"valid{place}", "word": f"rd{place}", "select": f"select{place}", "part": "1'b0",
            "pad": "1'b0", "x": f"x{place}",
        })  # fmt: skip
    stage.add("/* verilator lint_off PINCONNECTEMPTY */  // what this layer has no use for")
    stage.part("rillet_steps", "steps", {
        "STEPS": steps, "PIXELS": first.pixels, "GATHERS": int(gathers), "NB": bits_of(steps),
    }, {
        "clk": "clk", "rst": "rst", "ok": "ok", "room": "out_room", "step": "step", "last": "last",
        "first_pixel": "first_pixel" if gathers else "", "last_pixel": "last_pixel" if gathers or held else "",
        "out_begin": "out_begin", "done": "fired",
        "stall": "stalled", "at": "at" if gathers else "",
    })  # fmt: skip
    stage.add("/* verilator lint_on PINCONNECTEMPTY */")


def _lanes(stage: Stage, count: int, lines: Sequence[str]) -> None:
    """Lines for each lane i."""
    stage.add("genvar i;", "generate", f"  for (i = 0; i < {count}; i = i + 1) begin : lane")
    stage.add(*(f"    {line}" for line in lines), "  end", "endgenerate")


def _table(stage: Stage) -> None:
    source, node = stage.sources[0].node.type, stage.node
    assert source.quant is not None and node.type.quant is not None
    if is_function(node.op):
        table = tables.activation_table(node.op, source.quant, source.dtype, node.type.quant, node.type.dtype)
    else:
        made = fp.requantize(tables.stored_values(source.dtype), source.quant, node.type.quant)
        table = np.clip(made, *node.type.dtype.integers)
    lanes = stage.plan.folding.outputs
    _streams(stage, lanes, 3)
    path = stage.memory("table", words((_sign_flipped(table, source.dtype, node.type.dtype), 8)))
    _lanes(stage, lanes, [
        f"rillet_table #(.FILE({path})) table_of (.clk(clk), .x(x0[i*8 +: 8]), .y(out_data[i*8 +: 8]));",
    ])  # fmt: skip


def _sign_flipped(table: fp.Ints, source: DType, out: DType) -> fp.Ints:
    """Results by the byte that hardware has of a value, as hardware has them."""
    places = np.arange(256) ^ (0x80 if source is DType.U8 else 0)
    return table[places] - (128 if out is DType.U8 else 0)


def _add(stage: Stage, op: Add) -> None:
    lanes = stage.plan.folding.outputs
    names = [0 if name == stage.sources[0].node.name else 1 for name in stage.node.inputs]
    one, two = (inside(stage.sources[place].node.type) for place in names)
    out = inside(stage.node.type)
    low, high = bounds(stage, op.activation)
    a, b = (f"x{place}[i*8 +: 8]" for place in names)
    if plain_sum(stage.graph, stage.node):
        _streams(stage, lanes, 3)
        minus = two.zero_point if op.subtract else -two.zero_point
        parameters = f".SUBTRACT({int(op.subtract)}), .BIAS({out.zero_point - one.zero_point + minus})"
        parameters += f", .LOW({low}), .HIGH({high})"
        ports = f".clk(clk), .a({a}), .b({b}), .q(out_data[i*8 +: 8])"
        _lanes(stage, lanes, [f"rillet_sum #({parameters}) sum ({ports});"])
        return
    constants = fp.add_constants(one, two, out)
    stored = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
    sides = [
        fp.multiply_double((stored - quant.zero_point) << fp.ADD_SHIFT, scale.mantissa, scale.shift)
        for quant, scale in ((one, constants.left), (two, constants.right))
    ]
    wide = max(int(np.abs(side).max()).bit_length() for side in sides) + 1
    paths = [stage.memory(f"side{place}", words((side, wide))) for place, side in enumerate(sides)]
    _streams(stage, lanes, 10)
    scale = _scale(constants.out, out.zero_point, low, high)
    _lanes(stage, lanes, [
        f"wire signed [{wide - 1}:0] a, b;",
        f"reg signed [{wide}:0] sum;",
        f"rillet_table #(.OUT({wide}), .FILE({paths[0]})) left (.clk(clk), .x({a}), .y(a));",
        f"rillet_table #(.OUT({wide}), .FILE({paths[1]})) right (.clk(clk), .x({b}), .y(b));",
        f"always @(posedge clk) sum <= {{a[{wide - 1}], a}} {'-' if op.subtract else '+'} {{b[{wide - 1}], b}};",
        f"rillet_scale #(.IN({wide + 1}), {scale[0]}) round (.clk(clk), .v(sum), {scale[1]}, .q(out_data[i*8 +: 8]));",
    ])  # fmt: skip


def _scale(scale: fp.Multiplier, zero: int, low: int, high: int) -> tuple[str, str]:
    """Parameters and constant ports of a requantisation by one multiplier."""
    parameters = f".LEFT({int(scale.shift > 0)}), .ZERO({zero}), .LOW({low}), .HIGH({high})"
    return parameters, f".mantissa(31'd{scale.mantissa}), .shift(6'd{scale.shift & 63})"


def _multiply(stage: Stage, op: Multiply) -> None:
    lanes = stage.plan.folding.outputs
    names = [0 if name == stage.sources[0].node.name else 1 for name in stage.node.inputs]
    types = [stage.sources[place].node.type for place in names]
    one, two = types[0].quant, types[1].quant
    out = inside(stage.node.type)
    assert one is not None and two is not None
    low, high = bounds(stage, op.activation)
    shifts = op.rounding is Rounding.SHIFT
    _streams(stage, lanes, 6 if shifts else 10)
    if shifts:
        s = shift.product_shift(one, two, out)
        wide = max(18, s + 2)
        parameters = f".IN({wide}), .ZERO({out.zero_point}), .LOW({low}), .HIGH({high})"
        ports, module = f".s(5'd{s})", "rillet_shift"
    else:
        wide = 18
        parameters, ports = _scale(fp.product_multiplier(one, two, out), out.zero_point, low, high)
        parameters, module = f".IN(18), {parameters}", "rillet_scale"
    zeros = f".ZERO_A({inside(types[0]).zero_point}), .ZERO_B({inside(types[1]).zero_point})"
    widened = "p" if wide == 18 else f"{{{{{wide - 18}{{p[17]}}}}, p}}"
    _lanes(stage, lanes, [
        "wire signed [17:0] p;",
        f"rillet_product #({zeros}) product"
        f" (.clk(clk), .a(x{names[0]}[i*8 +: 8]), .b(x{names[1]}[i*8 +: 8]), .p(p));",
        f"{module} #({parameters}) round (.clk(clk), .v({widened}), {ports}, .q(out_data[i*8 +: 8]));",
    ])  # fmt: skip


def _mean(stage: Stage, op: Pool) -> None:
    lanes, steps = stage.plan.folding.outputs, stage.plan.folding.cycles
    source = stage.sources[0].node
    count = source.shape.pixels
    quant, out = source.type.quant, stage.node.type.quant
    assert quant is not None and out is not None
    low, high = bounds(stage, op.activation)
    zero = inside(stage.node.type).zero_point
    bias = -count * inside(source.type).zero_point
    acc = max(12, (256 * count).bit_length() + 1)
    if op.rounding is Rounding.SHIFT:
        s = shift.mean_shift(quant, out, count)
        acc = max(acc, s + 2)
        late, said = 5, (f".ZERO({zero}), .LOW({low}), .HIGH({high})", f".s(5'd{s})")
        module = "rillet_shift"
    else:
        late, said = 9, _scale(fp.mean_multiplier(quant, out, count), zero, low, high)
        module = "rillet_scale"
    _streams(stage, lanes, late, gathers=True)
    bits = bits_of(steps)
    stage.add(
        "reg valid2, first1, first2;",
        f"reg [{bits - 1}:0] at1, at2;",
        "always @(posedge clk) {valid2, first1, first2, at1, at2} <= {valid0 && !rst, first_pixel, first1, at, at1};",
        f"wire [{lanes * acc - 1}:0] sums;",
    )
    stage.part(
        "rillet_total", "total", {"LANES": lanes, "STEPS": steps, "NB": bits, "BIAS": bias, "ACC": acc},
        {"clk": "clk", "enable": "valid2", "first": "first2", "at": "at2", "x": "x0", "sums": "sums"},
    )  # fmt: skip
    _lanes(stage, lanes, [
        f"{module} #(.IN({acc}), {said[0]}) round"
        f" (.clk(clk), .v(sums[i*{acc} +: {acc}]), {said[1]}, .q(out_data[i*8 +: 8]));",
    ])  # fmt: skip
