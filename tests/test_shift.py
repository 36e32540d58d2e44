"""The rule `shift` against exact fractions, and in C against the reference."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import Builder, random_image
from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import shift, tables
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.errors import GraphError, Unsupported
from rillet.ir.ops import Activate, Activation, Add, Input, Multiply, Pool, PoolKind, Rounding, Window
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.targets.host import this_host

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(INT32, st.integers(0, 31))
def test_rescaling_is_exact_and_half_to_even(value: int, s: int) -> None:
    assert int(shift.rescale(np.array([value]), s)[0]) == round(Fraction(value, 2**s))


def test_halves_go_to_the_even_side() -> None:
    assert shift.rescale(np.array([-7, -5, -3, -1, 1, 3, 5, 7]) * 4, 3).tolist() == [-4, -2, -2, 0, 0, 2, 2, 4]


@given(st.integers(0, 31), st.floats(-9e-7, 9e-7))
def test_a_factor_is_a_power_of_two_as_float32_can_tell(s: int, off: float) -> None:
    assert shift.exponent(2.0**-s * (1 + off)) == s


@pytest.mark.parametrize("scale", [0.2, 0.15, 0.1, 0.2 / 49])
def test_drawn_networks_have_factors_of_a_power_of_two(scale: float) -> None:
    """The mean of one pixel whose scale is large has the factor 1, not 2."""
    out = Builder(np.random.default_rng(0)).shifted(scale)
    assert 0 <= shift.mean_shift(Quant(scale, 0), out, 1) <= 31


@pytest.mark.parametrize("factor", [2.0, 2.0**-32, 0.3, 0.5 * (1 + 2e-6), 0.0, -0.5, float("inf"), float("nan")])
def test_other_factors_are_refused(factor: float) -> None:
    with pytest.raises(GraphError, match=r"rescaling factor must be 2\*\*-s with s from 0 to 31"):
        shift.exponent(factor)


def test_a_convolution_names_the_channel_that_has_another_factor() -> None:
    b = Builder(np.random.default_rng(0))
    b.add(b.conv(4, rounding=Rounding.SHIFT), b.add(Input(), shape=Shape(2, 2, 3)))
    b.params["n1.weight_scale"][2] *= 1.1
    graph = b.graph()
    with pytest.raises(GraphError, match="random: n1: channel 2: rescaling factor must be"):
        reference.run(graph, random_image(graph))
    with pytest.raises(GraphError, match="random: n1: channel 2: rescaling factor must be"):
        Program(plan_rows(graph))


@given(st.floats(1e-6, 1e3), st.integers(-128, 127), st.booleans())
def test_an_addition_under_shared_scales_is_the_sum_of_integers(scale: float, zero: int, subtract: bool) -> None:
    quant = Quant(float(np.float32(scale)), zero)
    left, right = (a - zero for a in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    total = fp.add(left, right, fp.add_constants(quant, quant, quant), subtract)
    assert np.array_equal(total, left - right if subtract else left + right)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_such_additions_in_c(dtype: DType, subtract: bool) -> None:
    b = Builder(np.random.default_rng(3), dtype)
    image = b.add(Input(), shape=Shape(9, 9, 5))
    other = b.add(b.conv(5), image, quant=b.quant(image))
    b.add(Add(Activation.RELU6, subtract=subtract), image, other, same=True)
    graph = b.graph()
    for plan in (plan_rows(graph), plan_host(graph, this_host())):
        assert any("rillet_exact_" in line for line in emit(plan)["net.c"].splitlines())
        program = Program(plan)
        for seed in range(4):
            expected = reference.outputs(graph, random_image(graph, seed))[0]
            assert np.unique(expected).size > 20
            assert np.array_equal(program.run(random_image(graph, seed))[0], expected)


def exact(activation: Activation, x: Fraction) -> Fraction:
    gate = min(max(x + 3, Fraction(0)), Fraction(6)) / 6
    match activation:
        case Activation.HARD_SIGMOID:
            return gate
        case Activation.HARD_SWISH:
            return x * gate
        case _:
            return min(max(x, Fraction(0)), Fraction(6))


@pytest.mark.parametrize("activation", [Activation.HARD_SIGMOID, Activation.HARD_SWISH, Activation.RELU6])
@given(st.floats(1e-3, 1.0), st.floats(1e-3, 1.0), st.integers(-128, 127), st.integers(-128, 127))
def test_tables_are_the_exact_function(
    activation: Activation, scale: float, scale_out: float, zero: int, zero_out: int
) -> None:
    source, out = Quant(float(np.float32(scale)), zero), Quant(float(np.float32(scale_out)), zero_out)
    op = Activate(activation, Rounding.SHIFT)
    made = tables.activation_table(op, source, DType.I8, out, DType.I8)
    for value, got in zip(tables.stored_values(DType.I8).tolist(), made.tolist(), strict=True):
        real = exact(activation, Fraction(source.scale) * (value - zero)) / Fraction(out.scale)
        if abs(real - round(real * 2) / Fraction(2)) > Fraction(1, 10**9):  # beyond what float64 can move over a half
            assert got == min(max(round(real) + zero_out, -128), 127)


def test_functions_without_a_rule_of_fixed_point() -> None:
    quant = Quant(0.1, 0)
    for activation in (Activation.HARD_SIGMOID, Activation.SILU, Activation.SIGN):
        with pytest.raises(Unsupported, match="must be rounded by shift, got double"):
            tables.activation_table(Activate(activation), quant, DType.I8, quant, DType.I8)
    sigmoid = tables.activation_table(
        Activate(Activation.SIGMOID, Rounding.SHIFT), quant, DType.I8, Quant(1 / 256, -128), DType.I8
    )
    values = tables.stored_values(DType.I8)
    assert sigmoid.tolist() == np.clip(np.rint(256 / (1 + np.exp(-0.1 * values))) - 128, -128, 127).tolist()


def test_single_rounding_is_of_convolutions_alone() -> None:
    for make in (
        lambda: Multiply(rounding=Rounding.SINGLE),
        lambda: Activate(Activation.RELU, Rounding.SINGLE),
        lambda: Pool(PoolKind.MEAN, Window(), rounding=Rounding.SINGLE),
    ):
        with pytest.raises(GraphError, match="rounding must be double or shift but for convolutions, got single"):
            make()


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_a_squeeze_and_excite_block_in_shifts(dtype: DType) -> None:
    """Every op that can shift, after one another: the text form keeps the rule, the program gives the same bytes."""
    b, by = Builder(np.random.default_rng(2), dtype), Rounding.SHIFT
    first = b.add(b.conv(6, (3, 3), rounding=by), b.add(Input(), shape=Shape(7, 7, 4)))
    mean = b.shifted(b.quant(first).scale / 49)
    pooled = b.add(Pool(PoolKind.MEAN, Window((7, 7)), rounding=by), first, quant=mean)
    gate = b.add(Activate(Activation.HARD_SIGMOID, by), b.add(b.conv(6, rounding=by), pooled))
    product = b.shifted(b.quant(first).scale * b.quant(gate).scale)
    scaled = b.add(Activate(Activation.SILU, by), b.add(Multiply(rounding=by), first, gate, quant=product))
    last = b.add(b.conv(6, (3, 3), groups=6, rounding=by), scaled)
    b.add(Add(), last, b.add(b.conv(6, rounding=by), scaled, quant=b.quant(last)), same=True)
    graph = b.graph()
    assert parse_graph(print_graph(graph), graph.params) == graph
    program = Program(plan_rows(graph))
    for seed in range(4):
        image = random_image(graph, seed)
        expected = reference.outputs(graph, image)[0]
        assert np.unique(expected).size > 20
        assert np.array_equal(program.push(image)[0], expected)


@pytest.mark.parametrize("s", [0, 1, 7, 31])
def test_sums_at_the_ends_of_32_bits(s: int) -> None:
    b = Builder(np.random.default_rng(4))
    at = b.add(Input(), shape=Shape(3, 3, 2), quant=Quant(1.0, 0))
    at = b.add(b.conv(5, rounding=Rounding.SHIFT), at, quant=Quant(1.0, 7))
    reach = 127 * 2 * 128
    b.params[f"{at}.bias"] = np.array([2**31 - 1 - reach, reach - 2**31, 0, 2**30, -(2**30)], np.int32)
    b.params[f"{at}.weight_scale"][:] = 2.0**-s
    graph = b.graph()
    program = Program(plan_rows(graph))
    for seed in range(3):
        image = random_image(graph, seed)
        assert np.array_equal(program.run(image)[0], reference.outputs(graph, image)[0])
