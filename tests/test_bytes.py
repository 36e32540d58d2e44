"""Functions of one byte at scales of any usual size: all 256 results are LiteRT's, or the exact ones."""

import decimal
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from conftest import example_counts
from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import tables
from rillet.arithmetic.functions import function_real
from rillet.backends import reference
from rillet.errors import RilletError
from rillet.importers.tflite import parse
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Apply, Requantize, Rounding
from rillet.ir.types import DType, Quant
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.oracles import LiteRt
from rillet.runtime.run import Program
from tfl import Writer

SCALES = st.floats(-4, 4).map(lambda power: float(np.float32(10.0**power)))
BYTES = st.sampled_from([DType.I8, DType.U8])
NAMES = {DType.I8: "int8", DType.U8: "uint8", DType.F32: "float32"}
LITERT = {
    "RELU": Activation.RELU,
    "RELU6": Activation.RELU6,
    "RELU_N1_TO_1": Activation.RELU_N1_TO_1,
    "QUANTIZE": Activation.NONE,
    "LOGISTIC": Activation.SIGMOID,
    "HARD_SWISH": Activation.HARD_SWISH,
}
CURVES: dict[str, tuple[str, dict[str, Any], Apply]] = {
    "LEAKY_RELU": ("LeakyRelu", {"alpha": 0.1}, Apply(Curve.LEAKY_RELU, 0.1)),
    "LEAKY_RELU falling": ("LeakyRelu", {"alpha": -0.3}, Apply(Curve.LEAKY_RELU, -0.3)),
    "TANH": ("", {}, Apply(Curve.TANH)),
    "GELU": ("Gelu", {"approximate": False}, Apply(Curve.GELU)),
    "GELU by tanh": ("Gelu", {"approximate": True}, Apply(Curve.GELU_TANH)),
    "ABS": ("Abs", {}, Apply(Curve.ABS)),
    "EXP": ("Exp", {}, Apply(Curve.EXP)),
    "LOG": ("", {}, Apply(Curve.LOG)),
}
"""For each operator the name of its options, these, and the function that it is."""
INT8_ALONE = ("ABS", "EXP", "LOG")
UNIT = {DType.I8: Quant(1 / 256, -128), DType.U8: Quant(1 / 256, 0)}


Kind = tuple[DType, Quant | None]


def file(name: str, source: Kind, out: Kind, shape: tuple[int, ...]) -> bytes:
    """One operator of one input."""
    w = Writer()
    (a, b) = (
        w.tensor(shape, NAMES[dtype], quant and quant.scale, quant.zero_point if quant else 0)
        for dtype, quant in (source, out)
    )
    kinds = {"QUANTIZE": "Quantize", "DEQUANTIZE": "Dequantize", "SOFTMAX": "Softmax", "HARD_SWISH": "HardSwish"}
    options: Any = getattr(schema, f"{kinds[name]}OptionsT")() if name in kinds else None
    if name == "SOFTMAX":
        options.beta = 1.0
    w.op(name, [a], [b], options, version=1)
    return w.bytes([a], [b])


def litert(data: bytes, values: np.ndarray) -> np.ndarray:
    """What LiteRT's reference kernels make of it; raises ValueError or RuntimeError where they refuse."""
    made = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], values)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def stored(dtype: DType) -> np.ndarray:
    return tables.stored_values(dtype).astype(dtype.numpy)


@st.composite
def quants(draw: st.DrawFn, dtype: DType) -> Quant:
    return Quant(draw(SCALES), draw(st.integers(*dtype.integers)))


@st.composite
def functions(draw: st.DrawFn, name: str) -> tuple[tuple[DType, Quant], tuple[DType, Quant]]:
    """Types and quantisations of an operator's input and result."""
    dtype = DType.I8 if name in INT8_ALONE else draw(BYTES)
    source, made = draw(quants(dtype)), draw(BYTES) if name == "QUANTIZE" else dtype
    return (dtype, source), (made, UNIT[dtype] if name == "LOGISTIC" else draw(quants(made)))


def check(name: str, source: tuple[DType, Quant], out: tuple[DType, Quant]) -> bool:
    """All 256 results are LiteRT's, but for those that leave its 32 bits, which saturate; False where both refuse."""
    (dtype, quant), (made, to), values = source, out, tables.stored_values(source[0])
    try:
        got = tables.activation_table(Activate(LITERT[name]), quant, dtype, to, made)
    except RilletError:
        with pytest.raises((ValueError, RuntimeError)):
            litert(file(name, source, out, (1, 256)), stored(dtype)[None])
        return False
    expected = litert(file(name, source, out, (1, 256)), stored(dtype)[None])[0].astype(np.int64)
    if LITERT[name].clamp is not None:
        shift = max(fp.multiplier(quant.scale / to.scale).shift, 0)
        centred = values - quant.zero_point
        beyond = np.abs(centred) << shift >= 2**31
        clamp = fp.activation_clamp(LITERT[name], to, made)
        expected = np.where(beyond, np.where(centred > 0, clamp.high, clamp.low), expected)
    assert got.tolist() == expected.tolist()
    return True


