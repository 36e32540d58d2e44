"""Two values at one place, channels in another order, squares of pixels: the reference, C and files say the same."""

import numpy as np
import pytest

from graphs import Builder, random_image
from rillet.arithmetic import fixed_point as fp
from rillet.backends import reference
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.ir.functions import Curve
from rillet.ir.graph import Graph
from rillet.ir.ops import Apply, Constant, DepthToSpace, Input, Pair, PairKind, Select, SpaceToDepth, output_shape
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.rounding import bound
from rillet.runtime.run import Program
from rillet.targets.host import this_host

TYPES = [DType.F32, DType.I8, DType.U8]


def every(dtype: DType) -> Graph:
    """A map that is widened, shuffled, spread and gathered, and pairs with constants and with a convolution."""
    b = Builder(np.random.default_rng(0), dtype)
    image = b.add(Input(), shape=Shape(4, 6, 3))
    wide = b.add(Select((2, 0, 1, 1, 0, 2, 2, 1, 0, 0, 1, 2)), image, same=True)
    large = b.add(DepthToSpace(2, 4, 6), wide, same=True)
    mixed = b.add(b.conv(3, (3, 3)), large, quant=b.node(large).type.quant)
    small = b.add(SpaceToDepth(2), mixed, same=True)
    beside = b.add(Select((-1, -1, 0, 1, 2, -1)), large, same=True)
    made = [small, beside, b.add(SpaceToDepth(4), large, same=True)]
    quant = b.node(large).type.quant
    pixel = b.add(Constant(dtype), shape=Shape(1, 1, 3), quant=quant)
    whole = b.add(Constant(dtype), shape=b.node(large).shape, quant=quant)
    for kind in (PairKind.MAXIMUM, PairKind.MINIMUM):
        made += [b.add(Pair(kind), large, other, same=True) for other in (mixed, pixel, whole)]
    made.append(b.add(Pair(PairKind.PRELU), large, b.add(Constant(dtype), shape=Shape(1, 1, 3))))
    if dtype is DType.F32:
        made.append(b.add(Pair(PairKind.DIVIDE), large, b.add(Apply(Curve.EXP), mixed)))
    return b.graph(*made)


@pytest.mark.parametrize("dtype", TYPES)
def test_c_is_the_reference(dtype: DType) -> None:
    """Of real values within what float32 may round; whole and row by row, and pushed."""
    graph = every(dtype)
    image = random_image(graph)
    values = reference.run(graph, image)
    for plan in (plan_rows(graph), plan_layerwise(graph), plan_host(graph, this_host())):
        program = Program(plan)
        for outputs in (program.run(image), program.push(image)):
            for name, got in zip(graph.outputs, outputs, strict=True):
                if dtype is DType.F32:
                    assert np.allclose(got, values[name], rtol=1e-5, atol=1e-5)
                else:
                    assert np.array_equal(got, values[name]), graph.by_name[name]


def test_pytorch_has_the_same_meanings() -> None:
    torch = pytest.importorskip("torch")
    from rillet.train.modules import to_module

    graph = every(DType.F32)
    image = random_image(graph)
    made = to_module(graph)(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
    for name, value in zip(graph.outputs, made, strict=True):
        got = value.detach().numpy()[0].transpose(1, 2, 0)
        assert np.allclose(got, reference.run(graph, image)[name], rtol=1e-5, atol=1e-5), graph.by_name[name]
    x = torch.randn(1, 12, 2, 3)
    for block, op in ((2, DepthToSpace(2, 2, 3)),):
        b = Builder(np.random.default_rng(0), DType.F32)
        order = tuple(c * block**2 + place for place in range(block**2) for c in range(3))
        b.add(op, b.add(Select(order), b.add(Input(), shape=Shape(2, 3, 12))))
        got = reference.outputs(b.graph(), np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()))[0]
        assert np.array_equal(got, torch.pixel_shuffle(x, block)[0].permute(1, 2, 0).numpy())


def test_bounds_on_rounding_hold_for_pairs() -> None:
    graph = every(DType.F32)
    image = random_image(graph)
    values = reference.run(graph, image)
    near = {name: value.astype(np.float32).astype(np.float64) for name, value in values.items()}
    for node in graph.nodes:
        if isinstance(node.op, Pair):
            off = {name: np.abs(near[name] - values[name]) for name in node.inputs}
            moved = reference.node_value(graph, node, near)
            assert (np.abs(moved - values[node.name]) <= bound(graph, node, values, off)).all()


def test_prelu_of_bytes_against_real_numbers() -> None:
    rng = np.random.default_rng(0)
    source, slope, out = Quant(0.05, 3), Quant(0.01, -7), Quant(0.06, -20)
    values, slopes = rng.integers(-131, 125, 500), rng.integers(-121, 135, 500)
    made = fp.prelu(values, slopes, fp.prelu_multipliers(source, slope, out))
    real = np.where(values >= 0, 1.0, slopes * slope.scale) * values * source.scale / out.scale
    assert np.abs(made - real).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (Select((3,)), [Shape(2, 2, 3)], "channels of a select must be within 3, got 3"),
        (DepthToSpace(2, 2, 2), [Shape(2, 2, 3)], "channels must be a multiple of 2x2, got 3"),
        (DepthToSpace(2, 2, 3), [Shape(2, 2, 4)], "depthtospace must read a map of 2x3, got 2x2x4"),
        (SpaceToDepth(2), [Shape(2, 3, 1)], "map must consist of squares of 2x2, got 2x3x1"),
        (Pair(PairKind.PRELU), [Shape(2, 2, 3)] * 2, "slopes of prelu must be 1x1x3, got 2x2x3"),
        (Pair(PairKind.MAXIMUM), [Shape(2, 2, 3), Shape(1, 2, 3)], "second input of pair must be 2x2x3 or 1x1x3"),
    ],
)
def test_shapes_that_do_not_fit(op: Select, shapes: list[Shape], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        output_shape(op, tuple(shapes), shapes[0])


@pytest.mark.parametrize(
    "make", [lambda: Select(()), lambda: Select((-2,)), lambda: DepthToSpace(0, 1, 1), lambda: SpaceToDepth(0)]
)
def test_numbers_that_they_cannot_have(make: object) -> None:
    with pytest.raises(GraphError, match="must be at least"):
        make()  # type: ignore[operator]


def test_quotients_stay_real() -> None:
    b = Builder(np.random.default_rng(0), DType.I8)
    b.add(Pair(PairKind.DIVIDE), b.add(Input(), shape=Shape(2, 2, 3)), b.add(Constant(DType.I8), shape=Shape(1, 1, 3)))
    graph = b.graph()
    with pytest.raises(Unsupported, match="operands of divide must be float32"):
        plan_rows(graph)
    with pytest.raises(Unsupported, match="operands of divide must be float32"):
        reference.run(graph, random_image(graph))


def test_text_and_back() -> None:
    graph = every(DType.I8)
    assert parse_graph(print_graph(graph), graph.params) == graph


def test_a_file_for_each_format_or_a_refusal() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("tflite")
    from rillet.exporters import ncnn, onnx, tflite
    from rillet.importers.onnx import parse

    for dtype in (DType.F32, DType.I8):
        graph = every(dtype)
        assert parse(onnx.export(graph), "x.onnx").nodes == graph.nodes
        assert tflite.export(graph)
    with pytest.raises(RilletError, match="ncnn is written no (select|constant)"):
        ncnn.export(every(DType.F32))
