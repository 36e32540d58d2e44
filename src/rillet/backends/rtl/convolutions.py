"""Convolutions: operands of windows, words of weights, multipliers, and sums brought to bytes or signs."""

from dataclasses import dataclass

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.convolution import level_sums, multipliers, stored_weights, sum_bits
from rillet.backends.rtl.layout import bits_of
from rillet.backends.rtl.memories import packed_words, words
from rillet.backends.rtl.stage import Stage, bounds, inside
from rillet.backends.rtl.windows import Cut, windowed
from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType
from rillet.plan.pipeline.memories import LEVEL_BITS, scales_width
from rillet.plan.pipeline.registers import blocks_of

_MULTIPLIES, _TERNARY, _BINARY, _COMPARES, _TERNARY_APART, _BINARY_APART = range(6)
"""How rillet_mac takes products."""
_SHIFT, _DOUBLE, _SINGLE, _AS_IT_IS = range(4)
"""How rillet_requantise rounds."""
_RULES = {Rounding.SHIFT: _SHIFT, Rounding.DOUBLE: _DOUBLE, Rounding.SINGLE: _SINGLE}


def convolution(stage: Stage, op: Conv) -> None:
    """The stage of a convolution."""
    source, folding = stage.sources[0], stage.plan.folding
    blocks = blocks_of(op.out_channels, op.groups, folding)
    each = source.node.shape.channels // op.groups
    parts, taps = -(-each // folding.inputs), folding.taps
    stage.beat = blocks.units
    if op.groups == 1:
        cut = Cut(blocks.count, parts, True, 1, True, *(folding.inputs, 1, folding.inputs, folding.inputs))
    else:
        # Of a depthwise layer all groups lie side by side.
        operand = (1, blocks.groups, blocks.groups) if each == 1 else (blocks.groups, each, folding.inputs)
        ends = blocks.groups > 1
        cut = Cut(blocks.count, parts, False, blocks.each, ends, blocks.groups * each, *operand)
    windowed(stage, op.window, cut, source.zero_point, ("at", "first", "last", "short", "pad"))
    kind, bits, weights, values = _weights(stage, op)
    word = folding.outputs * taps * folding.inputs * bits
    path = stage.memory("weights", _weight_words(weights, op, stage, blocks.groups, blocks.each, bits))
    stage.add(f"wire [{word - 1}:0] w1;")
    stage.part(
        "rillet_rom", "weights",
        {
            "WIDTH": word, "DEPTH": folding.cycles, "AB": bits_of(folding.cycles),
            "STYLE": stage.style(word, folding.cycles), "FILE": path,
        },
        {"clk": "clk", "re": "step", "ra": "at", "rd": "w1"},
    )  # fmt: skip
    stage.add(f"reg [{word - 1}:0] w2;", "always @(posedge clk) w2 <= w1;")
    operand, operand_bits = _values(stage, kind, taps, blocks.groups * folding.inputs)
    end = _finish(stage, op, weights, values, blocks.units)
    each = 2 if end.levels == 2 else 1
    stage.add("wire leaves;", f"wire [{blocks.units * each * end.in_bits - 1}:0] sums;")
    stage.part("rillet_mac", "mac", {
        "OUTPUTS": folding.outputs, "GROUPS": blocks.groups, "TAKEN": folding.inputs, "TAPS": taps, "XB": operand_bits,
        "WB": bits, "KIND": kind, "ACC": end.in_bits, "ALONE": int(folding.cycles == blocks.count),
        "UNITS": blocks.units, "DRAINS": folding.outputs // blocks.units, "SHORT": blocks.last_beats,
    }, {
        "clk": "clk", "rst": "rst", "valid": "valid2", "first": "first2", "last": "last2", "short_block": "short2",
        "x": operand, "pad": "pad2", "w": "w2", "leaves": "leaves", "sums": "sums",
    })  # fmt: skip
    low, high = (0, 0) if end.rule == _AS_IT_IS else bounds(stage, op.activation)
    stage.part("rillet_requantise", "requantise", {
        "UNITS": blocks.units, "BEATS": end.beats, "IN": end.in_bits, "ACC": end.bits, "LEVELS": end.levels,
        "RULE": end.rule, "LEFT": end.left, "BITS": stage.bits,
        "ZERO": inside(stage.node.type).zero_point, "LOW": low, "HIGH": high, "FILE": end.memory,
        "STYLE": stage.style(scales_width(stage.graph, stage.node, blocks.units), end.beats),
    }, {
        "clk": "clk", "rst": "rst", "valid": "leaves", "sums": "sums", "out_valid": "out_valid",
        "out_data": "out_data",
    })  # fmt: skip


def _values(stage: Stage, kind: int, taps: int, wide: int) -> tuple[str, int]:
    """The operands as the multipliers take them, and the bits of each: signs beside other weights become 1 and -1."""
    if stage.sources[0].bits == 8 or kind == _COMPARES:
        return "x", stage.sources[0].bits
    stage.add(f"wire [{2 * taps * wide - 1}:0] signs;")
    stage.lanes(taps * wide, f"assign signs[2*i +: 2] = pad2[i / {wide}] ? 2'b00 : {{x[i], 1'b1}};")
    return "signs", 2


def _weights(stage: Stage, op: Conv) -> tuple[int, int, fp.Ints, fp.Ints]:
    """How products are taken, the bits of a weight, the weights as they are kept, and what their values are."""
    stored, zero = stored_weights(stage.graph, stage.node, op)
    values = stored - zero
    if op.only_adds:
        signs = stage.graph.param(stage.node, "weight").astype(np.int64)
        kind = _TERNARY if op.weights is DType.TERNARY else _BINARY
        if level_sums(stage.graph, stage.node, op) == 2:
            kind = _TERNARY_APART if op.weights is DType.TERNARY else _BINARY_APART
        elif kind == _BINARY and stage.sources[0].bits == 1:
            kind = _COMPARES
        return kind, op.weights.bits, signs, values
    bits = max(int(values.max()).bit_length(), int(-values.min() - 1).bit_length() if values.min() < 0 else 0) + 1
    return _MULTIPLIES, max(8, bits), values, values


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


@dataclass(frozen=True, slots=True)
class _Finish:
    """How sums leave: what brings them to bytes or signs."""

    in_bits: int
    """Of a sum as it is added up."""
    bits: int
    """Of a sum times its level, with the bias."""
    beats: int
    """Of a pixel."""
    levels: int
    """Of each output channel."""
    rule: int
    left: int
    """1 where some shift is to the left."""
    memory: str


def _finish(stage: Stage, op: Conv, signs: fp.Ints, values: fp.Ints, units: int) -> _Finish:
    """Widths of sums, and the memory of what requantises them; values: the weights, signs: as they are kept."""
    source = stage.sources[0].node
    assert source.type.quant is not None and stage.node.type.quant is not None
    rows = values.reshape(len(values), -1)
    bias = stage.graph.param(stage.node, "bias").astype(np.int64) if op.bias else np.zeros(len(rows), np.int64)
    # What the zero point of the input adds to sums.
    bias = bias - stage.sources[0].zero_point * rows.sum(1)
    bits = sum_bits(stage.graph, stage.node, op)
    levels = level_sums(stage.graph, stage.node, op)
    rule = _AS_IT_IS if stage.node.type.dtype in (DType.BINARY, DType.I32) else _RULES[op.rounding]
    fields: list[tuple[fp.Ints, int]] = []
    if rule != _AS_IT_IS:
        mantissa, exponent = (
            array.astype(np.int64)
            for array in multipliers(stage.graph, stage.node, op, source.type.quant, stage.node.type.quant)
        )
        fields = [(exponent, 5)] if rule == _SHIFT else [(mantissa, 31), (exponent, 6)]
        if rule == _SHIFT:
            bits = max(bits, min(33, int(exponent.max()) + 2))
    left = int(rule not in (_SHIFT, _AS_IT_IS) and any(bool((values > 0).any()) for values, _ in fields[1:]))
    in_bits = bits
    if levels:
        most = 1 << (stage.sources[0].bits - 1)
        in_bits = _sum_bits(signs.reshape(len(signs), -1), levels, most)
        fields += [(column, LEVEL_BITS) for column in _levels(stage, op, levels)]
    fields = [(bias, bits), *fields]
    split = [(_padded(values, 0, units).reshape(-1, units), wide) for values, wide in fields]
    path = stage.memory("requantise", packed_words(split))
    return _Finish(in_bits, bits, len(split[0][0]), levels, rule, left, path)


def _sum_bits(signs: fp.Ints, levels: int, most: int) -> int:
    """Bits of a sum of values under signs, of those under + and of those under - where these have sums of their own."""
    counts = [(signs != 0).sum(1)] if levels == 1 else [(signs > 0).sum(1), (signs < 0).sum(1)]
    return max(1, most * max(int(count.max()) for count in counts)).bit_length() + 1


def _levels(stage: Stage, op: Conv, count: int) -> list[fp.Ints]:
    """What multiplies the sums of each channel; one of both signs is the greater, as a sign that is nowhere has any."""
    assert op.levels is not None
    levels = stage.graph.param(stage.node, "levels").astype(np.int64)
    signs = stage.graph.param(stage.node, "weight").astype(np.int64).reshape(len(levels), -1)
    there = np.stack([(signs > 0).any(1), (signs < 0).any(1)], 1)
    levels = np.where(there, levels, 0)
    return [levels.max(1)] if count == 1 else [levels[:, 0], levels[:, 1]]
