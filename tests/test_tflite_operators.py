"""What the importer makes of layouts and shapes, and what each operator refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema

from rillet.backends import reference
from rillet.errors import RilletError
from rillet.importers.tflite import load_with_tensors, parse
from rillet.ir.graph import Graph
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.verify import verify
from tfl import Writer, conv_options, pool_options


def graph_of(w: Writer, source: int, *outs: int) -> Graph:
    return parse(w.bytes([source], list(outs)), "x.tflite").graph


def options(name: str, **values: Any) -> Any:
    made = getattr(schema, f"{name}OptionsT")()
    for key, value in values.items():
        setattr(made, key, value)
    return made


def ints(w: Writer, *values: int) -> int:
    return w.tensor((len(values),), "int32", data=values)


def q(w: Writer, *shape: int, scale: float = 0.5, zero: int = 0, dtype: str = "int8") -> int:
    return w.tensor(shape, dtype, None if dtype == "float32" else scale, zero)


# -- dilated convolutions over a batch ---------------------------------------------------------------------------------


def spread(
    sides: tuple[int, ...], crops: tuple[int, ...], *, depthwise: bool = False, dtype: str = "int8", **more: Any
):
    """SPACE_TO_BATCH_ND by 2x3, a convolution of 3x3, BATCH_TO_SPACE_ND, of a map of 9x11x4."""
    w, (down, right), rng = Writer(), (2, 3), np.random.default_rng(4)
    high, wide = (9 + sum(sides[:2])) // down, (11 + sum(sides[2:])) // right
    source, parts = q(w, 1, 9, 11, 4, dtype=dtype), q(w, down * right, high, wide, 4, dtype=dtype)
    block = ints(w, down, right)
    pads, cuts = (w.tensor((2, 2), "int32", data=values) for values in (sides, crops))
    w.op("SPACE_TO_BATCH_ND", [source, block, pads], [parts])
    real = dtype == "float32"
    weight = rng.standard_normal((1, 3, 3, 4) if depthwise else (4, 3, 3, 4)).astype(np.float32)
    scale = None if real else 0.02
    stored = weight if real else rng.integers(-127, 128, weight.shape)
    taps = w.tensor(weight.shape, dtype, scale, data=stored, axis=3 if depthwise else 0)
    bias = w.tensor((4,), "float32" if real else "int32", None if real else 0.01, data=rng.integers(-99, 99, 4))
    made = q(w, down * right, high - 2, wide - 2, 4, scale=0.9, zero=-20, dtype=dtype)
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    kind = "DepthwiseConv2DOptionsT" if depthwise else "Conv2DOptionsT"
    w.op(name, [parts, taps, bias], [made], conv_options("VALID", kind=kind, **more))
    shape = ((high - 2) * down - sum(crops[:2]), (wide - 2) * right - sum(crops[2:]))
    out = q(w, 1, *shape, 4, scale=0.9, zero=-20, dtype=dtype)
    w.op("BATCH_TO_SPACE_ND", [made, block, cuts], [out])
    return w, source, out


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_convolution_over_a_spread_batch_is_a_dilated_one(depthwise: bool, dtype: str, tmp_path: Path) -> None:
    for sides, crops in (((2, 3, 3, 4), (0, 1, 0, 1)), ((0, 1, 0, 1), (0, 1, 0, 1)), ((2, 3, 3, 4), (0, 0, 0, 0))):
        w, source, out = spread(sides, crops, depthwise=depthwise, dtype=dtype)
        path = tmp_path / f"{sides}{crops}.tflite"
        path.write_bytes(w.bytes([source], [out]))
        made = load_with_tensors(path)
        conv = made.graph.by_name[made.graph.outputs[0]].op
        assert conv.window.dilation == (2, 3)
        assert conv.window.padding == (sides[0], sides[1] - crops[1], sides[2], sides[3] - crops[3])
        assert verify(plan_rows(made.graph), 2, path=path, imported=made, against="litert").equal


@pytest.mark.parametrize(
    ("sides", "crops", "more", "message"),
    [
        ((2, 3, 3, 4), (1, 0, 0, 1), {}, "padding must go beyond what"),
        ((2, 3, 3, 4), (0, 5, 0, 1), {}, "padding must go beyond what"),
        ((2, 3, 3, 4), (0, 1, 0, 1), {"dilation": (2, 1)}, "must be VALID, of stride 1 and not dilated itself"),
    ],
)
def test_what_spreads_otherwise_is_refused(sides: tuple, crops: tuple, more: dict[str, Any], message: str) -> None:
    w, source, out = spread(sides, crops, **more)
    with pytest.raises(RilletError, match=message):
        graph_of(w, source, out)


def test_a_batch_that_no_convolution_reads_is_refused() -> None:
    w = Writer()
    source, parts, out = q(w, 1, 4, 4, 2), q(w, 4, 2, 2, 2), q(w, 4, 2, 2, 2)
    w.op("SPACE_TO_BATCH_ND", [source, ints(w, 2, 2), w.tensor((2, 2), "int32", data=(0, 0, 0, 0))], [parts])
    w.op("RELU", [parts], [out])
    with pytest.raises(RilletError, match="must stand around a convolution"):
        graph_of(w, source, out)


# -- layouts that are nothing but another view -------------------------------------------------------------------------


def test_shape_chain_that_rebuilds_a_reshape() -> None:
    w = Writer()
    source = q(w, 1, 1, 1, 6)
    shape, batch = w.tensor((4,), "int32"), w.tensor((1,), "int32")
    w.op("SHAPE", [source], [shape], options("Shape"))
    strided = options("StridedSlice", shrinkAxisMask=1)
    w.op("STRIDED_SLICE", [shape, ints(w, 0), ints(w, 1), ints(w, 1)], [batch], strided)
    packed = w.tensor((2,), "int32")
    w.op("PACK", [batch, ints(w, 6)], [packed], options("Pack", valuesCount=2))
    out = q(w, 1, 6)
    w.op("RESHAPE", [source, packed], [out], options("Reshape"))
    last = q(w, 1, 6, scale=1 / 256, zero=-128)
    w.op("SOFTMAX", [out], [last], options("Softmax", beta=1.0))
    assert [type(node.op).__name__ for node in graph_of(w, source, last).nodes] == ["Input", "Softmax"]


def test_vector_that_becomes_a_spectrogram() -> None:
    w = Writer()
    source, image = q(w, 1, 12), q(w, 1, 4, 3, 1)
    w.op("RESHAPE", [source, ints(w, 1, 4, 3, 1)], [image], options("Reshape"))
    out = q(w, 1, 2, 2, 1)
    w.op("MAX_POOL_2D", [image], [out], pool_options("SAME", (2, 2), (2, 2)))
    graph = graph_of(w, source, out)
    assert str(graph.input_nodes[0].shape) == "4x3x1"
    assert graph.image is not None


@pytest.mark.parametrize("name", ["SQUEEZE", "EXPAND_DIMS", "TRANSPOSE"])
def test_views(name: str) -> None:
    w = Writer()
    source = q(w, 1, 1, 5, 2)
    inputs = {"SQUEEZE": [source], "EXPAND_DIMS": [source, ints(w, 1)], "TRANSPOSE": [source, ints(w, 1, 0, 2, 3)]}
    seen = q(w, 1, 5, 2) if name == "SQUEEZE" else q(w, 1, 1, 5, 2)
    w.op(name, inputs[name], [seen], options(name.title().replace("_D", "D")))
    out = q(w, *w.graph.tensors[seen].shape)
    w.op("RELU", [seen], [out])
    graph = graph_of(w, source, out)
    assert str(graph.nodes[-1].shape) == "1x5x2"


def test_several_outputs_and_a_flattened_one() -> None:
    w = Writer()
    source, a, b, flat = q(w, 1, 2, 3, 4), q(w, 1, 2, 3, 2), q(w, 1, 2, 3, 2), q(w, 1, 12)
    w.op("SPLIT", [ints(w, 3), source], [a, b], options("Split", numSplits=2))
    w.op("RESHAPE", [b, ints(w, 1, 12)], [flat], options("Reshape"))
    graph = graph_of(w, source, a, flat)
    assert [graph.by_name[name].shape.elements for name in graph.outputs] == [12, 12]


def channels_first(middle: bool) -> tuple[Writer, int, int]:
    """A network as converters from channels-first frameworks write it: turned, convolved, turned back."""
    rng = np.random.default_rng(0)
    w = Writer()
    source, turned, made = q(w, 1, 3, 4, 5), q(w, 1, 4, 5, 3), q(w, 1, 4, 5, 2, scale=2.0)
    w.op("TRANSPOSE", [source, ints(w, 0, 2, 3, 1)], [turned], options("Transpose"))
    weight = w.tensor((2, 3, 3, 3), "int8", 0.1, data=rng.integers(-127, 128, (2, 3, 3, 3)))
    bias = w.tensor((2,), "int32", 1.0, data=[100, -100])
    w.op("CONV_2D", [turned, weight, bias], [made], conv_options())
    if middle:
        first, last = q(w, 1, 2, 4, 5, scale=2.0), q(w, 1, 4, 5, 2, scale=2.0)
        w.op("TRANSPOSE", [made, ints(w, 0, 3, 1, 2)], [first], options("Transpose"))
        w.op("TRANSPOSE", [first, ints(w, 0, 2, 3, 1)], [last], options("Transpose"))
        made = q(w, 1, 4, 5, 2, scale=1.0)
        w.op("RELU", [last], [made])
    out = q(w, 1, 2, 4, 5, scale=1.0 if middle else 2.0)
    w.op("TRANSPOSE", [made, ints(w, 0, 3, 1, 2)], [out], options("Transpose"))
    return w, source, out


@pytest.mark.parametrize("middle", [False, True])
def test_channels_first_networks_verify(middle: bool, tmp_path: Path) -> None:
    w, source, out = channels_first(middle)
    path = tmp_path / "first.tflite"
    path.write_bytes(w.bytes([source], [out]))
    made = load_with_tensors(path)
    assert str(made.graph.input_nodes[0].shape) == "4x5x3"
    assert made.input_order == (0, 3, 1, 2)
    assert verify(plan_rows(made.graph), 2, path=path, imported=made, against="litert").equal


def test_a_transposed_map_cannot_be_computed_with() -> None:
    w, source, out = channels_first(middle=False)
    last = q(w, 1, 2, 4, 5)
    w.op("RELU", [out], [last])
    with pytest.raises(RilletError, match="input must be 1xHxWxC, got the transposed tensor"):
        graph_of(w, source, last)


# -- what is refused --------------------------------------------------------------------------------------------------


def unary(
    name: str, kind: str | None, shape: tuple[int, ...], *more: tuple[int, ...], out: tuple[int, ...] = (), **o: Any
):
    """A file with one operator on a 1x4x4x4 input, further inputs lists of integers."""

    def build() -> bytes:
        w = Writer()
        source = q(w, *shape)
        extra = [ints(w, *values) for values in more]
        result = q(w, *(out or shape))
        w.op(name, [source, *extra], [result], options(kind, **o) if kind else None)
        return w.bytes([source], [result])

    return build


def wide(name: str, kind: str | None = None) -> Callable[[], bytes]:
    """A file with one function of 16-bit values."""

    def build() -> bytes:
        w = Writer()
        source, out = (w.tensor((1, 4, 4, 4), "int16", 0.001) for _ in range(2))
        w.op(name, [source], [out], options(kind) if kind else None)
        return w.bytes([source], [out])

    return build


def conv_with(change: Callable[[Writer, int, int], list[int]], **more: Any) -> Callable[[], bytes]:
    def build() -> bytes:
        w = Writer()
        source, out = q(w, 1, 4, 4, 4), q(w, 1, 4, 4, 4)
        w.op("CONV_2D", change(w, source, out), [out], conv_options(**more))
        return w.bytes([source], [out])

    return build


def weights(w: Writer, *shape: int, dtype: str = "int8", **more: Any) -> int:
    return w.tensor(shape, dtype, None if dtype == "float32" else 0.1, data=np.ones(shape), **more)


def places(shape: tuple[int, ...], out: tuple[int, ...], dtype: str = "int8", then: str = "") -> Callable[[], bytes]:
    """A file that ends in ARG_MAX over its last dimension, or in a sum of what that finds."""

    def build() -> bytes:
        w = Writer()
        source, made = q(w, *shape, dtype=dtype), w.tensor(out, "int32")
        w.op("ARG_MAX", [source, ints(w, -1)], [made], options("ArgMax"))
        last = w.tensor(out, "int32") if then else made
        if then:
            w.op(then, [made, made], [last], options("Add"))
        return w.bytes([source], [last])

    return build


def two_constants() -> bytes:
    w = Writer()
    source, out = q(w, 1, 4), q(w, 1, 4)
    pair = [weights(w, 1, 4), weights(w, 1, 4)]
    w.op("ADD", pair, [out], options("Add"))
    return w.bytes([source], [out])


def odd_constant() -> bytes:
    w = Writer()
    source, out = q(w, 1, 4), q(w, 1, 4)
    w.op("ADD", [source, weights(w, 1, 3)], [out], options("Add"))
    return w.bytes([source], [out])


def concat_of(axis: int, scale: float) -> Callable[[], bytes]:
    def build() -> bytes:
        w = Writer()
        source, out = q(w, 1, 2, 2, 2), q(w, 1, 2, 2, 4, scale=scale)
        w.op("CONCATENATION", [source, source], [out], options("Concatenation", axis=axis))
        return w.bytes([source], [out])

    return build


def dense(shape: tuple[int, ...], weight: tuple[int, ...], **o: Any) -> Callable[[], bytes]:
    def build() -> bytes:
        w = Writer()
        source, out = q(w, *shape), q(w, 1, 3)
        w.op("FULLY_CONNECTED", [source, weights(w, *weight)], [out], options("FullyConnected", **o))
        return w.bytes([source], [out])

    return build


def reused_input() -> bytes:
    w = Writer()
    source, out = q(w, 1, 4), q(w, 1, 4)
    w.op("RELU", [weights(w, 1, 4)], [out])
    return w.bytes([source], [out])


def nan_weights() -> bytes:
    w = Writer()
    source, out = q(w, 1, 4, dtype="float32"), q(w, 1, 4, dtype="float32")
    w.op("ADD", [source, w.tensor((1, 4), "float32", data=[1, np.nan, 1, 1])], [out], options("Add"))
    return w.bytes([source], [out])


def constant_input() -> bytes:
    w = Writer()
    source, out = weights(w, 1, 4), q(w, 1, 4)
    w.op("RELU", [source], [out])
    return w.bytes([source], [out])


S = (1, 4, 4, 4)
CASES: dict[str, tuple[Any, str]] = {
    "mixed types": (unary("RELU", None, S, out=(1, 4, 4, 5)), "shape must be 4x4x4, got 4x4x5"),
    "sigmoid scale": (unary("LOGISTIC", None, S), "output must have scale 1/256 and zero point -128"),
    "softmax scale": (unary("SOFTMAX", "Softmax", S, beta=1.0), "output must have scale 1/256"),
    "softmax beta": (unary("SOFTMAX", "Softmax", S, beta=-1.0), "output must have scale|beta must be a positive"),
    "places of rows": (unary("ARG_MAX", "ArgMax", S, (1,)), r"must be over the channels, got axis 1 of \[1, 4, 4, 4\]"),
    "places of no axis": (unary("ARG_MAX", "ArgMax", S, (4,)), r"axis must be one of 4, got \[4\]"),
    "places as bytes": (unary("ARG_MAX", "ArgMax", S, (3,)), "output must be INT32 or INT64, got INT8"),
    "places of another shape": (places(S, (1, 4, 4, 1)), r"output must be \[1, 4, 4\], got \[1, 4, 4, 1\]"),
    "places of 16 bits": (places(S, (1, 4, 4), "int16"), "values must not be INT16, of which LiteRT has no ARG_MAX"),
    "hard-swish of 16 bits": (wide("HARD_SWISH", "HardSwish"), "must not be INT16, of which LiteRT has no HARD_SWISH"),
    "elu of 16 bits": (wide("ELU"), "values must not be INT16, of which LiteRT has no ELU, got"),
    "logarithm of 16 bits": (wide("LOG"), "values must not be INT16, whose least half has no logarithm, got"),
    "cast": (unary("CAST", "Cast", S), "input must be places that ARG_MAX found"),
    "places added": (places(S, (1, 4, 4), "int8", "ADD"), "type must be INT8, UINT8, INT16 or FLOAT32, got INT32"),
    "mean axes": (unary("MEAN", "Reducer", S, (1, 3)), r"axes must be height, width or both, got \[1, 3\]"),
    "pad channels": (unary("PAD", "Pad", S, (0, 0, 0, 0, 0, 0, 1, 0)), "shape must be 4x4x5, got 4x4x4"),
    "pad batch": (
        unary("PAD", "Pad", S, (1, 0, 0, 0, 0, 0, 0, 0)),
        "must pad height, width and channels alone",
    ),
    "pool scale": (unary("MAX_POOL_2D", "Pool2D", S, filterHeight=0), "kernel must be at least 1x1"),
    "slice rows": (unary("SLICE", "Slice", S, (0, 1, 0, 0), (1, 3, 4, 4)), r"output must be \[3, 4, 4\], got"),
    "slice beyond": (unary("SLICE", "Slice", S, (0, 1, 0, 0), (1, 4, 4, 4)), r"must cut within \[1, 4, 4, 4\]"),
    "gather": (unary("GATHER", "Gather", S, (0, 4), axis=3), r"must take from 0 to 3, got \[0, 4\]"),
    "gather back": (
        unary("GATHER", "Gather", S, (3, 2, 1, 0), axis=1),
        "rows and columns must be taken from first to last",
    ),
    "tanh scale": (unary("TANH", None, S), "output must have scale 1/128 and zero point 0"),
    "neg": (unary("NEG", "Neg", S), "values must be FLOAT32"),
    "slice short": (unary("SLICE", "Slice", S, (0, 1), (1, 3)), "must give begin and size for each dimension"),
    "strided short": (
        unary("STRIDED_SLICE", "StridedSlice", S, (0,), (1, 1), (1,)),
        "must give begin, end and stride for each dimension",
    ),
    "resize size": (
        unary("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor", S, (3, 3)),
        r"size must be that of the output, got \[3, 3\]",
    ),
    "transpose": (unary("TRANSPOSE", "Transpose", S, (1, 0, 3, 2)), "must move height, width and channels alone"),
    "transpose order": (unary("TRANSPOSE", "Transpose", S, (0, 0, 1, 2)), "order must be one of 4 dimensions"),
    "pack": (unary("PACK", "Pack", (1, 4), out=(1, 4)), r"output must be \[1, 1, 4\], got \[1, 4\]"),
    "reshape size": (unary("RESHAPE", "Reshape", S, (1, 9), out=(1, 9)), "output must have 64 values, got 1x9"),
    "split": (unary("SPLIT", "Split", S, (3,)), "input 0 must be constant"),
    "two constants": (two_constants, "must have two inputs, one of them computed"),
    "odd constant": (odd_constant, r"must broadcast to 1x1x4, got \[1, 3\]"),
    "concat columns": (
        concat_of(2, 0.5),
        r"must join channels, or maps one behind another, got axis 2 of \[1, 2, 2, 2\]",
    ),
    "concat scale": (concat_of(3, 0.7), "int8 inputs must have the scale and zero point of the output"),
    "dense of a part": (dense((1, 2, 2, 2), (3, 4)), r"weights must be outputs x 8, got \[3, 4\]"),
    "dense depth": (dense((1, 8), (3, 7)), r"weights must be outputs x 8, got \[3, 7\]"),
    "dense format": (dense((1, 8), (3, 8), weightsFormat=1), "weights must be in the default format, got code 1"),
    "of a constant": (reused_input, "input must be computed, got the constant"),
    "not finite": (nan_weights, "must be finite"),
    "constant input": (constant_input, "input must be made once"),
    "rank": (conv_with(lambda w, s, _: [s, weights(w, 4, 4)]), "weights must have 4 dimensions, got 2"),
    "depth": (
        conv_with(lambda w, s, _: [s, weights(w, 4, 1, 1, 3)]),
        "input channels must be a multiple of the filter's 3",
    ),
    "bias": (
        conv_with(lambda w, s, _: [s, weights(w, 4, 1, 1, 4), w.tensor((3,), "int32", data=[1, 2, 3])]),
        "bias must have 4 values, got 3",
    ),
    "weight type": (conv_with(lambda w, s, _: [s, weights(w, 4, 1, 1, 4, dtype="float32")]), "must be i8, got FLOAT32"),
    "weight zero": (
        conv_with(lambda w, s, _: [s, weights(w, 4, 1, 1, 4, zero=3)]),
        "zero points of int8 weights must be 0",
    ),
    "activation": (
        conv_with(lambda w, s, _: [s, weights(w, 4, 1, 1, 4)], activation="TANH"),
        "fused activation must be none or a clamp, got code 4",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.replace(" ", "-"))
def test_refusals(case: str) -> None:
    build, message = CASES[case]
    with pytest.raises(RilletError, match=message) as caught:
        parse(build(), "x.tflite")
    assert str(caught.value).startswith("x.tflite: ")


def test_depthwise_weights_must_be_1xhxwxc() -> None:
    w = Writer()
    source, out = q(w, *S), q(w, *S)
    made = conv_options(kind="DepthwiseConv2DOptionsT")
    w.op("DEPTHWISE_CONV_2D", [source, weights(w, 2, 1, 1, 4)], [out], made)
    with pytest.raises(RilletError, match="depthwise weights must be 1xHxWxC"):
        graph_of(w, source, out)


def test_constant_minus_value_keeps_its_order() -> None:
    w = Writer()
    source, out = q(w, 1, 2, 2, 2), q(w, 1, 2, 2, 2)
    w.op("SUB", [weights(w, 1, 1, 1, 2), source], [out], options("Sub"))
    graph = graph_of(w, source, out)
    assert [type(graph.by_name[n].op).__name__ for n in graph.nodes[-1].inputs] == ["Constant", "Input"]
    assert str(graph.by_name[graph.nodes[-1].inputs[0]].shape) == "2x2x2"


@pytest.mark.parametrize("name", ["ADD", "MUL", "SUB"])
def test_a_constant_without_dimensions_is_that_of_one(name: str) -> None:
    """Keras's Rescaling writes its numbers with the shape []."""

    def made(*shape: int) -> Graph:
        w = Writer()
        source, out = q(w, 1, 2, 2, 3), q(w, 1, 2, 2, 3, scale=0.7, zero=3)
        w.op(name, [source, w.tensor(shape, scale=0.3, zero=1, data=np.full(shape, 9))], [out], options(name.title()))
        return graph_of(w, source, out)

    none, one = made(), made(1)
    image = np.arange(-6, 6, dtype=np.int8).reshape(2, 2, 3) * 9
    assert none == one
    assert verify(plan_rows(none), 3).equal
    assert len(np.unique(reference.outputs(none, image)[0])) > 6


