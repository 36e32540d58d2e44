"""Import of aten operators: one function per operator, and the table of them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rillet.importers.axes import Axis, axes_of, by_step, laid, length, parts_of, renamed
from rillet.importers.supported import Rows, markdown
from rillet.importers.torch import curves, moves, norms, patterns, resizes, transposed, views, windows
from rillet.importers.torch.builder import Border, Builder, Call, Known, Result, Value, added
from rillet.importers.torch.layouts import as_map
from rillet.importers.torch.operands import pair
from rillet.importers.torch.windows import made_window, shares_inside, twice
from rillet.ir.graph import Array
from rillet.ir.ops import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Pad,
    Pool,
    PoolKind,
    Window,
)
from rillet.ir.types import Shape

# -- convolutions and dense layers -------------------------------------------------------------------------------------


def _conv(b: Builder, call: Call) -> Result:
    weight = b.array(call, "weight")
    assert weight is not None
    value = b.value(call, "input")
    alone = weight.shape[2:] == twice(call["stride"]) == (1, 1) and call["padding"] in ([0], [0, 0], "valid", "same")
    if alone and call["groups"] == 1 and value.dims != as_map(b.shape(value)):
        return _of_part(b, call, value, 1, weight.reshape(len(weight), -1), b.array(call, "bias"))
    source, border = b.unpadded(call, b.map(call, "input"), Pad)
    kernel, stride, dilation = (weight.shape[2], weight.shape[3]), twice(call["stride"]), twice(call["dilation"])
    own = _conv_padding(call["padding"], kernel, dilation)
    window = made_window(b, call, kernel, stride, added(border, own), dilation)
    arrays = {"weight": np.ascontiguousarray(weight.transpose(0, 2, 3, 1))}
    bias = b.array(call, "bias")
    if bias is not None:
        arrays["bias"] = bias
    op = Conv(weight.shape[0], window, call["groups"], bias=bias is not None)
    return b.add(call, op, [source], params=arrays)


def _conv_padding(padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> Border:
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        total = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2
    rows, columns = twice(padding)
    return rows, rows, columns, columns


def _linear(b: Builder, call: Call) -> Result:
    source = b.value(call, "input")
    weight, bias = b.array(call, "weight"), b.array(call, "bias")
    assert weight is not None
    return _product(b, call, source, weight, bias)


def _product(b: Builder, call: Call, source: Value, weight: Array, bias: Array | None) -> Value:
    """The product with a matrix, output by input, of a value's last dimension: a flattened map, or the channels."""
    shape, last = b.shape(source), source.dims[-1]
    outputs, flat = len(weight), not any(source.dims[:-1])
    if not flat:
        return _of_part(b, call, source, len(source.dims) - 1, weight, bias)
    # The columns of the weight follow the flattened axes; those of a graph are height, width, channels.
    order = [last.index(axis) for letter in "HWC" for axis in by_step(a for a in last if a.of == letter)]
    moved = weight.reshape(outputs, *(axis.length for axis in last)).transpose(0, *(1 + i for i in order))
    window = Window((shape.height, shape.width)) if flat else Window()
    arrays = {"weight": np.ascontiguousarray(moved.reshape(outputs, *window.kernel, -1))}
    if bias is not None:
        arrays["bias"] = bias
    op = Conv(outputs, window, bias=bias is not None, dense=flat)
    made = tuple(axes_of(Shape(1, 1, outputs)).values())
    return b.add(call, op, [source.draft], (*source.dims[:-1], made), arrays)


def _of_part(b: Builder, call: Call, source: Value, dim: int, weight: Array, bias: Array | None) -> Value:
    """The product with a matrix of the channels, or of a part of them, that dimension `dim` runs over."""
    own = source.dims[dim]
    others = by_step(axis for axis in parts_of(source.dims) if axis not in own)
    if length(own) != weight.shape[1] or any(axis.of != "C" for axis in own):
        raise b.refuse(call, f"must read a vector, a flattened map or channels, got {b.described(source)}")
    groups, outputs = length(tuple(others)), len(weight)
    at = views.ordered(b, call, source, [*others, *own])
    arrays = {"weight": np.ascontiguousarray(np.tile(weight, (groups, 1)).reshape(groups * outputs, 1, 1, -1))}
    if bias is not None:
        arrays["bias"] = np.tile(bias, groups)
    made = b.add(call, Conv(groups * outputs, groups=groups, bias=bias is not None), [at.draft], params=arrays)
    names = laid([*others, Axis("C", outputs, 0)])
    dims = list(renamed(source.dims, names))
    dims[dim] = (names[Axis("C", outputs, 0)],) if outputs > 1 else ()
    return Value(made.draft, tuple(dims))


