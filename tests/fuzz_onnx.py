"""Breaks ONNX files in many seeded ways; each must give one clean error, or a network that runs and exports again.

usage: fuzz_onnx.py FIRST_SEED COUNT; prints how many ran and how many were refused.
"""

import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from fuzz import MEMORY_BYTES, ODD, break_bytes
from graphs import Builder
from onnx_models import ints, model, node, number, real, yolo
from rillet.backends import reference
from rillet.errors import RilletError
from rillet.exporters.onnx import export
from rillet.importers.onnx import HANDLERS, parse
from rillet.importers.onnx.folding import FOLDS
from rillet.ir.ops import Activation, Add, Concat, Conv, Input, Pool, PoolKind, Requantize, Softmax, Window
from rillet.ir.types import DType, Quant, Shape
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights

SECONDS = 20
ODD_REALS = (0.0, -1.0, 1e-38, 1e38, float("nan"), float("inf"), 0.1)
KINDS = sorted({*HANDLERS, *FOLDS})
TEXTS = ("", "SAME_UPPER", "VALID", "reflect", "{", "[[[", '{"a": 1}', "double", "../x", "a" * 300)


def float_network() -> bytes:
    """Batch norms, squeeze-and-excite, hard-swish, dense layers; with Rillet's notes."""
    words = {"resolution": "32", "width": "0.35", "classes": "10"}
    return export(with_seeded_weights(build("mobilenet_v3_small", words), 1))


def integer_network() -> bytes:
    """As QDQ: convolutions, an addition, a concatenation, pools, a dense layer and a softmax, all int8."""
    b = Builder(np.random.default_rng(0), DType.I8)
    at = b.add(Requantize(), b.add(Input(), shape=Shape(9, 8, 3), dtype=DType.F32))
    left = b.add(b.conv(6, (3, 3), (2, 2), activation=Activation.RELU6), at)
    right = b.add(b.conv(6, (3, 3), groups=6), left)
    joined = b.add(Add(Activation.RELU), left, right)
    quant = b.node(joined).type.quant
    both = b.add(Concat(), joined, b.add(Requantize(), right, quant=quant), quant=quant)
    pooled = b.add(Pool(PoolKind.MAX, Window((2, 2), (2, 2))), both, same=True)
    shape = b.node(pooled).shape
    dense = Conv(5, Window((shape.height, shape.width)), weights=DType.I8, dense=True)
    b.add(Softmax(), b.add(dense, pooled), quant=Quant(1 / 256, -128))
    return export(b.graph())


def spelled_network() -> bytes:
    """As other exporters write: computed shapes, functions spelled out, older forms of operators."""
    nodes = [
        node("Pad", ["x", "pads"], "a"),
        node("Conv", ["a", "w"], "b", strides=[2, 2], auto_pad="SAME_LOWER"),
        node("Add", ["b", "three"], "c"),
        node("Clip", ["c", "zero", "six"], "d"),
        node("Mul", ["b", "d"], "e"),
        node("Div", ["e", "six"], "f"),
        node("GlobalAveragePool", ["f"], "g1"),
        node("Squeeze", ["g1"], "g2", axes=[2, 3]),
        node("MatMul", ["g2", "sw"], "g3"),
        node("HardSigmoid", ["g3"], "g4", alpha=1 / 6),
        node("Reshape", ["g4", "shape4"], "g5"),
        node("Expand", ["g5", "shape4"], "g6"),
        node("Mul", ["g6", "f"], "g"),
        node("Split", ["g"], ["h", "i"], axis=1, split=[4, 4]),
        node("Concat", ["i", "h"], "j", axis=1),
        node("Transpose", ["j"], "k", perm=[0, 2, 3, 1]),
        node("MatMul", ["k", "m"], "l"),
        node("Add", ["l", "n"], "o"),
        node("Transpose", ["o"], "p", perm=[0, 3, 1, 2]),
        node("AveragePool", ["p"], "q", kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1, pads=[1, 0, 0, 1]),
        node("Shape", ["q"], "r"),
        node("Gather", ["r", "zero_index"], "t"),
        node("Unsqueeze", ["t"], "u", axes=[0]),
        node("Concat", ["u", "minus"], "shape", axis=0),
        node("Reshape", ["q", "shape"], "v"),
        node("Slice", ["v", "zeros", "many", "ones"], "z"),
        node("Gemm", ["z", "d1", "d2"], "logits", transB=1, alpha=0.5),
        node("Softmax", ["logits"], axis=1),
    ]
    constants = {
        **{"zero": number(0), "three": number(3), "six": number(6), "w": real(8, 3, 3, 3), "sw": real(8, 8)},
        **{"pads": ints(0, 0, 1, 1, 0, 0, 1, 1), "zero_index": np.array(0, np.int64), "minus": ints(-1)},
        **{
            "m": real(8, 6),
            "n": real(6),
            "zeros": ints(0),
            "many": ints(9999),
            "ones": ints(1),
            "shape4": ints(1, 8, 1, 1),
        },
        **{"d1": real(3, 150), "d2": real(3)},
    }
    return model(nodes, ("n", 3, 8, 8), constants, opset=12).SerializeToString()


