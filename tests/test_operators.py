"""One operator at a time, drawn at random: the reference and the C program equal LiteRT's reference kernels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from conftest import example_counts
from rillet.backends import reference
from rillet.errors import Unsupported
from rillet.exporters import tflite
from rillet.importers.tflite import Imported, parse
from rillet.ir.facts import is_given
from rillet.ir.ops import Input
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.oracles import LiteRt
from rillet.runtime.run import Program
from rillet.runtime.verify import first_difference, random_inputs
from tfl import Writer, conv_options, output_size, pool_options

CLAMPS = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
BYTES = st.sampled_from(["int8", "uint8"])
TYPES = st.sampled_from(["int8", "uint8", "float32"])
WIDE = st.just("int16")


@dataclass
class Draw:
    """Draws tensors and options of one file."""

    draw: Any
    dtype: str
    rng: np.random.Generator
    w: Writer

    def scale(self, low: float = 0.002, high: float = 2.0) -> float:
        if self.dtype == "int16":  # beyond that LiteRT's products leave 32 bits
            low, high = 1e-5, 1e-3
        return float(np.float32(np.exp(self.draw(st.floats(np.log(low), np.log(high))))))

    def zero(self) -> int:
        if self.dtype == "int16":
            return 0
        return self.draw(st.integers(-128, 127)) + (128 if self.dtype == "uint8" else 0)

    def value(self, *shape: int, scale: float | None = None, zero: int | None = None) -> int:
        """A tensor of the drawn type."""
        if self.dtype == "float32":
            return self.w.tensor(shape, "float32")
        return self.w.tensor(
            shape, self.dtype, self.scale() if scale is None else scale, self.zero() if zero is None else zero
        )

    def constant(self, *shape: int) -> int:
        if self.dtype == "float32":
            return self.w.tensor(shape, "float32", data=self.rng.normal(0, 1, shape))
        if self.dtype == "int16":
            return self.w.tensor(shape, "int16", self.scale(), 0, self.rng.integers(-(2**15), 2**15, shape))
        low = 0 if self.dtype == "uint8" else -128
        data = self.rng.integers(low, low + 256, shape)
        return self.w.tensor(shape, self.dtype, self.scale(), self.zero(), data)

    def unit(self, *shape: int) -> int:
        """A tensor of values from 0 to 1."""
        if self.dtype == "int16":
            return self.value(1, *shape, scale=2.0**-15)
        return self.value(1, *shape, scale=1 / 256, zero=-128 if self.dtype == "int8" else 0)

    def like(self, index: int, *shape: int) -> int:
        """A tensor with the quantisation of another."""
        other = self.w.graph.tensors[index].quantization
        if other is None:
            return self.value(*shape)
        return self.value(*shape, scale=other.scale[0], zero=int(other.zeroPoint[0]))

    def like_constant(self, index: int) -> int:
        """A constant with the quantisation of another tensor."""
        made = self.constant(1)
        self.w.graph.tensors[made].quantization = self.w.graph.tensors[index].quantization
        return made

    def ints(self, *values: int) -> int:
        return self.w.tensor((len(values),), "int32", data=values)

    def size(self, most: int = 7) -> int:
        return self.draw(st.integers(1, most))

    def outputs(self, most: int) -> int:
        """Output channels; several where they are real, since one sum alone can cancel to nothing."""
        return self.size(most) + (4 if self.dtype == "float32" else 0)

    def image(self, least: int = 1) -> tuple[int, int, int]:
        return max(least, self.size(8)), max(least, self.size(8)), self.size(6)

    def weights(self, source: int, shape: tuple[int, ...], channels: int, axis: int) -> tuple[int, int]:
        """Weights and a bias, quantised as the drawn type demands."""
        if self.dtype == "float32":
            return self.constant(*shape), self.w.tensor((channels,), "float32", data=self.rng.normal(0, 1, channels))
        sums = self.rng.integers(-(2**14), 2**14, channels)
        if self.dtype == "uint8":  # LiteRT wants the bias in the scale of the products
            weight = self.constant(*shape)
            scales = [self.w.graph.tensors[i].quantization.scale[0] for i in (source, weight)]
            return weight, self.w.tensor((channels,), "int32", scales[0] * scales[1], data=sums)
        wide = self.dtype == "int16"
        bias = self.w.tensor((channels,), "int64" if wide else "int32", 1.0, data=sums * 2**20 if wide else sums)
        scales = np.exp(self.rng.uniform(np.log(0.001), np.log(0.3), channels))
        data = self.rng.integers(-127, 128, shape)
        return self.w.tensor(shape, "int8", scales, data=data, axis=axis), bias


def conv(d: Draw, name: str) -> tuple[int, list[int]]:
    height, width, depth = d.image()
    kernel, stride, dilation = ((d.size(k), d.size(k)) for k in (4, 3, 2))
    kernel, stride, dilation = tuple(kernel), tuple(stride), tuple(dilation)
    depthwise = name == "DEPTHWISE_CONV_2D"
    fits = (kernel[0] - 1) * dilation[0] < height and (kernel[1] - 1) * dilation[1] < width
    padding = d.draw(st.sampled_from(["SAME", "VALID"] if fits else ["SAME"]))
    channels = depth * d.size(3) if depthwise else d.outputs(9)
    source = d.value(1, height, width, depth)
    shape = (1, *kernel, channels) if depthwise else (channels, *kernel, depth)
    weight, bias = d.weights(source, shape, channels, 3 if depthwise else 0)
    out_h = output_size(height, kernel[0], stride[0], dilation[0], padding)
    out = d.value(1, out_h, output_size(width, kernel[1], stride[1], dilation[1], padding), channels)
    kind = "DepthwiseConv2DOptionsT" if depthwise else "Conv2DOptionsT"
    options = conv_options(padding, stride, d.draw(CLAMPS), dilation, kind)
    if depthwise:
        options.depthMultiplier = channels // depth
    d.w.op(name, [source, weight, bias], [out], options)
    return source, [out]


def fully_connected(d: Draw, name: str) -> tuple[int, list[int]]:
    depth, channels = d.size(40), d.outputs(12)
    source = d.value(1, depth)
    shape = (channels, depth)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, d.draw(CLAMPS))
    if d.dtype == "int16" and d.draw(st.booleans()):  # per channel
        steps = d.w.graph.tensors[source].quantization.scale[0]
        scales = np.exp(d.rng.uniform(np.log(0.001), np.log(0.3), channels))
        weight = d.w.tensor(shape, "int8", scales, data=d.rng.integers(-127, 128, shape), axis=0)
        # LiteRT wants the bias in the scale of the products.
        sums = d.rng.integers(-(2**14), 2**14, channels)
        bias = d.w.tensor((channels,), "int64", scales * steps, data=sums, axis=0)
    elif d.dtype in ("int8", "int16"):  # per tensor
        scale, steps = d.scale(0.001, 0.3), d.w.graph.tensors[source].quantization.scale[0]
        weight = d.w.tensor(shape, "int8", scale, data=d.rng.integers(-127, 128, shape))
        # LiteRT wants the bias in the scale of the products.
        kind = "int64" if d.dtype == "int16" else "int32"
        bias = d.w.tensor((channels,), kind, scale * steps, data=d.rng.integers(-(2**14), 2**14, channels))
        if d.dtype == "int16" and d.draw(st.booleans()):
            bias = -1
    else:
        weight, bias = d.weights(source, shape, channels, 0)
    out = d.value(1, channels)
    d.w.op(name, [source, weight, *([bias] if bias >= 0 else [])], [out], options)
    return source, [out]


def arithmetic(d: Draw, name: str) -> tuple[int, list[int]]:
    shape = d.image()
    source, out = d.value(1, *shape), d.value(1, *shape)
    form = d.draw(st.sampled_from(["whole", "channels", "scalar", "computed"]))
    if form == "computed":  # the source twice, once through another quantisation
        other = d.value(1, *shape)
        options = schema.AddOptionsT()
        options.potScaleInt16 = False
        d.w.op("ADD", [source, source], [other], options)
    else:
        dims = {"whole": (1, *shape), "channels": (1, 1, 1, shape[2]), "scalar": (1,)}[form]
        other = d.constant(*dims)
    pair = [source, other] if d.draw(st.booleans()) else [other, source]
    options = getattr(schema, f"{name.title()}OptionsT")()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, d.draw(CLAMPS))
    if name != "MUL":
        options.potScaleInt16 = False
    d.w.op(name, pair, [out], options, version=2)
    return source, [out]


def pool(d: Draw, name: str) -> tuple[int, list[int]]:
    height, width, depth = d.image()
    size, stride = (d.size(4), d.size(4)), (d.size(3), d.size(3))
    fits = size[0] <= height and size[1] <= width
    padding = d.draw(st.sampled_from(["SAME", "VALID"] if fits else ["SAME"]))
    source = d.value(1, height, width, depth)
    out_h, out_w = (output_size(n, k, s, 1, padding) for n, k, s in zip((height, width), size, stride, strict=True))
    out = d.like(source, 1, out_h, out_w, depth)
    d.w.op(name, [source], [out], pool_options(padding, stride, size, d.draw(CLAMPS)), version=2)
    return source, [out]


def mean(d: Draw, name: str) -> tuple[int, list[int]]:
    height, width, depth = d.image()
    source = d.value(1, height, width, depth)
    keep = d.draw(st.booleans())
    axes = d.draw(st.sampled_from([(1, 2), (1,), (2,)]))
    made = [n if axis in (0, 3) or axis not in axes else 1 for axis, n in enumerate((1, height, width, depth))]
    shape = tuple(made) if keep else tuple(n for axis, n in enumerate(made) if axis not in axes)
    out = d.like(source, *shape) if d.draw(st.booleans()) else d.value(*shape)
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    d.w.op(name, [source, d.ints(*axes)], [out], options, version=2)
    return source, [out]


def function(d: Draw, name: str) -> tuple[int, list[int]]:
    shape = d.image()
    source = d.value(1, *shape)
    if name == "LOGISTIC":
        out = d.unit(*shape)
    elif name == "HARD_SWISH" and d.dtype != "float32":  # LiteRT enlarges no scale by 128
        least = d.w.graph.tensors[source].quantization.scale[0] / 100
        out = d.value(1, *shape, scale=d.scale(max(0.002, least)))
    else:
        out = d.value(1, *shape)
    options = schema.HardSwishOptionsT() if name == "HARD_SWISH" else None
    d.w.op(name, [source], [out], options, version=1 if name in ("HARD_SWISH", "RELU_N1_TO_1") else 2)
    return source, [out]


def softmax(d: Draw, name: str) -> tuple[int, list[int]]:
    shape = d.image()
    source = d.value(1, *shape)
    out = d.unit(*shape)
    options = schema.SoftmaxOptionsT()
    options.beta = d.draw(st.sampled_from([1.0, 0.5, 2.0]))
    d.w.op(name, [source], [out], options, version=2)
    return source, [out]


def argmax(d: Draw, name: str) -> tuple[int, list[int]]:
    """Of values that are often equal; of maps and vectors, places of either width, perhaps with a dimension again."""
    shape = d.draw(st.sampled_from([(1, *d.image()), (1, d.size(40))]))
    source = d.value(*shape)
    at = d.like(source, *shape)
    d.w.op("MAXIMUM", [source, d.like_constant(source)], [at], schema.MaximumMinimumOptionsT(), version=2)
    kind, axis = d.draw(st.sampled_from(["int32", "int64"])), d.draw(st.sampled_from([-1, len(shape) - 1]))
    out = d.w.tensor(shape[:-1], kind)
    options = schema.ArgMaxOptionsT()
    options.outputType = getattr(schema.TensorType, kind.upper())
    d.w.op(name, [at, d.w.tensor((), d.draw(st.sampled_from(["int32", "int64"])), data=axis)], [out], options, 2)
    if d.draw(st.booleans()):
        again = d.w.tensor((*shape[:-1], 1), kind)
        d.w.op("EXPAND_DIMS", [out, d.ints(-1)], [again], schema.ExpandDimsOptionsT(), version=1)
        out, narrow = d.w.tensor((*shape[:-1], 1), "int32"), schema.CastOptionsT()
        d.w.op("CAST", [again], [out], narrow, version=1)
    return source, [out]


def layout(d: Draw, name: str) -> tuple[int, list[int]]:
    """Ops that move values: pad, slice, split, resize, concatenation."""
    height, width, depth = d.image()
    source = d.value(1, height, width, depth)
    match name:
        case "PAD":
            top, bottom, left, right = (d.size(3) - 1 for _ in range(4))
            sides = d.w.tensor((4, 2), "int32", data=[0, 0, top, bottom, left, right, 0, 0])
            out = d.like(source, 1, height + top + bottom, width + left + right, depth)
            d.w.op("PAD", [source, sides], [out], schema.PadOptionsT(), version=2)
        case "SLICE":
            start = d.draw(st.integers(0, depth - 1))
            stop = d.draw(st.integers(start + 1, depth))
            out = d.like(source, 1, height, width, stop - start)
            begin, size = d.ints(0, 0, 0, start), d.ints(1, height, -1, stop - start)
            d.w.op("SLICE", [source, begin, size], [out], schema.SliceOptionsT(), version=2)
        case "STRIDED_SLICE":
            start = d.draw(st.integers(0, depth - 1))
            out = d.like(source, 1, height, width, depth - start)
            options = schema.StridedSliceOptionsT()
            options.beginMask, options.endMask = 0b0111, 0b1111
            marks = [d.ints(0, 0, 0, start), d.ints(0, 0, 0, 0), d.ints(1, 1, 1, 1)]
            d.w.op("STRIDED_SLICE", [source, *marks], [out], options, version=2)
        case "SPLIT":
            wide = d.value(1, height, width, depth * 2)
            outs = [d.like(wide, 1, height, width, depth) for _ in range(2)]
            options = schema.SplitOptionsT()
            options.numSplits = 2
            axis = d.w.tensor((1,), "int32", data=[3])
            d.w.op("SPLIT", [axis, wide], outs, options, version=2)
            return wide, outs
        case "RESIZE_NEAREST_NEIGHBOR":
            size = (d.size(12), d.size(12))
            out = d.like(source, 1, *size, depth)
            options = schema.ResizeNearestNeighborOptionsT()
            options.alignCorners = d.draw(st.booleans())
            options.halfPixelCenters = not options.alignCorners and d.draw(st.booleans())
            d.w.op("RESIZE_NEAREST_NEIGHBOR", [source, d.ints(*size)], [out], options, version=3)
        case _:
            parts = [source, source] if d.draw(st.booleans()) else [source]
            if d.dtype == "uint8":  # only uint8 parts may be rescaled
                out = d.value(1, height, width, depth * len(parts))
            else:
                out = d.like(source, 1, height, width, depth * len(parts))
            options = schema.ConcatenationOptionsT()
            options.axis = d.draw(st.sampled_from([3, -1]))
            d.w.op("CONCATENATION", parts, [out], options, version=2)
    return source, [out]


def curve(d: Draw, name: str) -> tuple[int, list[int]]:
    """Functions with numbers of their own; those of positive values behind an exponential."""
    if name in REAL_ALONE or (name in NOT_OF_UINT8 and d.dtype == "uint8"):
        d.dtype = "float32"
    shape = d.image()
    source = at = d.value(1, *shape)
    if name in ("SQRT", "RSQRT", "LOG", "POW"):
        at = d.value(1, *shape)
        d.w.op("EXP", [source], [at], schema.ExpOptionsT(), version=2)
    out = d.value(1, *shape)
    if name == "TANH":
        out = d.unit(*shape) if d.dtype == "int16" else None
        out = out or d.value(1, *shape, scale=1 / 128, zero=128 if d.dtype == "uint8" else 0)
    kinds = {"LEAKY_RELU": "LeakyRelu", "GELU": "Gelu", "ABS": "Abs", "EXP": "Exp", "NEG": "Neg", "SQUARE": "Square"}
    options = getattr(schema, f"{kinds[name]}OptionsT")() if name in kinds else None
    if name == "LEAKY_RELU":
        options.alpha = d.draw(st.sampled_from([0.1, 0.3, 1.5, -0.2]))
    if name == "GELU":
        options.approximate = d.draw(st.booleans())
    more = [d.w.tensor((), "float32", data=d.draw(st.sampled_from([0.5, 2.0, -1.0])))] if name == "POW" else []
    d.w.op(name, [at, *more], [out], options, version=1 if name in ONE_VERSION else 2)
    return source, [out]


REAL_ALONE = ("SQRT", "RSQRT", "LOG", "POW", "NEG", "SQUARE", "RELU_0_TO_1", "DIV", "SQUARED_DIFFERENCE")
NOT_OF_UINT8 = ("EXP", "ABS")
ONE_VERSION = (*REAL_ALONE, "EXP")


def pair(d: Draw, name: str) -> tuple[int, list[int]]:
    """Of two values, but for sums and products."""
    if name in REAL_ALONE:
        d.dtype = "float32"
    shape = d.image()
    source = d.value(1, *shape)
    dims = d.draw(st.sampled_from([(1, *shape), (1, 1, 1, shape[2]), (1,)]))
    if name == "PRELU" and d.dtype == "int16":  # whose slopes have 8 bits
        data = d.rng.integers(-128, 128, (1, 1, shape[2]))
        other = d.w.tensor(data.shape, "int8", float(np.exp(d.rng.uniform(-9, 0))), data=data)
    else:
        other = d.constant(*((1, 1, shape[2]) if name == "PRELU" else dims))
    out = d.value(1, *shape)
    if name in ("MAXIMUM", "MINIMUM"):
        if d.dtype != "float32":
            d.w.graph.tensors[other].quantization = d.w.graph.tensors[source].quantization
        out = d.like(source, 1, *shape)
    if name == "DIV":  # by what is not near 0
        safe = d.value(1, *shape)
        d.w.op("EXP", [source], [safe], schema.ExpOptionsT(), version=1)
        other = safe
    if name == "PRELU":
        options = None
    elif name in ("MAXIMUM", "MINIMUM"):
        options = schema.MaximumMinimumOptionsT()
    else:
        options = getattr(schema, f"{name.title().replace('_', '')}OptionsT")()
    if name == "DIV":
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, d.draw(CLAMPS))
    d.w.op(name, [source, other], [out], options, version=2 if name in ("MAXIMUM", "MINIMUM") else 1)
    return source, [out]


def moves(d: Draw, name: str) -> tuple[int, list[int]]:
    """Ops that cut a map, or put channels and pixels elsewhere."""
    height, width, depth = d.image()
    block = d.size(3)
    match name:
        case "DEPTH_TO_SPACE":
            source = d.value(1, height, width, depth * block**2)
            out = d.like(source, 1, height * block, width * block, depth)
            options = schema.DepthToSpaceOptionsT()
            options.blockSize = block
            d.w.op(name, [source], [out], options, version=1)
        case "SPACE_TO_DEPTH":
            source = d.value(1, height * block, width * block, depth)
            out = d.like(source, 1, height, width, depth * block**2)
            options = schema.SpaceToDepthOptionsT()
            options.blockSize = block
            d.w.op(name, [source], [out], options, version=1)
        case "GATHER":
            source = d.value(1, height, width, depth)
            axis = d.draw(st.integers(1, 3))
            dims = [1, height, width, depth]
            places = d.draw(st.lists(st.integers(0, dims[axis] - 1), min_size=1, max_size=7))
            places, dims[axis] = places if axis == 3 else sorted(places), len(places)
            out = d.like(source, *dims)
            options = schema.GatherOptionsT()
            options.axis = axis - d.draw(st.sampled_from([0, 4]))
            d.w.op(name, [source, d.ints(*places)], [out], options, version=2)
        case "SPLIT_V":
            source = d.value(1, height + 2, width + 2, depth + 2)
            axis = d.draw(st.integers(1, 3))
            dims = [1, height + 2, width + 2, depth + 2]
            lengths = [1, dims[axis] - 1]
            outs = [d.like(source, *(n if at == axis else m for at, m in enumerate(dims))) for n in lengths]
            options = schema.SplitVOptionsT()
            options.numSplits = 2
            d.w.op(name, [source, d.ints(*lengths), d.w.tensor((), "int32", data=axis)], outs, options, version=1)
            return source, outs
        case "TRANSPOSE":  # a shuffle of channels, or what PyTorch's pixel shuffle becomes
            first, second = d.size(3), d.size(3)
            if d.draw(st.booleans()):
                deep, order = (1, height, width, first, second, depth), (0, 1, 2, 4, 3, 5)
                made = (1, height, width, depth * first * second)
            else:
                deep, order = (1, height, width, block, block, depth), (0, 1, 3, 2, 4, 5)
                made = (1, height * block, width * block, depth)
            source = d.value(1, height, width, deep[3] * deep[4] * deep[5])
            apart = d.like(source, *deep)
            turned = d.like(source, *(deep[axis] for axis in order))
            out = d.like(source, *made)
            d.w.op("RESHAPE", [source, d.ints(*deep)], [apart], schema.ReshapeOptionsT(), version=1)
            d.w.op(name, [apart, d.ints(*order)], [turned], schema.TransposeOptionsT(), version=4)
            d.w.op("RESHAPE", [turned, d.ints(*made)], [out], schema.ReshapeOptionsT(), version=1)
        case "PACK":
            source = d.value(1, height, width, depth)
            other = d.like(source, 1, height, width, depth)
            d.w.op("MAXIMUM", [source, d.like_constant(source)], [other], schema.MaximumMinimumOptionsT(), version=2)
            dims, axis = (1, height, width, depth), d.draw(st.sampled_from([0, 1, 3, 4, -1, -2]))
            at = axis % 5
            out = d.like(source, *dims[:at], 3, *dims[at:])
            options = schema.PackOptionsT()
            options.axis, options.valuesCount = axis, 3
            d.w.op(name, [source, other, source], [out], options, version=2)
        case _:  # strided slices of rows, columns and channels
            source = d.value(1, height, width, depth)
            dims = (height, width, depth)
            starts = [d.draw(st.integers(0, n - 1)) for n in dims]
            stops = [d.draw(st.integers(a + 1, n)) for a, n in zip(starts, dims, strict=True)]
            steps = [d.size(3) for _ in dims]
            made = (len(range(*bounds)) for bounds in zip(starts, stops, steps, strict=True))
            out = d.like(source, 1, *made)
            marks = [d.ints(0, *starts), d.ints(1, *stops), d.ints(1, *steps)]
            d.w.op("STRIDED_SLICE", [source, *marks], [out], schema.StridedSliceOptionsT(), version=2)
    return source, [out]


def bilinear(d: Draw, name: str) -> tuple[int, list[int]]:
    height, width, depth = d.image()
    factors = (d.draw(st.sampled_from([1, 2, 4])), d.draw(st.sampled_from([1, 2, 4])))
    size = (height * factors[0], width * factors[1]) if d.dtype == "uint8" else (d.size(12), d.size(12))
    source = d.value(1, height, width, depth)
    out = d.like(source, 1, *size, depth)
    options = schema.ResizeBilinearOptionsT()
    options.alignCorners = d.dtype != "uint8" and d.draw(st.booleans())
    options.halfPixelCenters = not options.alignCorners and d.draw(st.booleans())
    d.w.op(name, [source, d.ints(*size)], [out], options, version=3)
    return source, [out]


def transposed(d: Draw, name: str) -> tuple[int, list[int]]:
    height, width, depth = d.image()
    kernel, channels, step = (d.size(4), d.size(4)), d.outputs(5), d.size(3)
    padding = d.draw(st.sampled_from(["SAME", "VALID"]))
    if padding == "SAME":
        made = [n * step - d.draw(st.integers(0, step - 1)) for n in (height, width)]
    else:
        made = [
            (n - 1) * step + k + d.draw(st.integers(0, step - 1)) for n, k in zip((height, width), kernel, strict=True)
        ]
    source = d.value(1, height, width, depth)
    weight, bias = d.weights(source, (channels, *kernel, depth), channels, 0)
    out = d.value(1, *made, channels)
    options = schema.TransposeConvOptionsT()
    options.padding = getattr(schema.Padding, padding)
    options.strideH = options.strideW = step
    d.w.op(name, [d.ints(1, *made, channels), weight, source, bias], [out], options, version=3)
    return source, [out]


def beside(d: Draw, _: str) -> tuple[int, list[int]]:
    """Zeros around a map, and in channels before and behind its own."""
    height, width, depth = d.image()
    sides = [(0, 0), *((d.size(3) - 1, d.size(3) - 1) for _ in range(3))]
    source = d.value(1, height, width, depth)
    out = d.like(source, *(n + a + e for n, (a, e) in zip((1, height, width, depth), sides, strict=True)))
    pads = d.w.tensor((4, 2), "int32", data=sides)
    d.w.op("PAD", [source, pads], [out], schema.PadOptionsT(), version=2)
    return source, [out]


def conversion(d: Draw, name: str) -> tuple[int, list[int]]:
    """QUANTIZE and DEQUANTIZE between all types."""
    shape = d.image()
    if name == "DEQUANTIZE" and d.dtype == "float32":
        d.dtype = d.draw(BYTES)
    source = d.value(1, *shape)
    d.dtype = "float32" if name == "DEQUANTIZE" else d.draw(BYTES)
    out = d.value(1, *shape)
    if d.dtype == "float32":
        d.w.op("DEQUANTIZE", [source], [out], schema.DequantizeOptionsT(), version=2)
    else:
        d.w.op("QUANTIZE", [source], [out], schema.QuantizeOptionsT(), version=1)
    return source, [out]


def wide_conversion(d: Draw, name: str) -> tuple[int, list[int]]:
    """Between values of 16 bits, bytes and float32."""
    shape, back = d.image(), d.draw(st.booleans())
    if name == "QUANTIZE":
        d.dtype = d.draw(st.sampled_from(["float32", "int8", "int16"])) if back else "int16"
    source = d.value(1, *shape)
    d.dtype = "float32" if name == "DEQUANTIZE" else "int16" if back else d.draw(st.sampled_from(["int8", "int16"]))
    out = d.value(1, *shape)
    if name == "DEQUANTIZE":
        d.w.op(name, [source], [out], schema.DequantizeOptionsT(), version=3)
    else:
        d.w.op(name, [source], [out], schema.QuantizeOptionsT(), version=2)
    return source, [out]


KINDS: dict[Callable[[Draw, str], tuple[int, list[int]]], tuple[str, ...]] = {
    conv: ("CONV_2D", "DEPTHWISE_CONV_2D"),
    fully_connected: ("FULLY_CONNECTED",),
    arithmetic: ("ADD", "SUB", "MUL"),
    pool: ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
    mean: ("MEAN",),
    function: ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "HARD_SWISH"),
    softmax: ("SOFTMAX",),
    argmax: ("ARG_MAX",),
    layout: ("PAD", "SLICE", "STRIDED_SLICE", "SPLIT", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION"),
    conversion: ("QUANTIZE", "DEQUANTIZE"),
    curve: (
        *("LEAKY_RELU", "GELU", "TANH", "ABS", "EXP", "NEG", "SQRT", "RSQRT", "LOG"),
        *("POW", "SQUARE", "RELU_0_TO_1"),
    ),
    pair: ("MAXIMUM", "MINIMUM", "PRELU", "DIV", "SQUARED_DIFFERENCE"),
    bilinear: ("RESIZE_BILINEAR",),
    transposed: ("TRANSPOSE_CONV",),
    beside: ("PAD_OF_CHANNELS",),
    moves: ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "GATHER", "SPLIT_V", "TRANSPOSE", "PACK", "STRIDED_SLICE_OF_ROWS"),
}
"""What draws which operators."""
OPERATORS = [(kind, name) for kind, names in KINDS.items() for name in names]


@st.composite
def files(draw: st.DrawFn, kind: Any, names: tuple[str, ...], types: Any = TYPES) -> bytes:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = Draw(draw, draw(types), rng, Writer())
    source, outs = kind(d, draw(st.sampled_from(names)))
    return d.w.bytes([source], outs)


def imported(data: bytes, folder: Path) -> tuple[Imported, LiteRt]:
    """Raises Unsupported where LiteRT refuses what was drawn: nothing was compared then, so it is a failure."""
    path = folder / "one.tflite"
    path.write_bytes(data)
    return parse(data, str(path)), LiteRt(path)


def check(data: bytes, folder: Path, c: bool) -> None:
    """Equal on every tensor and, for C, on every output."""
    made, oracle = imported(data, folder)
    graph = made.graph
    for image in random_inputs(graph, 2):
        values = reference.run(graph, image)
        oracle.run(image)
        seen = {name: oracle.tensor(index) for name, index in made.tensors.items()}
        note(str(graph.nodes))
        assert first_difference(graph, values, seen, 0, "litert") is None
        # An operator that changes nothing leaves the input alone, which no plan computes.
        computed = not any(is_given(graph.by_name[name].op) for name in graph.outputs)
        for plan in (plan_rows(graph), plan_layerwise(graph)) if c and computed else ():
            program = Program(plan)
            names = tuple(dict.fromkeys(graph.outputs))
            for outputs in (program.push(image), program.run(image)):
                got = dict(zip(names, outputs, strict=True))
                assert first_difference(graph, values, got, 0, "c") is None


NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def check_drawn(
    kind: Any, names: tuple[str, ...], folder: Path, examples: int, c: bool = False, types: Any = TYPES
) -> None:
    """Draws so many and compares each: what a draw or an oracle had refused would be missing in the count."""
    compared = 0

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=NO_SHRINKING if c else tuple(Phase),
    )
    @given(files(kind, names, types))
    def run(data: bytes) -> None:
        nonlocal compared
        check(data, folder, c)
        compared += 1

    run()
    assert compared >= 0.9 * examples


@pytest.mark.parametrize(("kind", "name"), OPERATORS, ids=[name for _, name in OPERATORS])
@example_counts(16, 1000)
def test_reference(kind: Any, name: str, examples: int, tmp_path: Path) -> None:
    check_drawn(kind, (name,), tmp_path, examples)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_c(kind: Any, tmp_path: Path) -> None:
    check_drawn(kind, KINDS[kind], tmp_path, 3, c=True)


WIDE_KINDS: dict[Any, tuple[str, ...]] = {
    conv: ("CONV_2D", "DEPTHWISE_CONV_2D"),
    fully_connected: ("FULLY_CONNECTED",),
    arithmetic: ("ADD", "SUB", "MUL"),
    pool: ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
    mean: ("MEAN",),
    function: ("RELU", "RELU6", "LOGISTIC"),
    curve: ("LEAKY_RELU", "GELU", "TANH", "ABS", "EXP"),
    softmax: ("SOFTMAX",),
    layout: ("PAD", "SLICE", "STRIDED_SLICE", "SPLIT", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION"),
    pair: ("MAXIMUM", "MINIMUM", "PRELU"),
    bilinear: ("RESIZE_BILINEAR",),
    beside: ("PAD_OF_CHANNELS",),
    wide_conversion: ("QUANTIZE", "DEQUANTIZE"),
}
"""Of 16-bit values (int16x8)."""


@pytest.mark.parametrize("kind", WIDE_KINDS, ids=lambda k: k.__name__)
@example_counts(8, 300)
def test_reference_of_16_bits(kind: Any, examples: int, tmp_path: Path) -> None:
    check_drawn(kind, WIDE_KINDS[kind], tmp_path, examples, types=WIDE)


@pytest.mark.parametrize("kind", WIDE_KINDS, ids=lambda k: k.__name__)
def test_c_of_16_bits(kind: Any, tmp_path: Path) -> None:
    check_drawn(kind, WIDE_KINDS[kind], tmp_path, 3, c=True, types=WIDE)


@pytest.mark.parametrize("name", ["LEAKY_RELU", "GELU", "GELU_TANH", "ABS", "EXP"])
def test_every_16_bit_value_of_a_curve(name: str, tmp_path: Path) -> None:
    """Also where a table's steps leap from one end of the range to the other."""
    values, rng = np.arange(-(2**15), 2**15).astype(np.int16).reshape(1, 256, 256, 1), np.random.default_rng(len(name))
    kind = name.removesuffix("_TANH")
    for _ in range(8):
        w, made_of = Writer(), {"LEAKY_RELU": "LeakyRelu", "GELU": "Gelu", "ABS": "Abs", "EXP": "Exp"}[kind]
        source, out = (w.tensor(values.shape, "int16", np.exp(rng.uniform(-11.5, -4.6))) for _ in range(2))
        options: Any = getattr(schema, f"{made_of}OptionsT")()
        options.alpha, options.approximate = 0.3, name != kind
        w.op(kind, [source], [out], options, version=2)
        made, oracle = imported(w.bytes([source], [out]), tmp_path)
        oracle.run(values[0])
        assert np.array_equal(reference.outputs(made.graph, values[0])[0], oracle.tensor(out)[0])


