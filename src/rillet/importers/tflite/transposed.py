"""Import of TFLite's transposed convolutions, and of MediaPipe's with a bias."""

import struct
from collections.abc import Callable
from dataclasses import replace

import tflite

from rillet.errors import RilletError
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Operator
from rillet.importers.tflite.operators import activation_of, arrays_of, same_element, weights_of
from rillet.importers.transposed import transposed
from rillet.ir.functions import Activation
from rillet.ir.graph import Array
from rillet.ir.ops import Conv, output_shape
from rillet.ir.types import DType, Shape

CUSTOM = "Convolution2DTransposeBias"


def _made(
    b: Builder,
    op: Operator,
    reads: int,
    same: bool,
    stride: tuple[int, int],
    arrays: dict[str, Array],
    activation: Activation,
) -> None:
    source, out = b.source(op, reads), b.output(op)
    kind, weight = same_element(b, op, source), arrays["weight"]
    if out.open:
        raise b.refuse(op, "output must have a fixed size")
    height, width, channels = b.shape(out).array
    if weight.ndim != 4 or weight.shape[0] != channels or weight.shape[3] != source.shape.channels:
        got = list(weight.shape)
        raise b.fail(op, f"weights must be {channels}xHxWx{source.shape.channels}, got {got}")
    kernel, lengths = weight.shape[1:3], source.shape.array[:2]
    before: list[int] = []
    for length, made, taps, step in zip(lengths, (height, width), kernel, stride, strict=True):
        whole = (length - 1) * step + taps
        if step < 1 or -(-(made if same else made - taps + 1) // step) != length:
            raise b.fail(op, f"output must fit the input, got {height}x{width} of {source.shape} by {stride}")
        before.append(max(whole - made, 0) // 2 if same else 0)
    fill = int(arrays["weight_zero_point"][0]) if "weight_zero_point" in arrays else 0
    try:
        made = transposed(source.shape, weight, (height, width), stride, (before[0], before[1]), fill=fill)
        conv = made.conv(Conv(1, activation=activation, bias="bias" in arrays, weights=source.type.dtype))
        params = {name: made.repeated(array) for name, array in arrays.items() if name in ("bias", "weight_scale")}
        params = {**arrays, **params, "weight": made.weight}
        at, ops = source, (conv, *made.steps)
        for i, step in enumerate(ops):
            shape = output_shape(step, (at.shape,), Shape(1, 1, 1))
            if i == len(ops) - 1 and i > 0:
                b.add(op, step, [at])
            else:
                at = b.add_step(op, step, [at], replace(kind, shape=shape), params if i == 0 else {})
    except RilletError as error:
        raise type(error)(f"{b.file.name}: {op}: {error}") from None
    if len(ops) == 1:
        b.set_pieces(op, [at.name])


def _transpose_conv(b: Builder, op: Operator) -> None:
    options = b.file.options(op, tflite.TransposeConvOptions)
    if options.Padding() not in (tflite.Padding.SAME, tflite.Padding.VALID):
        raise b.fail(op, f"padding must be SAME or VALID, got code {options.Padding()}")
    said = getattr(options, "FusedActivationFunction", None)
    activation, source = activation_of(b, op, said() if said else 0), b.source(op, 2)
    arrays = arrays_of(b, op, source, weights_of(b, op, source), 0, 3)
    same = options.Padding() == tflite.Padding.SAME
    _made(b, op, 2, same, (options.StrideH(), options.StrideW()), arrays, activation)


def _with_bias(b: Builder, op: Operator) -> None:
    """MediaPipe's custom operator: input, weights, bias; its options are three numbers of 32 bits."""
    said = bytes(op.raw.CustomOptionsAsNumpy().tobytes()) if op.raw.CustomOptionsLength() else b""
    if len(said) < 12:
        raise b.fail(op, f"options must be three numbers, got {len(said)} bytes")
    padding, across, down = struct.unpack("<3i", said[:12])
    if padding not in (1, 2):  # as TensorFlow Lite's own code has them: SAME and VALID
        raise b.fail(op, f"padding must be SAME or VALID, got code {padding}")
    source = b.source(op)
    if source.type.dtype is not DType.F32:
        raise b.refuse(op, "values must be FLOAT32")
    arrays = arrays_of(b, op, source, weights_of(b, op, source), 0)
    _made(b, op, 0, padding == 1, (down, across), arrays, Activation.NONE)


HANDLERS: dict[int, Callable[[Builder, Operator], None]] = {tflite.BuiltinOperator.TRANSPOSE_CONV: _transpose_conv}
CUSTOMS: dict[str, Callable[[Builder, Operator], None]] = {f"CUSTOM {CUSTOM}": _with_bias}
NOTES: dict[str, tuple[str, str]] = {
    f"CUSTOM {CUSTOM}": ("conv and depthtospace", "as TRANSPOSE_CONV, of float32"),
    "TRANSPOSE_CONV": ("conv and depthtospace", "any kernel, one stride for rows and columns"),
}
"""What each operator becomes in a graph, and its limits."""
