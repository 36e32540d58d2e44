"""Nearest-neighbour resizing copies the pixel that the file's own framework copies."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx

from conftest import example_counts
from onnx_models import ints, model, node, real, run, session
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.exporters import rlt as rlt_writer
from rillet.exporters.onnx import export
from rillet.importers import rlt
from rillet.importers.onnx import parse, parse_with_views
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.nearest import COORDINATES, MAX_PLACES, ROUNDINGS
from rillet.ir.ops import Input, Resize, resize
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import Shape, TensorType
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.verify import verify

Factors = tuple[float, float] | None
LIMITS = settings(deadline=None, suppress_health_check=list(HealthCheck))


def resized(
    dims: tuple[int, int],
    factors: Factors,
    sizes: tuple[int, int] | None,
    how: tuple[str, str],
    region: tuple[float, float, float, float] | None = None,
    **more: Any,
) -> bytes:
    """A network that resizes a map of two channels, by factors or to a size."""
    attributes = {"mode": "nearest", "coordinate_transformation_mode": how[0], "nearest_mode": how[1], **more}
    opset = 11 if how[0] == "tf_half_pixel_for_nn" else 19  # later ones do not name it
    empty = np.array([], np.float32)
    constants: dict[str, Array] = {"r": empty, "s": empty}
    if region is not None:
        top, left, bottom, right = region
        constants["r"] = np.array([0, 0, top, left, 1, 1, bottom, right], np.float32)
    inputs = ["x", "r", "s"]
    if factors is not None:
        constants["s"] = np.array([1, 1, *factors], np.float32)
    elif sizes is not None:
        constants["n"] = ints(1, 2, *sizes)
        inputs.append("n")
    made = model([node("Resize", inputs, **attributes)], (1, 2, *dims), constants, opset=opset)
    return made.SerializeToString()


def onnx_runtimes(data: bytes) -> Array:
    """What ONNX Runtime makes of a map in which every pixel is another, and none is 0."""
    return session(data).run(None, {"x": numbered(onnx.load_from_string(data))})[0]


def numbered(made: Any) -> Array:
    dims = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim]
    return np.arange(1, np.prod(dims) + 1, dtype=np.float32).reshape(dims)


def both(data: bytes) -> tuple[Array, Array]:
    """The same, and what the reference makes of it."""
    got = run(parse_with_views(data, "resize.onnx"), numbered(onnx.load_from_string(data)))[0]
    return onnx_runtimes(data), got


@st.composite
def resizes(draw: st.DrawFn) -> bytes:
    """A resize by any mode of ONNX, whose result is not empty."""
    dims = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    how = draw(st.sampled_from(COORDINATES)), draw(st.sampled_from(ROUNDINGS))
    region = None
    if how[0] == "tf_crop_and_resize":
        top, left = draw(st.floats(-0.25, 0.5, width=32)), draw(st.floats(-0.25, 0.5, width=32))
        region = top, left, draw(st.floats(top, 1.25, width=32)), draw(st.floats(left, 1.25, width=32))
    if draw(st.booleans()):
        return resized(dims, None, (draw(st.integers(1, 48)), draw(st.integers(1, 48))), how, region)
    known = st.sampled_from([0.5, 0.7, 0.75, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0])
    factors = tuple(max(1.0 / n, draw(known | st.floats(1 / n, 4.0))) for n in dims)
    least = tuple(f if int(np.float32(f) * np.float32(n)) else 1.0 for f, n in zip(factors, dims, strict=True))
    return resized(dims, (least[0], least[1]), None, how, region)


KNOWN = (
    resized((1, 10), (1.0, 1.25), None, ("asymmetric", "floor")),
    resized((4, 10), (1.0, 0.7), None, ("half_pixel", "round_prefer_floor")),
    resized((1, 28), None, (1, 31), ("half_pixel", "round_prefer_floor")),
    resized((4, 4), (1.1693275, 1.1693275), None, ("asymmetric", "floor")),
)


@pytest.mark.parametrize("data", KNOWN, ids=("factor", "size", "half", "same size"))
def test_known_cases(data: bytes) -> None:
    want, got = both(data)
    assert np.array_equal(got, want)


@example_counts(150, 4000)
def test_it_copies_what_onnx_runtime_copies(examples: int) -> None:
    @settings(LIMITS, max_examples=examples)
    @given(resizes())
    def same(data: bytes) -> None:
        try:
            want, got = both(data)
        except Unsupported as error:
            assert "region must have a row and a column within the map" in str(error)
            assert not onnx_runtimes(data).any()
            return
        assert np.array_equal(got, want)

    same()


def test_the_factor_is_the_one_given() -> None:
    _, got = both(resized((1, 10), (1.0, 1.25), None, ("asymmetric", "floor")))
    assert (got[0, 0, 0] - 1).tolist() == [0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("size", [(7, 9), (20, 11), (5, 40)])
def test_axes_and_the_ratio_of_sides(policy: str, size: tuple[int, int]) -> None:
    attributes = {"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": policy}
    constants = {"n": ints(*size)}
    made = model([node("Resize", ["x", "", "", "n"], **attributes)], (1, 2, 6, 13), constants, opset=19)
    want, got = both(made.SerializeToString())
    assert np.array_equal(got, want)


def test_what_is_refused() -> None:
    away = resized((4, 4), None, (4, 8), ("tf_crop_and_resize", "floor"), (0, 0, 1, 2), extrapolation_value=7.0)
    with pytest.raises(Unsupported, match="extrapolation_value must be 0 where the region leaves the map, got 7"):
        parse(away, "a.onnx")
    back = resized((4, 4), None, (4, 8), ("tf_crop_and_resize", "floor"), (0, 1, 1, 0))
    with pytest.raises(Unsupported, match="region must not run backwards"):
        parse(back, "a.onnx")
    with pytest.raises(Unsupported, match=f"must make at most {MAX_PLACES} rows and columns, got 100000"):
        parse(resized((4, 4), None, (100000, 8), ("asymmetric", "floor")), "a.onnx")
    with pytest.raises(GraphError, match=r"rows of a resize must be places that never go back, got \[1, 0\]"):
        Resize((1, 0), (0,))
    with pytest.raises(GraphError, match="resize must copy from within 3x3x1, got 3, 0"):
        Resize((0, 3), (0,)).output_shape(Shape(3, 3, 1))


# -- rows and columns by their places --------------------------------------------------------------------------------


def test_a_gather_of_rows_and_columns() -> None:
    nodes = [node("Gather", ["x", "rows"], "a", axis=2), node("Gather", ["a", "columns"], axis=-1)]
    made = model(nodes, (1, 2, 6, 5), {"rows": ints(0, 0, 3, -1), "columns": ints(1, 4)})
    want, got = both(made.SerializeToString())
    assert np.array_equal(got, want)
    assert parse(made.SerializeToString(), "a.onnx").nodes[-1].op == Resize((0, 0, 3, 5), (1, 4))
    mixed = model([node("Gather", ["x", "rows"], axis=2)], (1, 2, 6, 5), {"rows": ints(3, 0)})
    with pytest.raises(Unsupported, match="must take rows and columns in their order"):
        parse(mixed.SerializeToString(), "a.onnx")


# -- there and back --------------------------------------------------------------------------------------------------


def alone(op: Resize, shape: Shape) -> Graph:
    nodes = (
        Node("in", Input(), (), TensorType(shape)),
        Node("resize", op, ("in",), TensorType(op.output_shape(shape))),
    )
    return Graph("net", nodes, ("resize",))


TABLES = (
    resize(Shape(6, 5, 2), 9, 3),
    resize(Shape(6, 5, 2), 12, 10, half_pixel_centers=True),
    resize(Shape(6, 5, 2), 11, 8, align_corners=True),
    Resize((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4)),
    Resize((2, 2, 5), (0, 4, 4, 4)),
    Resize((3,), (2,)),
)


@pytest.mark.parametrize("op", TABLES, ids=str)
def test_exported_and_read_again(op: Resize) -> None:
    graph = alone(op, Shape(6, 5, 2))
    data = export(graph)
    assert parse(data, "net.onnx").nodes[-1].op == op
    image = real(1, 2, 6, 5)
    want = reference.outputs(graph, image[0].transpose(1, 2, 0))[0].transpose(2, 0, 1)
    assert np.array_equal(session(data).run(None, {"in": image})[0][0], want)
    assert rlt.parse(rlt_writer.to_bytes(graph), "net.rlt") == graph
    assert verify(plan_rows(graph), 1).equal


def test_older_text_has_sizes_and_flags() -> None:
    for corners, centres in product((False, True), repeat=2):
        op = resize(Shape(6, 5, 2), 11, 8, corners, centres)
        text = print_graph(alone(op, Shape(6, 5, 2)))
        words = "height=11 width=8" + " align_corners=true" * corners + " half_pixel_centers=true" * centres
        tables = next(line for line in text.splitlines() if line.startswith("resize")).split(" in ")[1]
        assert parse_graph(text.replace(tables.partition(" : ")[0], words)).nodes[-1].op == op


def test_older_text_is_checked() -> None:
    head = 'rillet 1\ngraph "n"\nin = input : f32 6x5x2\n'
    with pytest.raises(GraphError, match="line 4: size of a resize must be at least 1x1, got 0x8"):
        parse_graph(head + "r = resize in height=0 width=8 : f32 1x8x2\noutput r\n")
    with pytest.raises(Unsupported, match="line 4: resize must make at most 65536 rows"):
        parse_graph(head + "r = resize in height=999999999 width=8 : f32 1x8x2\noutput r\n")
    with pytest.raises(GraphError, match="line 4: resize must have one input, which stands before it"):
        parse_graph(head + "r = resize other height=3 width=8 : f32 1x8x2\noutput r\n")