@pytest.mark.parametrize("name", LITERT)
@example_counts(60, 5000)
def test_tables_are_those_of_litert(name: str, examples: int) -> None:
    """A hard swish that enlarges its scale by 128 and more is refused by both."""
    done = [0, 0]

    @settings(max_examples=examples, deadline=None)
    @given(functions(name))
    def run(case: tuple[tuple[DType, Quant], tuple[DType, Quant]]) -> None:
        done[check(name, *case)] += 1

    run()
    assert done[True] >= examples * (0.3 if name == "HARD_SWISH" else 1.0)


@pytest.mark.parametrize("name", CURVES)
@example_counts(60, 5000)
def test_tables_of_functions_with_numbers_are_those_of_litert(name: str, examples: int) -> None:
    options, fields, op = CURVES[name]

    @settings(max_examples=examples, deadline=None)
    @given(functions(name))
    def run(case: tuple[tuple[DType, Quant], tuple[DType, Quant]]) -> None:
        (dtype, source), (_, out) = case
        low = dtype.integers[0]
        if name == "LOG":  # LiteRT refuses values below 0
            source = Quant(source.scale, low)
        if name == "TANH":
            out = Quant(1 / 128, low + 128)
        w = Writer()
        a, b = (w.tensor((1, 256), NAMES[dtype], quant.scale, quant.zero_point) for quant in (source, out))
        made: Any = getattr(schema, f"{options}OptionsT")() if options else None
        for key, value in fields.items():
            setattr(made, key, value)
        w.op(name.split()[0], [a], [b], made, version=1)
        expected = litert(w.bytes([a], [b]), stored(dtype)[None])[0].astype(np.int64)
        got = tables.activation_table(op, source, dtype, out, dtype)
        real = function_real((tables.stored_values(dtype) - source.zero_point) * source.scale, op)
        within = np.abs(real) / out.scale < 2**29  # what is beyond leaves 32 bits, where LiteRT's C++ means nothing
        assert got[within].tolist() == expected[within].tolist()
        assert set(got[~within]) <= set(dtype.integers)

    run()


@pytest.mark.parametrize("name", ["LOGISTIC", "HARD_SWISH", "RELU6", "QUANTIZE"])
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
@pytest.mark.parametrize("scales", [[4.12], pytest.param(np.logspace(-4, 4, 100).tolist(), marks=pytest.mark.slow)])
def test_tables_at_every_zero_point(name: str, dtype: DType, scales: list[float]) -> None:
    low, high = dtype.integers
    for scale in scales:
        for zero in range(low, high + 1):
            out = UNIT[dtype] if name == "LOGISTIC" else Quant(float(np.float32(scale * 0.7)), low + high - zero)
            assert check(name, (dtype, Quant(float(np.float32(scale)), zero)), (dtype, out))


def test_a_sigmoid_between_its_ends(tmp_path: Path) -> None:
    """In the reference and in C: an older rule in integers gave -128 and 127."""
    path = tmp_path / "logistic.tflite"
    source = Quant(float(np.float32(4.12)), 0)
    path.write_bytes(file("LOGISTIC", (DType.I8, source), (DType.I8, UNIT[DType.I8]), (1, 1, 1, 3)))
    graph = parse(path.read_bytes(), str(path)).graph
    image = np.array([[[-1, 0, 1]]], np.int8)
    assert reference.outputs(graph, image)[0].reshape(-1).tolist() == [-124, 0, 124]
    assert Program(plan_rows(graph)).run(image)[0].reshape(-1).tolist() == [-124, 0, 124]
    oracle = LiteRt(path)
    oracle.run(image)
    assert oracle.tensor(1).reshape(-1).tolist() == [-124, 0, 124]


# -- the rule `shift`, which LiteRT does not have ---------------------------------------------------------------------


def exact(activation: Activation, x: Fraction) -> Fraction:
    """The function to 40 digits and more."""
    gate = min(max(x + 3, Fraction(0)), Fraction(6)) / 6
    match activation:
        case Activation.SIGMOID | Activation.SILU:
            with decimal.localcontext(prec=50):
                power = (-Decimal(x.numerator) / Decimal(x.denominator)).exp() if x > -2000 else Decimal("Infinity")
                sigmoid = Fraction(1 / (1 + power)) if power.is_finite() else Fraction(0)
            return sigmoid if activation is Activation.SIGMOID else x * sigmoid
        case Activation.HARD_SIGMOID:
            return gate
        case Activation.HARD_SWISH:
            return x * gate
        case Activation.SIGN:
            return Fraction(1 if x >= 0 else -1)
        case _:
            low, high = activation.clamp or (-np.inf, np.inf)
            return Fraction(float(np.clip(float(x), low, high))) if not low <= x <= high else x