def test_every_16_bit_value_of_sigmoid_and_tanh(tmp_path: Path) -> None:
    values = np.arange(-(2**15), 2**15).astype(np.int16).reshape(1, 256, 256, 1)
    for name in ("LOGISTIC", "TANH"):
        for scale in (2.0**-12, 2.0**-11, 0.0003, 0.001, 0.02):
            w = Writer()
            source, out = w.tensor(values.shape, "int16", scale), w.tensor(values.shape, "int16", 2.0**-15)
            w.op(name, [source], [out], version=3)
            made, oracle = imported(w.bytes([source], [out]), tmp_path)
            oracle.run(values[0])
            assert np.array_equal(reference.outputs(made.graph, values[0])[0], oracle.tensor(out)[0])


@pytest.mark.parametrize(("scale", "beta"), [(2e-5, 2.0), (1.2e-4, 0.5), (3e-4, 1.0)])
def test_every_step_of_the_tables_of_16_bit_softmax(scale: float, beta: float, tmp_path: Path) -> None:
    """Thousands of sums, which lie in every step of the table of reciprocals: two steps of 513 were once off by one."""
    values = np.random.default_rng(0).integers(-(2**15), 2**15, (100, 80, 5)).astype(np.int16)
    w, options = Writer(), schema.SoftmaxOptionsT()
    options.beta = beta
    source, out = (w.tensor((1, *values.shape), "int16", one) for one in (scale, 2.0**-15))
    w.op("SOFTMAX", [source], [out], options)
    made, oracle = imported(w.bytes([source], [out]), tmp_path)
    oracle.run(values)
    assert np.array_equal(reference.outputs(made.graph, values)[0], oracle.tensor(out)[0])