def composed_network() -> bytes:
    """What becomes several nodes: shuffles, squares by views, norms, reductions, gates, borders, products."""
    nodes = [
        node("Pad", ["x", "sides"], "a", mode="reflect"),
        node("Conv", ["a", "w"], "b", pads=[1, 1, 0, 0], strides=[2, 2]),
        node("Reshape", ["b", "cut"], "c"),
        node("Transpose", ["c"], "d", perm=[0, 2, 1, 3, 4]),
        node("Softmax", ["d"], "e", axis=1),
        node("Reshape", ["e", "map"], "f"),
        node("GroupNormalization", ["f", "eight", "eight"], "g", num_groups=2),
        node("ReduceMax", ["g", "one"], "h"),
        node("Mul", ["g", "h"], "i"),
        node("ReduceMean", ["i", "across"], "j"),
        node("Sub", ["i", "j"], "k"),
        node("GlobalAveragePool", ["k"], "l"),
        node("Reshape", ["l", "line"], "m"),
        node("Conv", ["m", "taps"], "n", pads=[1, 1]),
        node("Reshape", ["n", "pixel"], "o"),
        node("Mul", ["o", "k"], "p"),
        node("Reshape", ["p", "squares"], "q"),
        node("Transpose", ["q"], "r", perm=[0, 3, 5, 1, 2, 4]),
        node("Reshape", ["r", "small"], "s"),
        node("Transpose", ["s"], "t", perm=[0, 2, 3, 1]),
        node("LayerNormalization", ["t", "wide", "wide"], "u"),
        node("Transpose", ["u"], "v", perm=[0, 3, 1, 2]),
        node("Concat", ["v", "s"], "aa", axis=3),
        node("Reshape", ["aa", "flat"], "bb"),
        node("ReduceMean", ["bb", "one"], "cc"),
        node("Transpose", ["cc"], "dd", perm=[0, 2, 1]),
        node("MatMul", ["bb", "dd"], "ee"),
        node("LpNormalization", ["ee"], "ff", axis=1),
        node("Reshape", ["ff", "row"], "gg"),
        node("ArgMax", ["s"], "hh", axis=1, keepdims=0),
        node("Cast", ["hh"], "z", to=TensorProto.INT32),
        node("LogSoftmax", ["gg"], axis=1),
    ]
    constants = {
        **{"sides": ints(0, 0, 1, 0, 0, 0, 0, 1), "w": real(8, 3, 2, 2), "cut": ints(1, 2, 4, 4, 4)},
        **{"map": ints(1, 8, 4, 4), "eight": real(8), "one": ints(1), "across": ints(3), "line": ints(1, 1, 8)},
        **{"taps": real(1, 1, 3), "pixel": ints(1, 8, 1, 1), "squares": ints(1, 8, 2, 2, 2, 2)},
        **{"small": ints(1, 32, 2, 2), "wide": real(32), "flat": ints(1, 32, 8), "row": ints(1, 32)},
    }
    return model(nodes, ("n", 3, 7, 7), constants, opset=21).SerializeToString()


def heads_network() -> bytes:
    """Heads of three scales joined, and decoded as boxes."""
    return yolo().SerializeToString()


FILES: tuple[Callable[[], bytes], ...] = (
    cache(float_network),
    cache(integer_network),
    cache(spelled_network),
    cache(composed_network),
    cache(heads_network),
)