def _matmul(b: Builder, call: Call) -> Result:
    left, right = call["self"], call["other" if "other" in call.arguments else "mat2"]
    if isinstance(left, Value) and isinstance(right, Known) and right.tensor.ndim == 2:
        return _product(b, call, b.value(call, "self"), np.ascontiguousarray(right.array.T), None)
    return norms.weighted_sum(b, call, left, right)


def _batch_norm(b: Builder, call: Call) -> Result:
    source = b.by_channel(call, b.value(call, "input"))
    mean, variance = b.array(call, "running_mean"), b.array(call, "running_var")
    if call["training"] or mean is None or variance is None:
        raise b.refuse(call, "must have running statistics, and use them")
    weight, bias = b.array(call, "weight"), b.array(call, "bias")
    arrays = {
        "gamma": np.ones_like(mean) if weight is None else weight,
        "beta": np.zeros_like(mean) if bias is None else bias,
        "mean": mean,
        "variance": variance,
    }
    return b.add(call, BatchNorm(call["eps"]), [source.draft], source.dims, arrays)


# -- functions of each value -------------------------------------------------------------------------------------------


def _activate(activation: Activation) -> Callable[[Builder, Call], Result]:
    def handle(b: Builder, call: Call) -> Result:
        return b.activate(call, b.value(call, "self"), activation)

    return handle


def _clamp(low: str, high: str) -> Callable[[Builder, Call], Result]:
    """A handler of clamps whose bounds are the arguments of these names."""

    def handle(b: Builder, call: Call) -> Result:
        bounds = [-math.inf if call.get(low) is None else b.number(call[low]), b.number(call.get(high))]
        bounds[1] = math.inf if call.get(high) is None else bounds[1]
        if bounds[0] is None or bounds[1] is None:
            raise b.refuse(call, "must have one number as each bound")
        return patterns.clamp(b, call, b.value(call, "self"), bounds[0], bounds[1])

    return handle


def _dropout(b: Builder, call: Call) -> Result:
    if call["train"] and call["p"]:
        raise b.refuse(call, "must drop nothing when the module is in eval mode, got training=True")
    return _same(b, call)


def _same(b: Builder, call: Call) -> Result:
    return b.value(call, "input" if "input" in call.arguments else "self")


# -- arithmetic --------------------------------------------------------------------------------------------------------


def _add(b: Builder, call: Call) -> Result:
    return _plus(b, call, call["self"], call["other"], call["alpha"])


def _subtract(b: Builder, call: Call) -> Result:
    return _plus(b, call, call["self"], call["other"], -call["alpha"])


def _subtract_reversed(b: Builder, call: Call) -> Result:
    return _plus(b, call, call["other"], call["self"], -call["alpha"])


def _plus(b: Builder, call: Call, left: Any, right: Any, factor: float) -> Result:
    """Left + factor * right."""
    if isinstance(left, Value) and (number := b.number(right)) is not None:
        return patterns.scale(b, call, left, 1, factor * number)
    if isinstance(right, Value) and (number := b.number(left)) is not None:
        return patterns.scale(b, call, right, factor, number)
    if abs(factor) != 1:
        right = _times(b, call, right, abs(factor))
    one, other, dims = pair(b, call, left, right)
    if b.shape(other).pixels > b.shape(one).pixels:
        one, other = other, one
        if factor < 0:
            return b.add(call, Add(), [_times(b, call, one, -1).draft, other.draft], dims)
    return b.add(call, Add(subtract=factor < 0), [one.draft, other.draft], dims)


def _times(b: Builder, call: Call, operand: Any, factor: float) -> Any:
    if isinstance(operand, Known):
        return Known(operand.tensor * factor, source=operand.source)
    return patterns.scale(b, call, operand, factor)


