"""Results beyond 32 bits saturate: the rules against Python's integers, and graphs with scales of any size in C."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import Builder, random_image
from rillet.arithmetic import fixed_point as fp
from rillet.backends import reference
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Conv,
    Input,
    Multiply,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Window,
)
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.targets.host import Host
from test_c import check_outputs
from test_host import HOSTS

INT32 = st.integers(-(2**31), 2**31 - 1)
FACTORS = st.floats(-60, 100).map(lambda power: 2.0**power)
"""2**31 and more fill any byte with anything but 0; less than 2**-32 leaves nothing of 32 bits."""
BYTE = (-383, 383)
"""No byte less its zero point is further from 0."""
SCALES = st.floats(-149, 127).map(lambda power: float(np.float32(2.0**power)))


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


def parts(factor: float) -> tuple[int, int]:
    """Mantissa of 31 bits and power of two, whatever its size."""
    fraction, power = math.frexp(factor)
    mantissa = math.floor(Fraction(fraction) * 2**31 + Fraction(1, 2))
    return (mantissa // 2, power + 1) if mantissa == 2**31 else (mantissa, power)


def doubled(value: int, factor: float) -> int:
    """The rule `double` without an end to integers; a factor of less than 2**-32 is 0."""
    mantissa, power = parts(factor)
    if power < -31:
        return 0
    return half_away(Fraction(half_up(Fraction(value * 2 ** max(power, 0) * mantissa, 2**31)), 2 ** max(-power, 0)))


def singly(value: int, factor: float) -> int:
    """The rule `single` likewise."""
    mantissa, power = parts(factor)
    return 0 if power < -31 else half_up(value * mantissa * Fraction(2) ** (power - 31))


def within(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


@settings(max_examples=1000)
@given(INT32, FACTORS)
def test_either_rounding_is_the_exact_one_clamped(value: int, factor: float) -> None:
    k = fp.multiplier(factor)
    values = np.array([value])
    for got, exact in (
        (fp.multiply_double(values, k.mantissa, k.shift), doubled(value, factor)),
        (fp.multiply_single(values, k.mantissa, k.shift), singly(value, factor)),
    ):
        assert -(2**31) <= int(got[0]) < 2**31
        assert within(int(got[0]), *BYTE) == within(exact, *BYTE)


@given(st.integers(-255, 255), SCALES, SCALES, st.integers(-128, 127))
def test_bytes_of_another_scale(value: int, scale: float, out: float, zero: int) -> None:
    """Of a requantisation, and of a concatenation, whose float32 products may be far beyond 32 bits, too."""
    expected = within(doubled(value, scale / out) + zero, -128, 127)
    got = fp.requantize(np.array([value]), Quant(scale, 0), Quant(out, zero))
    assert within(int(got[0]), -128, 127) == expected
    joined = int(fp.concatenated(np.array([value]), Quant(scale, 0), Quant(out, zero))[0])
    exact = half_away(Fraction(scale) / Fraction(out) * value) + zero
    assert abs(within(joined, -128, 127) - within(exact, -128, 127)) <= 1


@given(st.integers(-255, 255), st.integers(-255, 255), SCALES, SCALES, SCALES)
def test_products_and_sums_of_any_scales(a: int, b: int, left: float, right: float, out: float) -> None:
    """Scales whose product float32 cannot hold, too."""
    quants = Quant(left, 0), Quant(right, 0), Quant(out, 0)
    k = fp.product_multiplier(*quants)
    product = int(fp.multiply_double(np.array([a * b]), k.mantissa, k.shift)[0])
    exact = Fraction(left) * Fraction(right) / Fraction(out) * a * b
    if Fraction(left) * Fraction(right) >= Fraction(2) ** -126:  # else float32 has lost some of it
        assert abs(within(product, *BYTE) - within(half_away(exact), *BYTE)) <= 1
    total = int(fp.add(np.array([a]), np.array([b]), fp.add_constants(*quants), False)[0])
    exact = (Fraction(left) * a + Fraction(right) * b) / Fraction(out)
    # Each side is rounded to 2**-19 of the larger scale, which may be many steps of the result.
    doubt = 1 + Fraction(max(left, right)) / Fraction(out) / 2**19
    assert within(math.floor(exact - doubt), *BYTE) <= within(total, *BYTE) <= within(math.ceil(exact + doubt), *BYTE)


RATIOS = [2.0**power for power in (-40, -8.3, -1, 0, 1.7, 15.2, 22.6, 23, 24, 26.4, 29.9, 30, 31, 33.7, 70, 126)]


def extremes(dtype: DType, shift_by: int) -> Graph:
    """Convolutions with a channel for each ratio of scales, and everything else that rescales at some of them."""
    b = Builder(np.random.default_rng(shift_by), dtype)
    low, _ = dtype.integers
    image = b.add(Input(), shape=Shape(5, 6, 4), quant=Quant(1.0, low + 131))
    outs: list[str] = []

    def out(ratio: float) -> Quant:
        return Quant(float(np.float32(min(max(1 / ratio, 2.0**-149), 2.0**127))), int(b.rng.integers(low, low + 256)))

    for op in (
        b.conv(len(RATIOS)),
        b.conv(len(RATIOS), (3, 3), activation=Activation.RELU),
        b.conv(len(RATIOS), rounding=Rounding.SINGLE),
        b.conv(4, (3, 3), groups=4),
        b.conv(4, groups=4, rounding=Rounding.SINGLE),
    ):
        channels = op.out_channels
        # uint8 weights have one scale.
        ratios = [RATIOS[(i + shift_by) % len(RATIOS)] for i in range(channels)]
        made = b.add(op, image, quant=out(1.0))
        scales = ratios if dtype is DType.I8 else [ratios[0]] * channels
        b.params[f"{made}.weight_scale"] = np.array(scales, np.float32)
        outs.append(made)
    for i, ratio in enumerate(RATIOS):
        if i % 4 != shift_by % 4:
            continue
        outs.append(b.add(Multiply(), image, image, quant=out(ratio)))
        outs.append(b.add(Add(subtract=bool(i & 4)), image, outs[3], quant=out(ratio)))
        outs.append(b.add(Add(), image, image, quant=out(ratio)))
        outs.append(b.add(Requantize(), image, quant=out(ratio)))
        outs.append(b.add(Activate(Activation.RELU6), image, quant=out(ratio)))
        outs.append(b.add(Pool(PoolKind.MEAN, Window((5, 6))), image, quant=out(ratio)))
        if dtype is DType.U8:
            outs.append(b.add(Concat(), image, image, quant=out(ratio)))
    return b.graph(*outs)


def exact_value(graph: Graph, name: str, values: dict[str, np.ndarray]) -> np.ndarray | None:
    """What a value must be, in Python's integers; None for a sum, a mean and a concatenation."""
    node = graph.by_name[name]
    sources = [(values[s].astype(int), graph.by_name[s].type.quant) for s in node.inputs]
    (stored, quant), out = sources[0], node.type.quant
    assert out is not None
    assert quant is not None
    rule, factors, activation = doubled, [quant.scale / out.scale], Activation.NONE
    match node.op:
        case Conv():
            weight = graph.params[f"{name}.weight"].astype(int)
            zero = int(graph.params[f"{name}.weight_zero_point"][0]) if node.op.weights is DType.U8 else 0
            sums = reference.convolve((stored - quant.zero_point).astype(float), (weight - zero).astype(float), node.op)
            whole = sums.astype(int) + (graph.params[f"{name}.bias"].astype(int) if node.op.bias else 0)
            factors = [float(s) * quant.scale / out.scale for s in graph.params[f"{name}.weight_scale"]]
            rule = singly if node.op.rounding is Rounding.SINGLE else doubled
            activation = node.op.activation
        case Multiply():
            other, second = sources[1]
            assert second is not None
            whole = (stored - quant.zero_point) * (other - second.zero_point)
            factors = [quant.scale * second.scale / out.scale]
        case Requantize():
            whole = stored - quant.zero_point
        case Activate():
            whole, activation = stored - quant.zero_point, node.op.activation
        case _:
            return None
    low, high = node.type.dtype.integers
    bounds = activation.clamp or (-math.inf, math.inf)
    if bounds[0] == 0:
        low = max(low, out.zero_point)
    if bounds[1] != math.inf:
        high = min(high, out.zero_point + half_up(Fraction(bounds[1]) / Fraction(out.scale)))
    made = [
        within(rule(int(v), factors[i % len(factors)]) + out.zero_point, low, high)
        for i, v in enumerate(whole.reshape(-1))
    ]
    return np.array(made).reshape(whole.shape)


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
@pytest.mark.parametrize("shift_by", range(len(RATIOS)))
def test_the_reference_is_exact_at_any_scale(dtype: DType, shift_by: int) -> None:
    graph = extremes(dtype, shift_by)
    values = reference.run(graph, random_image(graph, shift_by))
    checked = 0
    for name in graph.outputs:
        expected = exact_value(graph, name, values)
        if expected is not None:
            assert np.array_equal(values[name], expected), name
            checked += 1
    assert checked >= 5 + 3 * 4


