"""The rounding rules against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import tables
from rillet.errors import GraphError
from rillet.ir.ops import Activation
from rillet.ir.types import DType, Quant

INT32 = st.integers(-(2**31), 2**31 - 1)
MANTISSA = st.integers(2**30, 2**31 - 1)


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


@given(INT32, MANTISSA, st.integers(-31, 0))
def test_double_rounding(value: int, mantissa: int, shift: int) -> None:
    high = half_up(Fraction(value * mantissa, 2**31))
    expected = half_away(Fraction(high, 2**-shift))
    assert int(fp.multiply_double(np.array([value]), mantissa, shift)[0]) == expected


@given(st.integers(-(2**20), 2**20), MANTISSA, st.integers(1, 10))
def test_double_rounding_scales_up_first(value: int, mantissa: int, shift: int) -> None:
    expected = half_up(Fraction(value * 2**shift * mantissa, 2**31))
    assert int(fp.multiply_double(np.array([value]), mantissa, shift)[0]) == expected


@given(st.integers(-(2**24), 2**24), MANTISSA, st.integers(-31, 5))
def test_single_rounding(value: int, mantissa: int, shift: int) -> None:
    expected = half_up(Fraction(value * mantissa, 2 ** (31 - shift)))
    assert int(fp.multiply_single(np.array([value]), mantissa, shift)[0]) == expected


@given(st.floats(1e-9, 1e6))
def test_multiplier_is_as_close_as_31_bits_allow(real: float) -> None:
    made = fp.multiplier(real)
    value = Fraction(made.mantissa) * Fraction(2) ** (made.shift - 31)
    assert abs(value - Fraction(real)) <= Fraction(real) / 2**31
    assert 2**30 <= made.mantissa < 2**31


@pytest.mark.parametrize("real", [float("nan"), float("inf"), -1.0])
def test_multiplier_refuses_what_is_no_scale(real: float) -> None:
    with pytest.raises(GraphError, match="rescaling factor must be a finite positive number"):
        fp.multiplier(real)


def test_multipliers_at_the_ends() -> None:
    assert fp.multiplier(0.0) == fp.multiplier(1e-12) == fp.Multiplier(0, 0)
    assert fp.multiplier(1e30) == fp.Multiplier(2**31 - 1, 30)
    assert fp.multiplier(1 - 2**-40) == fp.Multiplier(2**30, 1)


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=5), st.integers(1, 50))
def test_average_rounds_half_away(sums: list[int], count: int) -> None:
    expected = [half_away(Fraction(total, count)) for total in sums]
    assert fp.average(np.array(sums), count).tolist() == expected


@given(st.integers(1, 5000), st.floats(0.01, 10.0), st.floats(0.01, 10.0))
def test_mean_multiplier_holds_the_count(count: int, source: float, out: float) -> None:
    made = fp.mean_multiplier(Quant(source, 0), Quant(out, 0), count)
    value = made.mantissa * 2.0 ** (made.shift - 31)
    assert value == pytest.approx(source / out / count, rel=1e-8)


def test_clamps() -> None:
    quant = Quant(0.05, -100)
    assert fp.activation_clamp(Activation.NONE, quant, DType.I8) == fp.Clamp(-128, 127)
    assert fp.activation_clamp(Activation.RELU, quant, DType.I8) == fp.Clamp(-100, 127)
    assert fp.activation_clamp(Activation.RELU6, quant, DType.I8) == fp.Clamp(-100, 20)
    assert fp.activation_clamp(Activation.RELU_N1_TO_1, quant, DType.I8) == fp.Clamp(-120, -80)
    with pytest.raises(GraphError, match="fused activation must be a clamp, got silu"):
        fp.activation_clamp(Activation.SILU, quant, DType.I8)


def test_accumulators_that_could_overflow_are_refused() -> None:
    weight = np.full((1, 140000), 127)
    fp.check_accumulator(fp.signed_sums(weight[:, :130000]), None, DType.I8, 0)
    with pytest.raises(GraphError, match="accumulator must fit 32 bits, channel 0 can reach"):
        fp.check_accumulator(fp.signed_sums(weight), None, DType.I8, 0)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_sums_of_either_sign(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts that are widened one after another, and where the least int8 has no positive of its type."""
    monkeypatch.setattr(fp, "_AT_ONCE", 100)
    weight = np.random.default_rng(0).integers(-128, 128, (9, 3, 3, 5)).astype(dtype)
    weight[4] = -128
    rows = weight.reshape(9, -1).astype(np.int64)
    plus, minus = fp.signed_sums(weight)
    assert plus.tolist() == [sum(w for w in row if w > 0) for row in rows.tolist()]
    assert minus.tolist() == [sum(w for w in row if w < 0) for row in rows.tolist()]


def test_softmax_adds_up() -> None:
    quant = Quant(0.1, 0)
    values = np.array([[[0, 10, -20, 12]]])
    stored = tables.softmax(values, tables.softmax_table(quant, 1.0), DType.I8)
    real = np.exp(0.1 * values)
    assert np.abs((stored + 128) / 256 - real / real.sum()).max() <= 0.501 / 256


@pytest.mark.parametrize(
    ("dtype", "scale", "beta", "values", "expected"),
    [
        (DType.I8, 0.019977303221821785, 1.0, [-78, -76, 52, 71, -47, 14], [-122, -122, -48, -12, -117, -91]),
        (DType.U8, 0.05217720940709114, 0.5, [19, 32], [107, 150]),
    ],
)
def test_softmax_near_a_half(dtype: DType, scale: float, beta: float, values: list[int], expected: list[int]) -> None:
    """LiteRT's bytes where float32 arithmetic falls on the other side of a half: found by random softmaxes."""
    table = tables.softmax_table(Quant(scale, 0), beta)
    assert tables.softmax(np.array(values), table, dtype).tolist() == expected


def test_quantising_saturates_whatever_the_number() -> None:
    values = np.array([-3e38, -1.0, 0.0, 1.0, 3e38], np.float32)
    assert fp.quantize(values, Quant(1e-6, 3), DType.I8).tolist() == [-128, -128, 3, 127, 127]
