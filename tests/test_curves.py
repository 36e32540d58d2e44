"""Functions of one value that have numbers of their own: the reference, C, PyTorch and files say the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import CURVES, POSITIVE, Builder, random_image
from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import tables
from rillet.arithmetic.functions import curve_real, function_real
from rillet.backends import reference
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph
from rillet.ir.ops import Apply, Input, Rounding
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.rounding import bound
from rillet.runtime.run import Program
from rillet.transforms.quantize import quantize
from rillet.transforms.statistics import observe


def every(dtype: DType) -> Graph:
    """One value, and every function of it: of real values those that need some above 0 behind a clip."""
    b = Builder(np.random.default_rng(0), dtype)
    image = b.add(Input(), shape=Shape(5, 4, 3))
    above = b.add(Apply(Curve.CLIP, 0.05, 4.0, Rounding.SHIFT), image)
    made = [
        b.add(Apply(curve, *CURVES.get(curve, ()), rounding=Rounding.SHIFT), above if curve in POSITIVE else image)
        for curve in Curve
    ]
    return b.graph(*made)


@pytest.mark.parametrize("dtype", [DType.F32, DType.I8, DType.U8])
def test_c_is_the_reference(dtype: DType) -> None:
    """Of real values within what float32 may round; whole and row by row, and pushed."""
    graph = every(dtype)
    image = random_image(graph) * (8 if dtype is DType.F32 else 1)
    values = reference.run(graph, image)
    for plan in (plan_rows(graph), plan_layerwise(graph)):
        program = Program(plan)
        for outputs in (program.run(image), program.push(image)):
            for name, got in zip(graph.outputs, outputs, strict=True):
                if dtype is not DType.F32:
                    assert np.array_equal(got, values[name])
                    continue
                node = graph.by_name[name]
                assert np.isfinite(values[name]).all()
                assert (np.abs(got - values[name]) <= bound(graph, node, values, {})).all(), node


@given(st.sampled_from(list(Curve)), st.floats(-9, 9), st.floats(-9, 9), st.floats(0.1, 2.0))
def test_no_function_is_steeper_than_the_bound_on_rounding_takes_it_for(
    curve: Curve, x: float, y: float, a: float
) -> None:
    op = Apply(curve, *((-a, a) if curve is Curve.CLIP else (a, -a)[: curve.numbers]))
    b = Builder(np.random.default_rng(0), DType.F32)
    b.add(op, b.add(Input(), shape=Shape(1, 1, 1)))
    graph = b.graph()
    if curve in POSITIVE:
        x, y = abs(x) + 0.1, abs(y) + 0.1
    at, off = np.full((1, 1, 1), x), np.full((1, 1, 1), abs(x - y))
    allowed = bound(graph, graph.nodes[1], {"n0": at}, {"n0": off})
    moved = function_real(np.array([x, y]), op)
    assert abs(moved[1] - moved[0]) <= allowed.item()


@pytest.mark.parametrize("curve", Curve)
def test_pytorch_has_the_same_functions(curve: Curve) -> None:
    torch = pytest.importorskip("torch")
    from rillet.train.pieces import applied

    values = np.linspace(0.01 if curve in POSITIVE else -30, 30, 997)
    numbers = (*CURVES.get(curve, ()), 0.0, 0.0)[:2]
    op = Apply(curve, *numbers)
    got = applied(torch.from_numpy(values), op).numpy()
    near = 1e-8 if curve is Curve.SOFTPLUS else 1e-12  # PyTorch's is the line from 20 on
    assert np.allclose(got, curve_real(values, curve, *numbers), rtol=near, atol=near)


def test_quantised_networks_take_the_exact_function() -> None:
    graph = every(DType.F32)
    values = reference.run(graph, random_image(graph))
    made = quantize(graph, {name: observe(value) for name, value in values.items()})
    image = made.nodes[0].type.quant
    assert image is not None
    stored = reference.run(made, fp.quantize(random_image(graph), image, DType.I8).astype(np.int8))
    for name in made.outputs:
        node = made.by_name[name]
        assert isinstance(node.op, Apply) and node.op.rounding is Rounding.SHIFT
        assert node.type.quant is not None
        steps = (stored[name].astype(int) - node.type.quant.zero_point) - values[name] / node.type.quant.scale
        assert np.abs(steps).mean() < 3, node


def test_what_is_not_defined_below_0_is_there_what_it_is_at_0() -> None:
    quant = Quant(0.1, 0)
    for curve in (Curve.SQRT, Curve.LOG):
        table = tables.activate(np.arange(-128, 128), Apply(curve, rounding=Rounding.SHIFT), quant, quant, DType.I8)
        assert len(set(table[:129])) == 1
        assert table[129:].tolist() == sorted(table[129:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Apply(Curve.CLIP, 1.0, 0.0), "clip must be between two numbers, the first the lesser, got 1 and 0"),
        (lambda: Apply(Curve.CLIP, -math.inf, math.inf), "clip must be between two numbers"),
        (lambda: Apply(Curve.TANH, 1.0), "tanh must have 0 numbers, got 1 and 0"),
        (lambda: Apply(Curve.ELU, math.nan), "numbers of elu must be finite, got nan and 0"),
        (lambda: Apply(Curve.CELU, 0.0), "number of celu must be more than 0, got 0"),
        (lambda: Apply(Curve.TANH, rounding=Rounding.SINGLE), "rounding must be double or shift"),
    ],
)
def test_numbers_that_it_cannot_have(make: object, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()  # type: ignore[operator]


def test_functions_of_bytes_without_a_rule_of_litert_s() -> None:
    quant = Quant(0.1, 0)
    with pytest.raises(Unsupported, match="mish must be rounded by shift, got double"):
        tables.activate(np.arange(4), Apply(Curve.MISH), quant, quant, DType.I8)


def test_text_and_back() -> None:
    graph = every(DType.I8)
    assert parse_graph(print_graph(graph), graph.params) == graph


def test_a_file_for_each_format_or_a_refusal() -> None:
    """ONNX reads the same functions back; ncnn and TFLite have some, and say of the others that they have none."""
    pytest.importorskip("onnx")
    pytest.importorskip("tflite")
    from rillet.exporters import ncnn, onnx, tflite
    from rillet.importers.onnx import parse

    refused: dict[str, set[Curve]] = {"ncnn": set(), "tflite": set(), "onnx": set()}
    for curve in Curve:
        b = Builder(np.random.default_rng(0), DType.F32)
        b.add(Apply(curve, *CURVES.get(curve, ())), b.add(Input(), shape=Shape(2, 3, 4)))
        graph = b.graph()
        for name, write in (("ncnn", ncnn.export), ("tflite", tflite.export), ("onnx", onnx.export)):
            try:
                made = write(graph)
            except RilletError as error:
                assert str(error).startswith("random: n1: ")
                refused[name].add(curve)
                continue
            if isinstance(made, bytes) and name == "onnx":
                assert parse(made, "x.onnx").nodes == graph.nodes
    assert refused["onnx"] == {Curve.SOFTPLUS}  # whose slope is 1.5 here
    assert refused["ncnn"] == {Curve.SOFTPLUS, Curve.SOFTSIGN, Curve.SWISH}
    assert Curve.MISH in refused["tflite"] and Curve.TANH not in refused["tflite"]