def scaled_conv(scales: list[float], dtype: str = "int8") -> Graph:
    """A 1x1 convolution of two channels to two, weights (0, 0) and (3, 4)."""
    w = Writer()
    source, out = q(w, 1, 1, 1, 2, dtype=dtype), q(w, 1, 1, 1, 2, scale=0.6, zero=2, dtype=dtype)
    weight = w.tensor((2, 1, 1, 2), dtype, scales, data=[[[[7, 8]]], [[[3, 4]]]])
    bias = w.tensor((2,), "int32", scale=0.5 * np.array(scales), data=[9, 5])
    w.op("CONV_2D", [source, weight, bias], [out], conv_options())
    return graph_of(w, source, out)


def test_a_channel_of_scale_0_counts_as_zero() -> None:
    graph = scaled_conv([0.0, 0.1])
    image = np.array([[[9, 10]]], np.int8)
    assert reference.outputs(graph, image)[0].tolist() == [[[2, 8]]]
    assert verify(plan_rows(graph), 5).equal


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_weights_of_scale_0_alone(dtype: str) -> None:
    graph = scaled_conv([0.0], dtype)
    assert reference.outputs(graph, np.array([[[9, 10]]], dtype))[0].tolist() == [[[2, 2]]]


def test_scales_below_0_and_values_of_scale_0_are_refused() -> None:
    with pytest.raises(RilletError, match="scales must be positive numbers, or 0 for weights that count as zero"):
        scaled_conv([-0.1, 0.1])
    w = Writer()
    source, out = q(w, 1, 4, scale=0.0), q(w, 1, 4)
    w.op("ADD", [source, source], [out], options("Add"))
    with pytest.raises(RilletError, match="scale must be a positive number, got 0.0"):
        graph_of(w, source, out)