def break_structure(made: Any, rng: np.random.Generator) -> bytes:
    """Changes operators, wiring, attributes, constants, types, shapes, notes and the opset."""
    graph = made.graph

    def one(items: Any) -> Any:
        return items[int(rng.integers(len(items)))]

    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        op, tensor, odd = one(graph.node), one(graph.initializer), int(rng.choice(ODD))
        names = [name for n in graph.node for name in (*n.input, *n.output)]
        match rng.integers(14):
            case 0:
                op.op_type = one(KINDS).removeprefix("com.microsoft.")
            case 1 if op.input:
                op.input[int(rng.integers(len(op.input)))] = one(names)
            case 2 if op.output:
                op.output[int(rng.integers(len(op.output)))] = one(names)
            case 3 if op.attribute:
                break_attribute(one(op.attribute), odd, rng)
            case 4:
                tensor.dims[:] = [int(n) for n in rng.choice([0, 1, 2, 3, 8, odd], int(rng.integers(0, 5)))]
            case 5:
                tensor.data_type = int(rng.integers(0, 24))
            case 6 if tensor.raw_data:
                raw = np.frombuffer(tensor.raw_data, np.uint8).copy()
                raw[rng.integers(0, raw.size, 4)] = rng.integers(0, 256, 4)
                tensor.raw_data = raw.tobytes()[: int(rng.choice([raw.size, raw.size, raw.size - 1, 0]))]
            case 7 if tensor.data_type == TensorProto.FLOAT and tensor.raw_data:
                array = np.frombuffer(tensor.raw_data, np.float32).copy()
                array[...] = float(rng.choice(ODD_REALS))
                tensor.raw_data = array.tobytes()
            case 8 if tensor.data_type == TensorProto.INT64 and tensor.raw_data:
                tensor.raw_data = np.full(len(tensor.raw_data) // 8, odd, np.int64).tobytes()
            case 9:
                dim = one(graph.input[0].type.tensor_type.shape.dim)
                dim.dim_value = odd
            case 10:
                graph.input[0].type.tensor_type.elem_type = int(rng.integers(0, 12))
            case 11 if made.metadata_props:
                one(made.metadata_props).value = one(TEXTS)
            case 12:
                made.opset_import[0].version = int(rng.integers(8, 25))
            case _:
                del graph.node[int(rng.integers(len(graph.node)))]
    return made.SerializeToString()


def break_attribute(attribute: Any, odd: int, rng: np.random.Generator) -> None:
    """Another number, another list, another type."""
    match rng.integers(4):
        case 0:
            attribute.i = odd
        case 1:
            attribute.ints[:] = [int(n) for n in rng.choice([0, 1, 2, odd], int(rng.integers(0, 5)))]
        case 2:
            attribute.f = float(rng.choice(ODD_REALS))
            attribute.s = TEXTS[int(rng.integers(len(TEXTS)))].encode()
        case _:
            attribute.type = int(rng.integers(0, 12))


def attempt(data: bytes) -> bool:
    """True where the file is a network and runs; raises on anything but a clean error."""
    try:
        graph = parse(data, "fuzz")
        if graph.macs < 10**8:
            image = np.ones(graph.nodes[0].shape.array, graph.nodes[0].type.dtype.numpy)
            reference.run(graph, image)
        parse(export(graph), "again")
    except RilletError as error:
        assert str(error)
        assert "\n" not in str(error), error
        return False
    return True


def broken(seed: int) -> bytes:
    """The file of a seed."""
    rng = np.random.default_rng(seed)
    data = FILES[seed % len(FILES)]()
    if seed // len(FILES) % 3 == 0:
        return break_bytes(data, rng)
    try:
        return break_structure(onnx.load_from_string(data), rng)
    except (TypeError, ValueError, OverflowError):
        return break_bytes(data, rng)  # protobuf itself refuses what was drawn


def peak_bytes() -> int:
    """Most memory that this process has held; getrusage would count the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main(first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))
    np.seterr(all="ignore")
    assert all(attempt(file()) for file in FILES)
    ran = 0
    for seed in range(first, first + count):
        began = time.process_time()
        try:
            ran += attempt(broken(seed))
            assert time.process_time() - began < SECONDS
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
    assert peak_bytes() < MEMORY_BYTES
    print(ran, count - ran)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
