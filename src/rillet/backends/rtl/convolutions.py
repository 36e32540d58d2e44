"""Convolutions: operands of windows, words of weights, multipliers, and sums brought to bytes or signs."""

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.convolution import multipliers, stored_weights
from rillet.backends.rtl.layout import bits_of
from rillet.backends.rtl.memories import packed_words, words
from rillet.backends.rtl.stage import Stage, bounds, inside
from rillet.backends.rtl.windows import Cut, windowed
from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType
from rillet.plan.pipeline.memories import scales_width
from rillet.plan.pipeline.registers import blocks_of

_MULTIPLIES, _TERNARY, _BINARY, _COMPARES = range(4)
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
    kind, bits, weights, zero = _weights(stage, op)
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
    value, value_bits = _values(stage, kind, taps, blocks.groups * folding.inputs)
    bias = (stage.graph.param(stage.node, "bias").astype(np.int64) if op.bias else 0) - zero
    acc, beats, rule, left, path = _scales(stage, op, bias, weights, blocks.units)
    stage.add("wire leaves;", f"wire [{blocks.units * acc - 1}:0] sums;")
    stage.part("rillet_mac", "mac", {
        "OUTPUTS": folding.outputs, "GROUPS": blocks.groups, "TAKEN": folding.inputs, "TAPS": taps, "XB": value_bits,
        "WB": bits, "KIND": kind, "ACC": acc, "ALONE": int(folding.cycles == blocks.count),
        "UNITS": blocks.units, "DRAINS": folding.outputs // blocks.units, "SHORT": blocks.last_beats,
    }, {
        "clk": "clk", "rst": "rst", "valid": "valid2", "first": "first2", "last": "last2", "short_block": "short2",
        "x": value, "pad": "pad2", "w": "w2", "leaves": "leaves", "sums": "sums",
    })  # fmt: skip
    low, high = (0, 0) if rule == _AS_IT_IS else bounds(stage, op.activation)
    stage.part("rillet_requantise", "requantise", {
        "UNITS": blocks.units, "BEATS": beats, "ACC": acc, "RULE": rule, "LEFT": left, "BITS": stage.bits,
        "ZERO": inside(stage.node.type).zero_point, "LOW": low, "HIGH": high, "FILE": path,
        "STYLE": stage.style(scales_width(stage.graph, stage.node, blocks.units), beats),
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
    """How products are taken, the bits of a weight, the weights, and what the zero point of the input adds to sums."""
    stored, zero = stored_weights(stage.graph, stage.node, op)
    weights = stored - zero
    point = stage.sources[0].zero_point * weights.reshape(len(weights), -1).sum(1)
    if op.levels is None and op.weights in (DType.TERNARY, DType.BINARY):
        kind = _TERNARY if op.weights is DType.TERNARY else _BINARY if stage.sources[0].bits == 8 else _COMPARES
        return kind, op.weights.bits, weights, point
    bits = max(int(weights.max()).bit_length(), int(-weights.min() - 1).bit_length() if weights.min() < 0 else 0) + 1
    return _MULTIPLIES, max(8, bits), weights, point


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
    most = 1 << (stage.sources[0].bits - 1)
    reach = int((np.abs(bias) + most * np.abs(weights.reshape(len(weights), -1)).sum(1)).max())
    acc = min(32, reach.bit_length() + 1)
    if stage.node.type.dtype in (DType.BINARY, DType.I32):
        split = [(_padded(bias, 0, units).reshape(-1, units), acc)]
        return acc, len(split[0][0]), _AS_IT_IS, 0, stage.memory("requantise", packed_words(split))
    mantissa, exponent = (
        array.astype(np.int64)
        for array in multipliers(stage.graph, stage.node, op, source.type.quant, stage.node.type.quant)
    )
    rule = _RULES[op.rounding]
    fields = [(exponent, 5)] if rule == _SHIFT else [(mantissa, 31), (exponent, 6)]
    if rule == _SHIFT:
        acc = max(acc, min(33, int(exponent.max()) + 2))
    split = [(_padded(values, 0, units).reshape(-1, units), bits) for values, bits in [(bias, acc), *fields]]
    left = int(rule != _SHIFT and bool((exponent > 0).any()))
    return acc, len(split[0][0]), rule, left, stage.memory("requantise", packed_words(split))
