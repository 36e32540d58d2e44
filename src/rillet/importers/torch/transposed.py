"""Import of PyTorch's transposed convolutions, as convolutions whose pixels are spread."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rillet.errors import RilletError
from rillet.importers.torch.builder import Builder, Call, Result
from rillet.importers.transposed import transposed
from rillet.ir.graph import Array
from rillet.ir.ops import Conv


def _two(value: Any) -> tuple[int, int]:
    found = [value] if isinstance(value, int) else list(value)
    return found[0], found[-1]


def _conv_transpose(b: Builder, call: Call) -> Result:
    source, weight = b.map(call, "input"), b.array(call, "weight")
    assert weight is not None
    stride, padding, more, dilation = (_two(call[name]) for name in ("stride", "padding", "output_padding", "dilation"))
    shape, groups = b.shape(source), call["groups"]
    split = weight.reshape(groups, -1, *weight.shape[1:]).transpose(0, 2, 3, 4, 1)
    moved = np.ascontiguousarray(split.reshape(-1, *split.shape[2:]))
    size = [
        step * (length - 1) + (taps - 1) * gap + 1 + after - 2 * before
        for length, taps, step, gap, before, after in zip(
            shape.array[:2], weight.shape[2:], stride, dilation, padding, more, strict=True
        )
    ]
    try:
        made = transposed(shape, moved, (size[0], size[1]), stride, padding, dilation, groups)
    except RilletError as error:
        raise b.refuse(call, f"has no place in a graph: {error}") from None
    params: dict[str, Array] = {"weight": made.weight}
    bias = b.array(call, "bias")
    if bias is not None:
        params["bias"] = made.repeated(bias)
    out = b.add(call, made.conv(Conv(1, bias=bias is not None)), [source.draft], params=params)
    for step in made.steps:
        out = b.add(call, step, [out.draft])
    return out


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {"conv_transpose2d": _conv_transpose}
NOTES: dict[str, tuple[str, str]] = {
    "conv_transpose2d": ("conv and depthtospace", "one stride for rows and columns; 1x1 dilation under one"),
}
"""What each operator becomes in a graph, and its limits."""
