"""Graphs to TFLite files: float32 networks, and quantised ones whose rounding is TFLite's own.

A value is 1xHxWxC, or 1xC behind a fully connected layer, and is called as its node is.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, assert_never

import numpy as np
import tflite

from rillet.arithmetic.wide import CURVES
from rillet.errors import Unsupported
from rillet.exporters.tflite.file import FileWriter, Quantized
from rillet.exporters.tflite.places import none_below_zero, same_padding, step_of
from rillet.exporters.tflite.types import CODES, TANH, UNIT, VALUES, first_version, rounding_of
from rillet.ir.facts import is_constant
from rillet.ir.functions import Curve
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.linear import of_tensorflow, of_tensorflow_int8
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Op,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    Window,
    resize,
)
from rillet.ir.types import DType, Shape, TensorType

MAX_FILE_BYTES = 2**31 - 2**24
"""Offsets within a file are 32 bits, signed in places."""
_FUSED = {
    Activation.NONE: tflite.ActivationFunctionType.NONE,
    Activation.RELU: tflite.ActivationFunctionType.RELU,
    Activation.RELU6: tflite.ActivationFunctionType.RELU6,
    Activation.RELU_N1_TO_1: tflite.ActivationFunctionType.RELU_N1_TO_1,
}
_FUNCTIONS = {
    Activation.RELU: "RELU",
    Activation.RELU6: "RELU6",
    Activation.RELU_N1_TO_1: "RELU_N1_TO_1",
    Activation.SIGMOID: "LOGISTIC",
    Activation.HARD_SWISH: "HARD_SWISH",
}
_CURVES = {
    Curve.LEAKY_RELU: ("LEAKY_RELU", "LeakyReluOptions"),
    Curve.ELU: ("ELU", ""),
    Curve.GELU: ("GELU", "GeluOptions"),
    Curve.GELU_TANH: ("GELU", "GeluOptions"),
    Curve.TANH: ("TANH", ""),
    Curve.ABS: ("ABS", "AbsOptions"),
    Curve.NEG: ("NEG", "NegOptions"),
    Curve.SQRT: ("SQRT", ""),
    Curve.EXP: ("EXP", "ExpOptions"),
    Curve.LOG: ("LOG", ""),
}
"""Operators of functions with numbers, and their options."""
_QUANTIZED_CURVES = (
    *(Curve.LEAKY_RELU, Curve.ELU, Curve.GELU, Curve.GELU_TANH, Curve.TANH, Curve.ABS, Curve.EXP, Curve.LOG),
)
"""Those that TFLite has of bytes."""
_PAIRS = {
    PairKind.MAXIMUM: ("MAXIMUM", "MaximumMinimumOptions"),
    PairKind.MINIMUM: ("MINIMUM", "MaximumMinimumOptions"),
    PairKind.DIVIDE: ("DIV", "DivOptions"),
    PairKind.PRELU: ("PRELU", ""),
}


def rounded(graph: Graph) -> Graph:
    """The same weights and scales under TFLite's own roundings."""

    def op(made: Op) -> Op:
        if isinstance(made, Conv):
            return replace(made, rounding=rounding_of(made, made.rounding is Rounding.REDUCED))
        return replace(made, rounding=Rounding.DOUBLE) if isinstance(made, Activate | Apply | Pool | Multiply) else made

    return replace(graph, nodes=tuple(replace(node, op=op(node.op)) for node in graph.nodes))


def export(graph: Graph, batch: int = 1) -> bytes:
    """The graph as a .tflite file, which computes the same bytes (docs/tflite.md says what is written how).

    batch: images that the file takes at once; one of several is for LiteRT, Rillet reads no such file.

    Raises Unsupported for what TFLite has no operator or another rounding for, GraphError for a graph without weights.
    """
    size = sum(array.nbytes for array in graph.params.values())
    if size > MAX_FILE_BYTES:
        raise Unsupported(f"{graph.name}: weights must take at most {MAX_FILE_BYTES} bytes in TFLite, got {size}")
    writer = _Writer(graph, batch)
    for node in graph.nodes:
        writer.add(node)
    return writer.finish()