def _negative(b: Builder, call: Call) -> Result:
    return patterns.scale(b, call, b.value(call, "self"), -1)


def _multiply(b: Builder, call: Call) -> Result:
    left, right = call["self"], call["other"]
    if not isinstance(left, Value):
        left, right = right, left
    if (number := b.number(right)) is not None:
        return patterns.scale(b, call, left, number)
    return patterns.multiply(b, call, *pair(b, call, call["self"], call["other"]))


def _divide(b: Builder, call: Call) -> Result:
    if isinstance(call["other"], Value) and call.get("rounding_mode") is None:
        return moves.quotient(b, call, call["self"], call["other"])
    source, divisor = b.value(call, "self"), call["other"]
    number = b.number(divisor)
    if call.get("rounding_mode") is not None or number == 0:
        raise b.refuse(call, "must divide by constants other than zero, without rounding")
    if number is not None:
        return patterns.scale(b, call, source, 1 / number)
    if (pooled := _uncounted_border(b, call, source, divisor)) is not None:
        return pooled
    inverse = Known(divisor.tensor.reciprocal(), divisor.layer, divisor.source)
    return patterns.multiply(b, call, *pair(b, call, source, inverse))


def _uncounted_border(b: Builder, call: Call, source: Value, divisor: Known) -> Value | None:
    """An average over a padded map, divided by the share of each window that lies on the map: padding not counted."""
    pool = b.op(call, source.draft)
    if not isinstance(pool, Pool) or pool.kind is not PoolKind.AVERAGE or any(pool.window.padding):
        return None
    before = Value(b.drafts[source.draft].inputs[0], source.dims)
    at, border = b.unpadded(call, before, Pad)
    if not any(border):
        return None
    window = replace(pool.window, padding=border)
    shares = shares_inside(window, b.shape(Value(at, source.dims)))
    if divisor.array.shape[-2:] != shares.shape or divisor.array.size != shares.size:
        return None
    if not np.allclose(divisor.array.reshape(shares.shape), shares, rtol=1e-6, atol=0):
        return None
    return b.add(call, replace(pool, window=window), [at])


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {
    **curves.HANDLERS,
    **moves.HANDLERS,
    **norms.HANDLERS,
    **resizes.HANDLERS,
    **transposed.HANDLERS,
    **windows.HANDLERS,
    "add": _add,
    "alias": _same,
    "batch_norm": _batch_norm,
    "bmm": _matmul,
    "cat": views.concat,
    "chunk": views.chunk,
    "clamp": _clamp("min", "max"),
    "clamp_max": _clamp("", "max"),
    "clamp_min": _clamp("min", ""),
    "clip": _clamp("min", "max"),
    "clone": _same,
    "concat": views.concat,
    "contiguous": _same,
    "conv2d": _conv,
    "detach": _same,
    "div": _divide,
    "divide": _divide,
    "dropout": _dropout,
    "expand": views.expand,
    "expand_as": views.expand,
    "feature_dropout": _dropout,
    "flatten": views.reshape,
    "flip": views.flip,
    "hardsigmoid": _activate(Activation.HARD_SIGMOID),
    "hardswish": _activate(Activation.HARD_SWISH),
    "hardtanh": _clamp("min_val", "max_val"),
    "linear": _linear,
    "matmul": _matmul,
    "mT": views.turn,
    "mm": _matmul,
    "mul": _multiply,
    "multiply": _multiply,
    "narrow": views.narrow,
    "neg": _negative,
    "permute": views.permute,
    "relu": _activate(Activation.RELU),
    "relu6": _activate(Activation.RELU6),
    "reshape": views.reshape,
    "rsub": _subtract_reversed,
    "select": views.select,
    "sigmoid": _activate(Activation.SIGMOID),
    "silu": _activate(Activation.SILU),
    "slice": views.cut,
    "split": views.split,
    "split_with_sizes": views.split_with_sizes,
    "squeeze": views.reshape,
    "stack": views.stack,
    "sub": _subtract,
    "subtract": _subtract,
    "to": _same,
    "transpose": views.transpose,
    "unbind": views.unbind,
    "unflatten": views.reshape,
    "unsqueeze": views.reshape,
    "view": views.reshape,
}

