"""Import of ONNX's ConvTranspose, as a convolution whose pixels are spread."""

from collections.abc import Callable

import numpy as np

from rillet.errors import GraphError
from rillet.importers.onnx.builder import Builder, Result, finite
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.views import View, of_map
from rillet.importers.transposed import transposed
from rillet.ir.graph import Array
from rillet.ir.ops import Conv


def _two(op: Operator, name: str, default: int) -> tuple[int, int]:
    found = op.integers(name) or [default, default]
    if len(found) != 2:
        raise GraphError(f"{name} must be 2 numbers, got {found[:9]}")
    return found[0], found[1]


def _conv_transpose(b: Builder, op: Operator) -> View:
    source, weight = b.map(op), finite(b.known(op, 1).array, "weights")
    shape, groups = source.shape, op.integer("group", 1)
    if weight.ndim != 4 or groups < 1 or weight.shape[0] != shape.channels or shape.channels % groups:
        raise GraphError(f"weights must be {shape.channels}xOxHxW of {groups} groups, got {list(weight.shape)}")
    split = weight.reshape(groups, -1, *weight.shape[1:]).transpose(0, 2, 3, 4, 1)
    moved = np.ascontiguousarray(split.reshape(-1, *split.shape[2:]))
    stride, dilation = _two(op, "strides", 1), _two(op, "dilations", 1)
    before, size = _looks(op, shape.array[:2], weight.shape[2:], stride, dilation)
    made = transposed(shape, moved, size, stride, before, dilation, groups)
    params: dict[str, Array] = {"weight": made.weight}
    if b.has(op, 2):
        bias = finite(b.known(op, 2).array, "bias")
        if bias.shape != (len(moved),):
            raise GraphError(f"bias must have {len(moved)} values, got {list(bias.shape)}")
        params["bias"] = made.repeated(bias)
    b.draft.follows(params["weight"], b.known(op, 1).source)
    steps = [made.conv(Conv(1, bias="bias" in params)), *made.steps]
    node = b.node(source)
    for i, step in enumerate(steps):
        name = op.outputs[0] if i == len(steps) - 1 else f"{op.outputs[0]}/{i}"
        node = b.make(name, step, [node], params if i == 0 else None)
    return of_map(node)


def _looks(
    op: Operator,
    lengths: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns that are taken off before, and the size of the result."""
    more, pads, asked = _two(op, "output_padding", 0), op.integers("pads") or [0] * 4, op.integers("output_shape") or []
    if len(pads) != 4 or min(pads) < 0 or min(more) < 0:
        raise GraphError(f"pads must be 4 numbers, none below 0, got {pads[:9]}")
    auto = op.word("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise GraphError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {auto[:20]!r}")
    before, size = [0, 0], [0, 0]
    for i in range(2):
        whole = stride[i] * (lengths[i] - 1) + more[i] + (kernel[i] - 1) * dilation[i] + 1
        if asked or auto.startswith("SAME"):
            size[i] = asked[len(asked) - 2 + i] if len(asked) >= 2 else lengths[i] * stride[i]
            total = max(whole - size[i], 0)
            before[i] = total // 2 if auto != "SAME_LOWER" else total - total // 2
            if auto == "NOTSET":
                before[i] = total - total // 2
        else:
            first, last = (0, 0) if auto == "VALID" else (pads[i], pads[i + 2])
            before[i], size[i] = first, whole - first - last
    if min(size) < 1:
        raise GraphError(f"size must be at least 1x1, got {size[0]}x{size[1]}")
    return (before[0], before[1]), (size[0], size[1])


HANDLERS: dict[str, Callable[[Builder, Operator], Result | list[Result]]] = {"ConvTranspose": _conv_transpose}
NOTES: dict[str, tuple[str, str]] = {
    "ConvTranspose": (
        "conv and depthtospace",
        "constant weights, one stride for rows and columns; 1x1 dilation under one",
    )
}
"""What each operator becomes in a graph, and its limits."""