class _Writer:
    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.file = FileWriter()
        self.place: dict[str, int] = {}
        """The tensor of each node's value."""
        self.flat: set[str] = set()
        """Nodes whose value is 1xC, not 1xHxWxC."""
        self.maps: dict[str, int] = {}
        """The same as 1xHxWxC, where someone asked for it."""

    def finish(self) -> bytes:
        graph = self.graph
        outputs = [graph.by_name[name] for name in graph.outputs]
        if len(set(graph.outputs)) < len(outputs) or any(isinstance(node.op, Input | Constant) for node in outputs):
            raise Unsupported(f"{graph.name}: outputs must be different values that nodes compute")
        inputs = [self.place[node.name] for node in graph.input_nodes]
        return self.file.finish(graph.name, inputs, [self.place[node.name] for node in outputs])

    def refuse(self, node: Node, message: str) -> Unsupported:
        return Unsupported(f"{self.graph.name}: {node.name}: {message}")

    # -- parts of a file ---------------------------------------------------------------------------------------------

    def value(self, name: str, kind: TensorType, flat: bool = False, data: Array | None = None) -> int:
        """A tensor for a value."""
        batch = self.batch if data is None else 1
        dims = (batch, kind.shape.elements) if flat else (batch, *kind.shape.array)
        quant = None if kind.quant is None else Quantized((kind.quant.scale,), (kind.quant.zero_point,))
        return self.file.tensor(name, dims, CODES[kind.dtype], quant, data)

    def numbers(self, name: str, values: Sequence[int]) -> int:
        """Integers that an operator takes as a constant."""
        return self.file.tensor(name, (len(values),), tflite.TensorType.INT32, data=np.array(values, np.int32))

    def operator(
        self, kind: TensorType, name: str, inputs: Sequence[int], output: int, *options: str, **f: Any
    ) -> None:
        """An operator on values like `kind`, in the first version that has them."""
        if kind.dtype is DType.I16 and name in ("ADD", "SUB"):
            f["PotScaleInt16"] = False
        version = first_version(name, kind.dtype, f)
        self.file.operator(name, version, inputs, output, *options, **f)

    def made(self, node: Node) -> int:
        """The tensor of a node's value, new."""
        self.place[node.name] = self.value(node.name, node.type, node.name in self.flat)
        return self.place[node.name]

    def as_map(self, node: Node) -> int:
        """A node's value as 1xHxWxC."""
        if node.name not in self.flat:
            return self.place[node.name]
        if node.name not in self.maps:
            self.maps[node.name] = self.reshaped(node, f"{node.name}/map", (self.batch, *node.shape.array))
        return self.maps[node.name]

    def reshaped(self, node: Node, name: str, dims: tuple[int, ...]) -> int:
        out = self.value(name, node.type, flat=len(dims) == 2)
        read = [self.place[node.name], self.numbers(f"{name}/shape", dims)]
        self.operator(node.type, "RESHAPE", read, out, "ReshapeOptions", NewShape=dims)
        return out

    def alike(self, node: Node, sources: Sequence[Node]) -> list[int]:
        """Inputs that all are 1xC, and then so is the result, or all 1xHxWxC."""
        if all(source.name in self.flat for source in sources):
            self.flat.add(node.name)
            return [self.place[source.name] for source in sources]
        return [self.as_map(source) for source in sources]

    # -- nodes -------------------------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """The operators of one node."""
        real = node.type.dtype is DType.F32
        known = node.type.dtype in VALUES and (real or node.type.quant is not None)
        if not known and not isinstance(node.op, ArgMax):
            got = node.type.dtype.value + ("" if node.type.quant else " without a scale")
            raise self.refuse(node, f"values must be f32, or i8, u8 or i16 with a scale, got {got}")
        op, sources = node.op, [self.graph.by_name[name] for name in node.inputs]
        if not real and isinstance(op, Conv | Activate | Apply | Pool | Multiply):
            wide = node.type.dtype is DType.I16
            wanted = rounding_of(op, wide) if isinstance(op, Conv) else Rounding.DOUBLE
            if op.rounding is not wanted:
                raise self.refuse(node, f"rounding must be TFLite's, {wanted.value}, got {op.rounding.value}")
        match op:
            case Input():
                self.made(node)
            case Constant():
                self.place[node.name] = self.value(node.name, node.type, data=self.graph.param(node, "value"))
            case Conv():
                self.convolution(node, op, sources[0])
            case Activate(activation=activation):
                read = self.alike(node, sources)
                self.function(node, activation, read[0], self.made(node))
            case Apply():
                read = self.alike(node, sources)
                self.curve(node, op, read[0], self.made(node))
            case Pool():
                self.pool(node, op, sources[0])
            case Add(subtract=subtract):
                name = "SUB" if subtract else "ADD"
                self.fused(node, op.activation, name, self.alike(node, sources), f"{name.title()}Options")
            case Multiply():
                self.fused(node, op.activation, "MUL", self.alike(node, sources), "MulOptions")
            case Pair(kind=kind):
                if kind is PairKind.DIVIDE and not real:
                    raise self.refuse(node, "TFLite has no division of bytes")
                name, options = _PAIRS[kind]
                read = [self.as_map(source) for source in sources]
                if kind is PairKind.PRELU and node.type.dtype is DType.I16:
                    read[1] = self.narrow(node, sources[1])
                self.operator(node.type, name, read, self.made(node), *filter(None, [options]))
            case Select(channels=channels):
                self.selected(node, channels, sources[0])
            case DepthToSpace(block=block):
                read = [self.as_map(sources[0])]
                said = {"BlockSize": block}
                self.operator(node.type, "DEPTH_TO_SPACE", read, self.made(node), "DepthToSpaceOptions", **said)
            case SpaceToDepth(block=block):
                read = [self.as_map(sources[0])]
                said = {"BlockSize": block}
                self.operator(node.type, "SPACE_TO_DEPTH", read, self.made(node), "SpaceToDepthOptions", **said)
            case Concat():
                read = self.alike(node, sources)
                axis = 1 if node.name in self.flat else 3
                self.fused(node, Activation.NONE, "CONCATENATION", read, "ConcatenationOptions", Axis=axis)
            case Slice(start=start, stop=stop):
                read = self.alike(node, sources)
                flat = node.name in self.flat
                before, sizes = ((0,), ()) if flat else ((0, 0, 0), node.shape.array[:2])
                read.append(self.numbers(f"{node.name}/begin", (*before, start)))
                read.append(self.numbers(f"{node.name}/size", (self.batch, *sizes, stop - start)))
                self.operator(node.type, "SLICE", read, self.made(node), "SliceOptions")
            case Pad(padding=padding):
                self.padded(node, self.as_map(sources[0]), padding, self.made(node))
            case Resize():
                self.resize(node, op, sources[0])
            case Interpolate():
                self.interpolate(node, op, sources[0])
            case Requantize():
                self.requantize(node, sources[0])
            case Softmax(beta=beta):
                read = self.alike(node, sources)
                self.operator(node.type, "SOFTMAX", read, self.made(node), "SoftmaxOptions", Beta=beta)
            case ArgMax():
                self.argmax(node, sources[0])
            case BatchNorm():
                raise self.refuse(node, "TFLite has no batch norm: fold it (rillet convert --fold)")
            case _:
                assert_never(op)

    def narrow(self, node: Node, slopes: Node) -> int:
        """The slopes of 16-bit values, which TFLite has in 8 bits."""
        if not is_constant(slopes.op):
            raise self.refuse(node, "slopes of i16 must be constant")
        array = self.graph.param(slopes, "value")
        low, high = DType.I8.integers
        if array.min() < low or array.max() > high:
            raise self.refuse(node, f"TFLite has slopes of i16 from {low} to {high} alone")
        return self.value(f"{slopes.name}/i8", replace(slopes.type, dtype=DType.I8), data=array.astype(np.int8))

    def argmax(self, node: Node, source: Node) -> None:
        """The place of the greatest channel: the result has no dimension of channels."""
        if source.type.dtype is DType.I16:
            raise self.refuse(node, "TFLite has no argmax of i16")
        flat, code = source.name in self.flat, CODES[node.type.dtype]
        dims = (self.batch,) if flat else (self.batch, *node.shape.array[:2])
        read = [self.place[source.name], self.numbers(f"{node.name}/axis", (len(dims),))]
        self.place[node.name] = self.file.tensor(node.name, dims, code)
        self.operator(source.type, "ARG_MAX", read, self.place[node.name], "ArgMaxOptions", OutputType=code)

    def fused(
        self, node: Node, activation: Activation, name: str, inputs: Sequence[int], options: str, **fields: Any
    ) -> None:
        """An operator with its activation within, where TFLite can; else behind, which float32 values alone allow."""
        if activation in _FUSED:
            code = _FUSED[activation]
            self.operator(node.type, name, inputs, self.made(node), options, **fields, FusedActivationFunction=code)
            return
        if node.type.quant is not None:
            raise self.refuse(node, f"quantised, must have a clamp or nothing behind it, got {activation.value}")
        between = self.value(f"{node.name}/linear", node.type, node.name in self.flat)
        self.operator(node.type, name, inputs, between, options, **fields)
        self.function(node, activation, between, self.made(node))

    def function(self, node: Node, activation: Activation, source: int, out: int) -> None:
        """A function of each value."""
        flat, kind = node.name in self.flat, node.type
        unit = UNIT.get(kind.dtype)
        if activation is Activation.SIGMOID and kind.quant != unit:
            raise self.refuse(node, f"must have results of {unit}, got {kind.quant}")
        if activation is Activation.HARD_SWISH and kind.dtype is DType.I16:
            raise self.refuse(node, "TFLite has no hard_swish of i16")
        if activation in _FUNCTIONS:
            options = "HardSwishOptions" if activation is Activation.HARD_SWISH else ""
            self.operator(kind, _FUNCTIONS[activation], [source], out, options)
        elif kind.quant is None and activation is Activation.HARD_SIGMOID:
            # relu6(x + 3) / 6
            between, code = self.value(f"{node.name}/clamped", kind, flat), _FUSED[Activation.RELU6]
            three, sixth = self.number(node, "three", 3.0), self.number(node, "sixth", 1 / 6)
            self.operator(kind, "ADD", [source, three], between, "AddOptions", FusedActivationFunction=code)
            self.operator(kind, "MUL", [between, sixth], out, "MulOptions")
        elif kind.quant is None and activation is Activation.SILU:
            gate = self.value(f"{node.name}/gate", kind, flat)
            self.operator(kind, "LOGISTIC", [source], gate)
            self.operator(kind, "MUL", [source, gate], out, "MulOptions")
        else:
            raise self.refuse(node, f"TFLite has no {activation.value} of {kind.dtype.value} here")

    def curve(self, node: Node, op: Apply, source: int, out: int) -> None:
        """A function with numbers of its own."""
        name, options = _CURVES.get(op.curve, ("", ""))
        if not name or (op.curve is Curve.ELU and op.a != 1.0):
            raise self.refuse(node, f"TFLite has no {op.curve.value} of {node.type.dtype.value} here")
        known = CURVES if node.type.dtype is DType.I16 else _QUANTIZED_CURVES
        if node.type.quant is not None and op.curve not in known:
            raise self.refuse(node, f"TFLite has no {op.curve.value} of {node.type.dtype.value}")
        wanted = TANH.get(node.type.dtype)
        if op.curve is Curve.TANH and node.type.quant != wanted:
            raise self.refuse(node, f"must have results of {wanted}, got {node.type.quant}")
        said: dict[str, Any] = {"Alpha": op.a} if op.curve is Curve.LEAKY_RELU else {}
        if op.curve is Curve.GELU_TANH:
            said = {"Approximate": True}
        self.operator(node.type, name, [source], out, *filter(None, [options]), **said)

    def number(self, node: Node, name: str, value: float) -> int:
        """A real number as a constant."""
        data = np.array([value], np.float32)
        return self.file.tensor(f"{node.name}/{name}", (1,), tflite.TensorType.FLOAT32, data=data)

    def selected(self, node: Node, channels: tuple[int, ...], source: Node) -> None:
        """Channels in another order, and channels of zeros before and behind them."""
        kept = tuple(channel for channel in channels if channel >= 0)
        before = next((i for i, channel in enumerate(channels) if channel >= 0), len(channels))
        sides = (before, len(channels) - before - len(kept))
        if channels != (-1,) * before + kept + (-1,) * sides[1] or not kept:
            raise self.refuse(node, "channels of zeros must stand before or behind the others")
        read = self.as_map(source)
        if kept != tuple(range(source.shape.channels)):
            shape = replace(node.shape, channels=len(kept))
            kind = replace(node.type, shape=shape)
            made = self.value(f"{node.name}/taken", kind) if any(sides) else self.made(node)
            places = self.numbers(f"{node.name}/channels", kept)
            self.operator(node.type, "GATHER", [read, places], made, "GatherOptions", Axis=3)
            read = made
        if any(sides) or not self.place.get(node.name):
            self.padded(node, read, (0, 0, 0, 0), self.made(node), sides)

    def requantize(self, node: Node, source: Node) -> None:
        """The same real values under another quantisation."""
        if source.name in self.flat:
            self.flat.add(node.name)
        if node.type == source.type:
            dims = (self.batch, node.shape.elements) if node.name in self.flat else (self.batch, *node.shape.array)
            self.place[node.name] = self.reshaped(source, node.name, dims)
        elif node.type.quant is not None:
            self.operator(node.type, "QUANTIZE", [self.place[source.name]], self.made(node), "QuantizeOptions")
        else:
            read = [self.place[source.name]]
            self.operator(source.type, "DEQUANTIZE", read, self.made(node), "DequantizeOptions")

    # -- windows -----------------------------------------------------------------------------------------------------

    def padded(
        self, node: Node, source: int, padding: tuple[int, int, int, int], out: int, channels: tuple[int, int] = (0, 0)
    ) -> None:
        """Zeros around a map, and in channels before and behind its own."""
        top, bottom, left, right = padding
        sides = np.array([(0, 0), (top, bottom), (left, right), channels], np.int32)
        pads = self.file.tensor(f"{node.name}/pads", sides.shape, tflite.TensorType.INT32, data=sides)
        self.operator(node.type, "PAD", [source, pads], out, "PadOptions")

    def looks(self, node: Node, window: Window, source: Node) -> tuple[int, dict[str, int]]:
        """What a window reads, padded before where TFLite has no word for its padding, and stride and padding."""
        stride = {"StrideH": window.stride[0], "StrideW": window.stride[1]}
        read = self.as_map(source)
        if window.padding == same_padding(window, source.shape):
            return read, {**stride, "Padding": tflite.Padding.SAME}
        if any(window.padding):
            if isinstance(node.op, Pool) and not (node.op.kind is PoolKind.MAX and none_below_zero(source)):
                raise self.refuse(node, f"padding of a pool must be that of SAME or none, got {window.padding}")
            top, bottom, left, right = window.padding
            shape = Shape(source.shape.height + top + bottom, source.shape.width + left + right, source.shape.channels)
            out = self.value(f"{node.name}/padded", TensorType(shape, source.type.dtype, source.type.quant))
            self.padded(node, read, window.padding, out)
            read = out
        return read, {**stride, "Padding": tflite.Padding.VALID}

    def convolution(self, node: Node, op: Conv, source: Node) -> None:
        """A convolution of any kind."""
        if (op.weights is DType.F32) != (node.type.quant is None) or op.weights not in CODES:
            raise self.refuse(node, f"weights must be f32 as values are, or i8 or u8, got {op.weights.value}")
        weight, depthwise = self.graph.param(node, "weight"), op.depthwise(source.shape)
        if op.dense:
            weight = weight.reshape(op.out_channels, -1)
        elif depthwise:
            weight = weight.transpose(3, 1, 2, 0)
        arrays = self.arrays(node, op, source, weight, 3 if depthwise else 0)
        if op.dense:
            flat = source.shape.pixels == 1 or source.name in self.flat
            read = self.place[source.name] if flat else self.vector(node, source)
            self.flat.add(node.name)
            self.fused(node, op.activation, "FULLY_CONNECTED", [read, *arrays], "FullyConnectedOptions")
            return
        read, fields = self.looks(node, op.window, source)
        fields |= {"DilationHFactor": op.window.dilation[0], "DilationWFactor": op.window.dilation[1]}
        if depthwise:
            fields["DepthMultiplier"] = op.out_channels // source.shape.channels
            name, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        else:
            name, options = "CONV_2D", "Conv2DOptions"
        self.fused(node, op.activation, name, [read, *arrays], options, **fields)

    def vector(self, node: Node, source: Node) -> int:
        """A map as one long vector."""
        return self.reshaped(source, f"{node.name}/vector", (self.batch, source.shape.elements))

    def arrays(self, node: Node, op: Conv, source: Node, weight: Array, axis: int) -> list[int]:
        """Weights and bias; `axis` is that of the output channels."""
        code, quants = CODES[op.weights], (None, None)
        if op.weights is not DType.F32:
            if source.type.quant is None:
                raise self.refuse(node, "input must be quantised as the result is, got float32 values")
            scales = np.asarray(self.graph.param(node, "weight_scale"), np.float32)
            biases = np.float32(source.type.quant.scale) * scales
            zero = int(self.graph.param(node, "weight_zero_point")[0]) if op.weights is DType.U8 else 0
            if np.unique(scales).size == 1:
                scales, biases = scales[:1], biases[:1]
            elif op.weights is DType.U8:
                raise self.refuse(node, "u8 weights must have one scale, got several")
            quants = (
                Quantized(tuple(scales.tolist()), (zero,) * scales.size, axis),
                Quantized(tuple(biases.tolist()), (0,) * biases.size),
            )
        keys = [self.graph.key(node, name) for name in ("weight", "bias")]
        out = [self.file.tensor(f"{node.name}.weight", weight.shape, code, quants[0], weight, keys[0])]
        # LiteRT refuses convolutions without a bias.
        wide = source.type.dtype is DType.I16
        kind = DType.F32 if op.weights is DType.F32 else DType.I64 if wide else DType.I32
        stored = self.graph.param(node, "bias") if op.bias else np.zeros(op.out_channels, kind.numpy)
        bias = stored.astype(kind.numpy, copy=False)
        key = keys[1] if bias is stored else f"{keys[1]}/{kind.value}"
        out.append(self.file.tensor(f"{node.name}.bias", bias.shape, CODES[kind], quants[1], bias, key))
        return out

    def pool(self, node: Node, op: Pool, source: Node) -> None:
        """A pool over windows, or the mean over all pixels."""
        if op.kind is not PoolKind.MEAN:
            read, fields = self.looks(node, op.window, source)
            fields |= {"FilterHeight": op.window.kernel[0], "FilterWidth": op.window.kernel[1]}
            name = "MAX_POOL_2D" if op.kind is PoolKind.MAX else "AVERAGE_POOL_2D"
            self.fused(node, op.activation, name, [read], "Pool2DOptions", **fields)
            return
        high, wide = source.shape.height, source.shape.width
        axes = {Window((high, wide)): (1, 2), Window((high, 1)): (1,), Window((1, wide)): (2,)}.get(op.window)
        if axes is None or op.activation is not Activation.NONE:
            raise self.refuse(node, f"mean must be over height, width or both and alone, got {op.window.kernel}")
        read = [self.as_map(source), self.numbers(f"{node.name}/axes", axes)]
        self.operator(node.type, "MEAN", read, self.made(node), "ReducerOptions", KeepDims=True)

    def resize(self, node: Node, op: Resize, source: Node) -> None:
        """Nearest-neighbour resizing, where TensorFlow has one that copies the same."""
        shape, size = source.shape, (node.shape.height, node.shape.width)
        flags = next((f for f in product((False, True), repeat=2) if resize(shape, *size, *f) == op), None)
        if flags is None:
            self.cropped(node, op, source)
            return
        read = [self.as_map(source), self.numbers(f"{node.name}/size", size)]
        out, options = self.made(node), "ResizeNearestNeighborOptions"
        said = {"AlignCorners": flags[0], "HalfPixelCenters": flags[1]}
        self.operator(node.type, "RESIZE_NEAREST_NEIGHBOR", read, out, options, **said)

    def interpolate(self, node: Node, op: Interpolate, source: Node) -> None:
        """Linear resizing, where TensorFlow has one that looks there."""
        shape, size = source.shape, (node.shape.height, node.shape.width)
        places = of_tensorflow_int8 if node.type.dtype in (DType.I8, DType.I16) else of_tensorflow
        wanted = [(op.rows, op.row_shares), (op.columns, op.column_shares)]

        def same(*flags: bool) -> bool:
            pairs = zip((shape.height, shape.width), size, wanted, strict=True)
            return all(places(length, made, *flags) == found for length, made, found in pairs)

        flags = next((f for f in ((False, False), (False, True), (True, False)) if same(*f)), None)
        if flags is None:
            raise self.refuse(node, "places of an interpolate must be those between which TensorFlow looks")
        read = [self.as_map(source), self.numbers(f"{node.name}/size", size)]
        said = {"AlignCorners": flags[0], "HalfPixelCenters": flags[1]}
        self.operator(node.type, "RESIZE_BILINEAR", read, self.made(node), "ResizeBilinearOptions", **said)

    def cropped(self, node: Node, op: Resize, source: Node) -> None:
        """Rows and columns at one distance of each other."""
        steps = [step_of(places) for places in (op.rows, op.columns)]
        if min(steps) < 1:
            raise self.refuse(node, "rows and columns of a resize must be those that TensorFlow copies")
        ends = [(places[0], places[-1] + 1) for places in (op.rows, op.columns)]
        said = {"begin": (0, *(a for a, _ in ends), 0), "end": (self.batch, *(e for _, e in ends), node.shape.channels)}
        said["strides"] = (1, *steps, 1)
        read = [self.as_map(source), *(self.numbers(f"{node.name}/{key}", values) for key, values in said.items())]
        self.operator(node.type, "STRIDED_SLICE", read, self.made(node), "StridedSliceOptions")
