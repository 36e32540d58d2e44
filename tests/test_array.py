"""The simulated array: its sums are the layer's, and its cycles and traffic those of the closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.analyses.systolic import (
    Convention,
    Dataflow,
    Hardware,
    Product,
    SystolicArray,
    exact_lines,
    is_line,
    lines_of,
    product,
)
from rillet.backends import reference
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.ir.graph import Array
from rillet.ir.ops import Conv, Window
from rillet.ir.types import Shape
from rillet.simulation.array import multiply, simulate

SIDES = st.integers(1, 9)


def int8(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-128, 128, shape).astype(np.int8)


@st.composite
def layers(draw: st.DrawFn, *, lines: bool = False) -> tuple[Conv, Shape]:
    """A convolution of any kind, and its input; `lines`: 1 x K or K x 1, each filter on one channel."""
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    kind = "lines" if lines else draw(st.sampled_from(["any", "pointwise", "depthwise", "grouped", "dense"]))
    groups = draw(st.integers(1, 4)) if kind in ("lines", "depthwise", "grouped") else 1
    channels, filters = groups, groups * draw(st.integers(1, 2))
    if kind == "lines":
        taps = draw(st.integers(2, 5))
        kernel = (1, taps) if draw(st.booleans()) else (taps, 1)
    elif kind != "depthwise":
        channels, filters = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 7))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    if kind == "dense":
        return Conv(filters, Window((height % 4 + 1, width % 4 + 1))), Shape(height % 4 + 1, width % 4 + 1, channels)
    if kind == "pointwise":
        return Conv(filters), Shape(height, width, channels)
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = [draw(st.integers(0, 2)) for _ in range(4)]
    height, width = max(height, extent[0]), max(width, extent[1])
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    window = Window(kernel, stride, (padding[0], padding[1], padding[2], padding[3]), dilation)
    return Conv(filters, window, groups), Shape(height, width, channels)


def check(op: Conv, source: Shape, array: SystolicArray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, weight = int8(rng, *source.array), int8(rng, *op.weight_shape(source))
    zero = int(rng.integers(-128, 128))
    made = simulate(op, image, weight, array, zero)
    real = reference.convolve(image.astype(np.float64) - zero, weight.astype(np.float64), op)
    assert made.sums.dtype == np.int32
    np.testing.assert_array_equal(made.sums, real)

    shape = op.output_shape(source)
    if array.hardware is Hardware.FUSE and is_line(op, source):
        lines = lines_of(op, source)
        cost = exact_lines(lines, array)
        assert made.macs == lines.lines * lines.positions * lines.taps
    else:
        depth = op.window.taps * source.channels // op.groups
        cost = product(Product(shape.pixels, op.out_channels // op.groups, depth, op.groups), array)
        assert made.macs == op.macs(source)
    assert (made.cycles, made.input_reads, made.weight_reads, made.output_writes, made.output_reads) == (
        cost.cycles,
        cost.input_reads,
        cost.weight_reads,
        cost.output_writes,
        cost.output_reads,
    )


def array(dataflow: Dataflow, rows: int, columns: int, double: bool, hardware: Hardware) -> SystolicArray:
    return SystolicArray(rows, columns, dataflow, Convention.EXACT, hardware, double_buffered=double)


CASES = {"sides": st.tuples(SIDES, SIDES), "double": st.booleans(), "seed": st.integers(0, 2**32 - 1)}


@pytest.mark.parametrize("dataflow", Dataflow)
@given(layer=layers(), **CASES)
@settings(max_examples=30, deadline=None)
def test_products(
    dataflow: Dataflow, layer: tuple[Conv, Shape], sides: tuple[int, int], double: bool, seed: int
) -> None:
    check(*layer, array(dataflow, *sides, double, Hardware.SYSTOLIC), seed)


@given(layer=layers(lines=True), **CASES)
@settings(max_examples=30, deadline=None)
def test_lines(layer: tuple[Conv, Shape], sides: tuple[int, int], double: bool, seed: int) -> None:
    check(*layer, array(Dataflow.OS, *sides, double, Hardware.FUSE), seed)


@pytest.mark.slow
@pytest.mark.parametrize("dataflow", Dataflow)
@given(layer=layers(), **CASES)
@settings(max_examples=500, deadline=None)
def test_many_products(
    dataflow: Dataflow, layer: tuple[Conv, Shape], sides: tuple[int, int], double: bool, seed: int
) -> None:
    check(*layer, array(dataflow, *sides, double, Hardware.SYSTOLIC), seed)


@pytest.mark.slow
@given(layer=layers(lines=True), **CASES)
@settings(max_examples=500, deadline=None)
def test_many_lines(layer: tuple[Conv, Shape], sides: tuple[int, int], double: bool, seed: int) -> None:
    check(*layer, array(Dataflow.OS, *sides, double, Hardware.FUSE), seed)


def test_a_product_by_hand() -> None:
    # Two folds of 2 x 2 and 1 x 2 outputs, K = 3: (3 + 2 + 2 - 2) + (3 + 1 + 2 - 2), and a last drain of one row.
    left, right = np.arange(9, dtype=np.int8).reshape(3, 3), np.arange(6, dtype=np.int8).reshape(3, 2)
    made = multiply(left, right, SystolicArray(2, 2))
    np.testing.assert_array_equal(made.sums, [[10, 13], [28, 40], [46, 67]])
    assert made.cycles == 5 + 4 + 1
    # With one set of registers each drain shows.
    assert multiply(left, right, SystolicArray(2, 2, double_buffered=False)).cycles == (5 + 2) + (4 + 1)


@pytest.mark.parametrize(
    ("array", "op", "source", "cycles"),
    [
        # 8 pixels leave in 8 cycles, beside a fold of one pixel that takes one cycle, which leaves in one more.
        (SystolicArray(8, 4), Conv(1), Shape(3, 3, 1), 8 + 8 + 1),
        # Each of 2 groups: 8 weights are loaded in 8 cycles, all but the first time beside a fold of one weight.
        (SystolicArray(8, 4, Dataflow.WS), Conv(2, groups=2), Shape(1, 1, 18), 8 + 8 + 8 + 8 + 1),
        # The same for each of 2 filters that fill the columns.
        (SystolicArray(8, 1, Dataflow.WS), Conv(2), Shape(1, 1, 9), 8 + 8 + 8 + 8 + 1),
        # Lines of 9 places, 2 taps: 4 cycles of drain beside a fold of one place, which takes 2 cycles.
        (
            SystolicArray(4, 4, hardware=Hardware.FUSE),
            Conv(1, Window((1, 2))),
            Shape(1, 10, 1),
            (4 + 1) + (4 + 1) + 4 + 1,
        ),
    ],
)
def test_what_a_small_fold_cannot_hide(array: SystolicArray, op: Conv, source: Shape, cycles: int) -> None:
    check(op, source, array, 0)
    rng = np.random.default_rng(0)
    assert simulate(op, int8(rng, *source.array), int8(rng, *op.weight_shape(source)), array).cycles == cycles


@pytest.mark.slow
def test_sums_are_those_of_32_bits() -> None:
    depth = 2**17 + 3  # -128 x -128 this often is beyond 2^31
    made = multiply(
        np.full((1, depth), -128, np.int8), np.full((depth, 1), -128, np.int8), SystolicArray(1, 1, Dataflow.OS)
    )
    assert made.sums.item() == (2**14 * depth + 2**31) % 2**32 - 2**31
    assert made.cycles == depth + 1


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (Unsupported, {"image": np.zeros((4, 4, 2), np.uint8)}),
        (GraphError, {"weight": np.zeros((3, 1, 1, 3), np.int8)}),
        (GraphError, {"zero_point": 200}),
        (TargetError, {"array": SystolicArray(2048, 2048)}),
    ],
)
def test_bad_input(error: type[Exception], change: dict[str, object]) -> None:
    given: dict[str, object] = {
        "image": np.zeros((4, 4, 2), np.int8),
        "weight": np.zeros((3, 1, 1, 2), np.int8),
        "array": SystolicArray(4, 4),
    }
    with pytest.raises(error, match=r"must|at most"):
        simulate(Conv(3), **(given | change))  # type: ignore[arg-type]


def test_a_layer_too_large_is_refused_before_it_is_laid_out() -> None:
    op = Conv(1, Window((9, 9), padding=(4, 4, 4, 4)))
    with pytest.raises(TargetError, match=r"must see at most 67108864 values, got 84934656"):
        simulate(op, np.zeros((1024, 1024, 1), np.int8), np.zeros((1, 9, 9, 1), np.int8), SystolicArray(4, 4))


def test_a_layer_beyond_the_clock_is_refused() -> None:
    with pytest.raises(TargetError, match=r"must take at most 100 cycles"):
        multiply(np.zeros((20, 4), np.int8), np.zeros((4, 20), np.int8), SystolicArray(1, 1), most_cycles=100)