NOTES: dict[str, tuple[str, str]] = {
    **curves.NOTES,
    **moves.NOTES,
    **norms.NOTES,
    **resizes.NOTES,
    **transposed.NOTES,
    **windows.NOTES,
    "add": ("add", "with a value, a constant or a number"),
    "alias": ("nothing", ""),
    "batch_norm": ("batchnorm", "with running statistics"),
    "bmm": ("conv, or multiply and pool", "as matmul"),
    "cat": ("concat, or pads and adds", "along channels or parts of them; along rows or columns"),
    "chunk": ("slices", "as slice"),
    "clamp": ("activate, or apply", "any bounds"),
    "clamp_max": ("activate", "as clamp"),
    "clamp_min": ("activate", "as clamp"),
    "clip": ("activate", "as clamp"),
    "clone": ("nothing", ""),
    "concat": ("concat", "as cat"),
    "contiguous": ("nothing", ""),
    "conv2d": ("conv", "any kernel, stride, dilation, groups, padding; constant weights; takes the pads before it"),
    "detach": ("nothing", ""),
    "div": ("multiply, or pair", "by a constant, a number or a value"),
    "divide": ("multiply, or pair", "as div"),
    "dropout": ("nothing", "in eval mode"),
    "expand": ("nothing", "where arithmetic reads it (squeeze-and-excite)"),
    "expand_as": ("nothing", "as expand"),
    "feature_dropout": ("nothing", "in eval mode"),
    "flatten": ("nothing", "as view"),
    "flip": ("select", "of channels"),
    "hardsigmoid": ("activate", "also as relu6(x + 3) / 6"),
    "hardswish": ("activate", "also as x * relu6(x + 3) / 6 or x * hardsigmoid(x)"),
    "hardtanh": ("activate", "as clamp"),
    "linear": (
        "conv over the full tensor, or 1x1",
        "of a vector, a flattened map, or the channels where these are last",
    ),
    "matmul": ("conv, or multiply and pool", "by a constant matrix as linear; by a computed row or column"),
    "mT": ("nothing", "as permute"),
    "mm": ("conv, or multiply and pool", "as matmul"),
    "mul": ("multiply", "with a value (squeeze-and-excite), a constant or a number"),
    "multiply": ("multiply", "as mul"),
    "narrow": ("slice", "as slice"),
    "neg": ("multiply", ""),
    "permute": ("nothing", "where a reader finds 1xCxHxW again"),
    "relu": ("activate", ""),
    "relu6": ("activate", ""),
    "reshape": ("nothing", "as view"),
    "rsub": ("add", "as sub"),
    "select": ("slice, select or resize", "as slice, without the dimension"),
    "sigmoid": ("activate", ""),
    "silu": ("activate", "also as x * sigmoid(x)"),
    "slice": ("slice, select or resize", "of channels or parts of them, rows or columns, with any step"),
    "split": ("slices", "as slice"),
    "split_with_sizes": ("slices", "as slice"),
    "squeeze": ("nothing", "as view"),
    "stack": ("concat", "in a dimension that becomes part of the channels"),
    "sub": ("add", "as add"),
    "subtract": ("add", "as add"),
    "to": ("nothing", "where the values stay float32"),
    "transpose": ("nothing", "as permute"),
    "unbind": ("slices", "as select"),
    "unflatten": ("nothing", "as view"),
    "unsqueeze": ("nothing", "as view"),
    "view": (
        "nothing, select, depthtospace or spacetodepth",
        "where it joins axes or cuts channels: what the reader finds in another order is a shuffle; squares of pixels",
    ),
}
"""What each operator becomes in a graph, and its limits; the table in docs/torch.md is made of this."""


def supported_operators() -> list[str]:
    """Names of the aten operators that the importer reads."""
    return sorted(HANDLERS)


def operator_rows() -> Rows:
    """The supported operators, what each becomes, and its limits."""
    return [(name, *NOTES[name]) for name in supported_operators()]


def operator_table() -> str:
    """The supported operators as a Markdown table."""
    return markdown(operator_rows())