def test_slopes_of_16_bit_values_have_8_bits(tmp_path: Path) -> None:
    """Every value with slopes of int8; int16 ones are refused, since LiteRT reads their bytes as if they were int8."""
    values = np.repeat(np.arange(-(2**15), 2**15).astype(np.int16).reshape(1, 256, 256, 1), 4, axis=3)
    slopes, rng = np.array([-128, 127, -3, 0], np.int8), np.random.default_rng(0)
    wide = np.append(slopes, slopes).view("<i2")
    for _ in range(4):
        scales, answers = np.exp(rng.uniform(-11.5, -4.6, 3)), []
        for dtype, data in (("int8", slopes), ("int16", wide)):
            w = Writer()
            source, out = (w.tensor(values.shape, "int16", scale) for scale in scales[:2])
            w.op("PRELU", [source, w.tensor((1, 1, 4), dtype, scales[2], data=data)], [out], version=1)
            path = tmp_path / f"{dtype}.tflite"
            path.write_bytes(w.bytes([source], [out]))
            oracle = LiteRt(path)
            oracle.run(values[0])
            answers.append(oracle.tensor(out)[0])
        assert np.array_equal(*answers)
        graph = parse((tmp_path / "int8.tflite").read_bytes(), "x").graph
        assert np.array_equal(reference.outputs(graph, values[0])[0], answers[0])
        with pytest.raises(Unsupported, match="slopes of INT16 values must be INT8"):
            parse((tmp_path / "int16.tflite").read_bytes(), "x")