def check_in_c(dtype: DType, host: Host | None, shift_by: int) -> None:
    graph = extremes(dtype, shift_by)
    plan = plan_rows(graph) if host is None else plan_host(graph, host)
    check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])


@pytest.mark.parametrize(("dtype", "host"), [(DType.U8, None), (DType.I8, HOSTS[-1])], ids=["rows", "host"])
def test_c_saturates_too(dtype: DType, host: Host | None) -> None:
    check_in_c(dtype, host, 3)


@pytest.mark.slow
@pytest.mark.parametrize("host", [None, *HOSTS], ids=lambda h: h.name if h else "rows")
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_c_saturates_at_every_ratio(dtype: DType, host: Host | None) -> None:
    for shift_by in range(len(RATIOS)):
        check_in_c(dtype, host, shift_by)


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_what_float32_holds_below_32_bits(sign: int) -> None:
    """Under the rule `shift` by 0: float32 makes 2**31 of the greatest sums, which processors take for the least."""
    b = Builder(np.random.default_rng(4))
    at = b.add(Input(), shape=Shape(3, 17, 2), quant=Quant(1.0, -128))
    at = b.add(b.conv(5, bias=True, rounding=Rounding.SHIFT), at, quant=Quant(1.0, 7))
    b.params[f"{at}.weight"] = np.full_like(b.params[f"{at}.weight"], sign)
    b.params[f"{at}.bias"] = np.full(5, sign * (2**31 - 1 - 2 * 255), np.int32)
    b.params[f"{at}.weight_scale"][:] = 1.0
    graph = b.graph()
    image = np.full((3, 17, 2), 127, np.int8)
    assert (reference.outputs(graph, image)[0] == (127 if sign > 0 else -128)).all()
    check_outputs(graph, plan_host(graph, HOSTS[-1]), [image])


@pytest.mark.parametrize("scale", [1e-46, 1e39])
def test_scales_beyond_float32_are_refused(scale: float) -> None:
    with pytest.raises(GraphError, match="scale must be within what float32 holds, got"):
        Quant(scale, 0)
