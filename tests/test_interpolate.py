"""Linear resizing: the reference, C, chips' schedules, PyTorch and files say the same."""

import numpy as np
import pytest

from graphs import Builder, random_image
from rillet.backends import reference
from rillet.errors import GraphError
from rillet.ir import linear
from rillet.ir.graph import Graph
from rillet.ir.linear import Interpolate
from rillet.ir.ops import Input, Pool, PoolKind, Window, output_shape
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.run import Program
from rillet.simulation.pipeline import simulate
from rillet.simulation.replay import simulate_values
from rillet.targets.host import this_host

SIZES = [((4, 5), (8, 10)), ((7, 3), (5, 9)), ((1, 6), (3, 2)), ((5, 5), (5, 1))]


def resized(source: tuple[int, int], made: tuple[int, int], *flags: bool) -> Interpolate:
    (rows, down), (columns, right) = (
        linear.of_tensorflow_int8(*pair, *flags) for pair in zip(source, made, strict=True)
    )
    return Interpolate(rows, columns, down, right)


def every(dtype: DType) -> Graph:
    """Enlarged between two convolutions, made smaller and enlarged by corners and by half pixels."""
    b = Builder(np.random.default_rng(0), dtype)
    image = b.add(Input(), shape=Shape(6, 5, 3))
    first = b.add(b.conv(4, (3, 3)), image)
    wide = b.add(resized((6, 5), (12, 10)), first, same=True)
    last = b.add(b.conv(2, (3, 3)), wide)
    made = [b.add(resized((12, 10), (5, 17), flags == 1, flags == 2), last, same=True) for flags in range(3)]
    return b.graph(wide, *made)


@pytest.mark.parametrize("dtype", [DType.F32, DType.I8, DType.U8])
def test_c_is_the_reference(dtype: DType) -> None:
    """Whole and row by row, and pushed."""
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


def test_a_ring_keeps_two_rows_and_no_full_map() -> None:
    b = Builder(np.random.default_rng(0), DType.I8)
    image = b.add(Input(), shape=Shape(40, 40, 4))
    wide = b.add(resized((40, 40), (80, 80), False, True), b.add(b.conv(4, (3, 3)), image), same=True)
    b.add(Pool(PoolKind.MEAN, Window((80, 80))), b.add(b.conv(4, (3, 3)), wide))
    plan = plan_rows(b.graph())
    assert plan.buffers["n1"].pixels < 3 * 40
    assert plan.buffers["n2"].pixels < 4 * 80


def test_a_chip_reads_four_pixels() -> None:
    graph = every(DType.I8)
    plan = plan_pixels(graph, interval=100_000)
    assert simulate(plan).passed
    image = random_image(graph)
    values = reference.run(graph, image)
    (made,) = simulate_values(plan, image)
    for name in graph.outputs:
        assert np.array_equal(made[name], values[name])


def test_pytorch_is_the_same() -> None:
    torch = pytest.importorskip("torch")
    import torch.nn.functional as F  # noqa: N812

    from rillet.train.modules import to_module

    graph = every(DType.F32)
    image = random_image(graph)
    made = to_module(graph)(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
    for name, value in zip(graph.outputs, made, strict=True):
        got = value.detach().numpy()[0].transpose(1, 2, 0)
        assert np.allclose(got, reference.run(graph, image)[name], rtol=1e-5, atol=1e-5)
    for source, size in SIZES:
        for corners in (False, True):
            (rows, down), (columns, right) = (
                linear.of_torch(length, out, None, corners) for length, out in zip(source, size, strict=True)
            )
            b = Builder(np.random.default_rng(0), DType.F32)
            b.add(Interpolate(rows, columns, down, right), b.add(Input(), shape=Shape(*source, 2)))
            image = random_image(b.graph())
            wanted = F.interpolate(
                torch.from_numpy(image.transpose(2, 0, 1)[None].copy()), size, mode="bilinear", align_corners=corners
            )
            got = reference.outputs(b.graph(), image)[0]
            assert np.allclose(got, wanted[0].permute(1, 2, 0).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interpolate((), (0,), (), (0.0,)), "rows of an interpolate must be places that never go back"),
        (lambda: Interpolate((0,), (1, 0), (0.0,), (0.0, 0.0)), "columns of an interpolate must be places"),
        (lambda: Interpolate((0,), (0,), (1.0,), (0.0,)), "rows of an interpolate must each have a share"),
        (lambda: Interpolate((0,), (0,), (0.5,), (0.0, 0.5)), "columns of an interpolate must each have a share"),
    ],
)
def test_tables_that_it_cannot_have(make: object, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()  # type: ignore[operator]


def test_it_looks_within_its_map() -> None:
    op = Interpolate((0, 1), (0,), (0.0, 0.5), (0.0,))
    with pytest.raises(GraphError, match="interpolate must look within 2x2x1, got 2, 0"):
        output_shape(op, (Shape(2, 2, 1),), Shape(1, 1, 1))
    assert output_shape(op, (Shape(3, 2, 1),), Shape(1, 1, 1)) == Shape(2, 1, 1)


def test_text_and_files() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("tflite")
    from rillet.exporters import onnx, tflite
    from rillet.importers.onnx import parse as of_onnx
    from rillet.importers.tflite import parse as of_tflite

    for dtype in (DType.F32, DType.I8):
        graph = every(dtype)
        assert parse_graph(print_graph(graph), graph.params) == graph
        if dtype is DType.I8:
            again = of_tflite(tflite.export(graph), "x.tflite").graph
            assert [node.op for node in again.nodes] == [node.op for node in graph.nodes]
    for word in ("half_pixel", "asymmetric", "align_corners"):
        for source, size in SIZES:
            pairs = zip(source, size, strict=True)
            (rows, down), (columns, right) = (linear.of_onnx(*pair, word) for pair in pairs)
            b = Builder(np.random.default_rng(0), DType.F32)
            b.add(Interpolate(rows, columns, down, right), b.add(Input(), shape=Shape(*source, 2)))
            assert of_onnx(onnx.export(b.graph()), "x.onnx").nodes == b.graph().nodes