def test_float16_constants_are_read_as_float32(tmp_path: Path) -> None:
    """What Keras's float16 conversion writes: weights and biases behind DEQUANTIZE, the rest in float32."""
    rng = np.random.default_rng(3)
    w = Writer()
    source, out = w.tensor((1, 5, 4, 3), "float32"), w.tensor((1, 5, 4, 6), "float32")
    wide: list[int] = []
    for shape in ((6, 3, 3, 3), (6,)):
        stored = w.tensor(shape, "float16", data=rng.normal(size=shape))
        wide.append(w.tensor(shape, "float32"))
        w.op("DEQUANTIZE", [stored], [wide[-1]])
    w.op("CONV_2D", [source, *wide], [out], conv_options())
    path = tmp_path / "half.tflite"
    path.write_bytes(w.bytes([source], [out]))
    imported = load_with_tensors(path)
    assert [type(node.op).__name__ for node in imported.graph.nodes] == ["Input", "Conv"]
    assert verify(plan_rows(imported.graph), 2, path=path, imported=imported, against="litert").equal


def test_refusals_name_every_kind_at_once() -> None:
    w = Writer()
    tensors = [w.tensor((1, 4, 4, 3), "float32") for _ in range(4)]
    w.op("RFFT2D", tensors[:1], tensors[1:2])
    w.op("RELU", tensors[1:2], tensors[2:3])
    w.op("ATAN2", tensors[2:3], tensors[3:4])
    message = (
        r"operator 0 \(RFFT2D\): is not supported; 1 of 3 operators are, all but RFFT2D \(1\), ATAN2 \(1\); rillet ops"
    )
    with pytest.raises(RilletError, match=message):
        graph_of(w, tensors[0], tensors[3])


@pytest.mark.parametrize("value", [-(2**63), -(2**31) - 1, 2**31, 2**63 - 1])
def test_a_bias_of_a_dense_layer_of_16_bit_values_fits_32_bits(value: int) -> None:
    """LiteRT rescales its sums as those of bytes; 2**63 is the number whose absolute value is no int64."""
    w = Writer()
    source, out = q(w, 1, 3, dtype="int16"), q(w, 1, 2, dtype="int16")
    weight = w.tensor((2, 3), "int8", 0.02, data=np.ones((2, 3)))
    bias = w.tensor((2,), "int64", 0.01, data=np.array([0, value], np.int64))
    w.op("FULLY_CONNECTED", [source, weight, bias], [out], options("FullyConnected"))
    with pytest.raises(RilletError, match=f"bias of a dense layer must fit 32 bits, got {value}"):
        graph_of(w, source, out)