@pytest.mark.parametrize("activation", list(Activation))
@example_counts(3, 300)
def test_tables_are_exact_under_the_rule_shift(activation: Activation, examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(functions("RELU"))
    @example(((DType.I8, Quant(float(np.float32(4.12)), 0)), (DType.I8, UNIT[DType.I8])))
    def run(case: tuple[tuple[DType, Quant], tuple[DType, Quant]]) -> None:
        (dtype, source), (_, out) = case
        made = tables.activation_table(Activate(activation, Rounding.SHIFT), source, dtype, out, dtype)
        low, high = dtype.integers
        for value, got in zip(tables.stored_values(dtype).tolist(), made.tolist(), strict=True):
            steps = exact(activation, Fraction(source.scale) * (value - source.zero_point)) / Fraction(out.scale)
            near = min(max(steps, Fraction(-1000)), Fraction(1000))
            about = abs(near) * Fraction(1, 2**46)  # float64, where it falls on the other side of a half
            assert got in {min(max(round(near + n * about) + out.zero_point, low), high) for n in (-1, 0, 1)}

    run()


# -- softmax, quantisation and dequantisation --------------------------------------------------------------------------


@example_counts(60, 3000)
def test_softmax_is_litert_s(examples: int) -> None:
    """Of every distance to the greatest of two values, and of random ones of many."""

    @settings(max_examples=examples, deadline=None)
    @given(st.data(), BYTES, SCALES, st.integers(0, 2**32 - 1))
    def run(data: st.DataObject, dtype: DType, scale: float, seed: int) -> None:
        low, high = dtype.integers
        quant, count = Quant(scale, data.draw(st.integers(low, high))), data.draw(st.sampled_from([3, 40]))
        pairs = np.stack([np.full(256, high), np.arange(low, high + 1)], 1)
        table = tables.softmax_table(quant, 1.0)
        for values in (pairs, np.random.default_rng(seed).integers(low, high + 1, (64, count))):
            one = file("SOFTMAX", (dtype, quant), (dtype, UNIT[dtype]), values.shape)
            made = litert(one, values.astype(dtype.numpy))
            assert tables.softmax(values, table, dtype).tolist() == made.tolist()

    run()


def real_graph(dtype: DType, quant: Quant, to_bytes: bool) -> tuple[bytes, Graph]:
    shape, ends = (1, 1, 1, 256), ((DType.F32, None), (dtype, quant))
    data = file("QUANTIZE", *ends, shape) if to_bytes else file("DEQUANTIZE", *ends[::-1], shape)
    graph = parse(data, "one.tflite").graph
    assert [type(node.op) for node in graph.nodes[1:]] == [Requantize]
    return data, graph


@example_counts(60, 3000)
def test_bytes_as_real_numbers_and_back(examples: int) -> None:
    """Real numbers from nothing to beyond every byte, some of them at halves."""

    @settings(max_examples=examples, deadline=None)
    @given(st.data(), BYTES, st.integers(0, 2**32 - 1))
    def run(data: st.DataObject, dtype: DType, seed: int) -> None:
        quant, rng = data.draw(quants(dtype)), np.random.default_rng(seed)
        file_of, graph = real_graph(dtype, quant, to_bytes=False)
        values = stored(dtype).reshape(1, 1, 256)
        made = reference.outputs(graph, values)[0].reshape(-1)
        assert made.tolist() == [quant.scale * (int(v) - quant.zero_point) for v in values.reshape(-1)]
        seen = litert(file_of, values[None]).reshape(-1)
        assert seen.tolist() == made.astype(np.float32).tolist()
        file_of, graph = real_graph(dtype, quant, to_bytes=True)
        steps = np.concatenate([rng.uniform(-300, 300, 100), rng.integers(-300, 300, 150) + 0.5, rng.normal(0, 1e8, 6)])
        reals = (steps * quant.scale).astype(np.float32).reshape(1, 1, 256)
        seen = litert(file_of, reals[None])[0]
        assert np.array_equal(reference.outputs(graph, reals)[0], seen)
        # Beyond 32 bits, which LiteRT leaves.
        far = (np.copysign(1e30, steps) * quant.scale).astype(np.float32).reshape(1, 1, 256)
        low, high = dtype.integers
        assert np.array_equal(reference.outputs(graph, far)[0], np.where(far > 0, high, low))

    run()