def test_elu_of_bytes() -> None:
    """The resolver of reference kernels alone has none."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    values = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    for scale, zero, made in ((0.05, 3, 0.04), (0.1, -20, 0.2)):
        w = Writer()
        source, out = w.tensor(values.shape, "int8", scale, zero), w.tensor(values.shape, "int8", made, -7)
        w.op("ELU", [source], [out], version=1)
        data = w.bytes([source], [out])
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        oracle = Interpreter(model_content=data, experimental_op_resolver_type=kernels)
        oracle.allocate_tensors()
        oracle.set_tensor(source, values)
        oracle.invoke()
        assert np.array_equal(oracle.get_tensor(out)[0], reference.outputs(parse(data, "x").graph, values[0])[0])


@pytest.mark.parametrize("kind", WIDE_KINDS, ids=lambda k: k.__name__)
def test_values_of_16_bits_written_again(kind: Any, tmp_path: Path) -> None:
    """The file that is written gives what the one that was read gives, also by LiteRT."""
    written = 0

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
    @given(files(kind, WIDE_KINDS[kind], WIDE))
    def run(data: bytes) -> None:
        nonlocal written
        graph = parse(data, "x").graph
        assume(all(not isinstance(graph.by_name[name].op, Input) for name in graph.outputs))
        try:
            again = tflite.export(graph)
        except Unsupported as error:
            assert "that TensorFlow copies" in str(error) or "padding of a pool must" in str(error)
            return
        check(again, tmp_path, c=False)
        image = next(iter(random_inputs(graph, 1)))
        for one, other in zip(*(reference.outputs(g, image) for g in (parse(again, "x").graph, graph)), strict=True):
            assert np.array_equal(one, other)
        written += 1

    run()
    assert written


@pytest.mark.parametrize("kind", [argmax, curve, pair, moves, bilinear, beside], ids=lambda k: k.__name__)
def test_written_again(kind: Any, tmp_path: Path) -> None:
    """What is read of a file and written again is the same network, which LiteRT loads."""

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
    @given(files(kind, KINDS[kind]))
    def run(data: bytes) -> None:
        graph = parse(data, "x").graph
        assume(all(not isinstance(graph.by_name[name].op, Input) for name in graph.outputs))
        try:
            again = tflite.export(graph)
        except Unsupported as error:
            assert "TFLite has no" in str(error) or "that TensorFlow copies" in str(error)
            return
        made, _ = imported(again, tmp_path)
        assert [node.op for node in made.graph.nodes] == [node.op for node in graph.nodes]

    run()
