"""Foldings: none beats them, by brute force over all divisors (or all numbers), and the interval search is exact."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.errors import TargetError
from rillet.plan.pipeline.folding import Folding, Layers, Work, divisors, foldings, least

small = st.integers(1, 8)


@st.composite
def works(draw: st.DrawFn) -> Work:
    taps = draw(st.sampled_from((1, 4, 9)))
    return Work(draw(small), draw(small) * taps, taps, draw(small) * draw(small))


def brute(work: Work, interval: int, ceil: bool, most_cycles: int | None) -> int | None:
    """Fewest multipliers within the interval, over every triple."""
    best = None
    for lanes in (n for n in range(1, work.pixels + 1) if work.pixels % n == 0):
        for p in range(1, work.outputs + 1):
            for q in range(1, work.reduction + 1):
                if not ceil and (work.outputs % p or work.reduction % q):
                    continue
                cycles = -(-work.outputs // p) * -(-work.reduction // q)
                fast = cycles * (work.pixels // lanes) <= interval
                if fast and (most_cycles is None or cycles <= most_cycles):
                    best = min(best or p * q * lanes, p * q * lanes)
    return best


@settings(deadline=None)
@given(works(), st.booleans(), st.sampled_from((None, 1, 7)), st.integers(1, 2000))
def test_no_folding_has_fewer_multipliers(work: Work, ceil: bool, most_cycles: int | None, interval: int) -> None:
    found = [f.multipliers for f in foldings(work, ceil, most_cycles) if f.interval <= interval]
    assert (min(found) if found else None) == brute(work, interval, ceil, most_cycles)


@given(works(), st.booleans(), st.sampled_from((None, 5)))
def test_a_folding_does_the_whole_work(work: Work, ceil: bool, most_cycles: int | None) -> None:
    kept = foldings(work, ceil, most_cycles)
    for one, other in pairwise(kept):
        assert one.multipliers < other.multipliers and one.interval > other.interval
    for f in kept:
        assert f.lanes * f.firings == work.pixels
        assert -(-work.outputs // f.outputs) * -(-work.reduction // (f.inputs * f.taps)) == f.cycles
        assert f.multipliers * f.interval == work.macs or (ceil and f.multipliers * f.interval > work.macs)
        if not ceil:
            assert work.taps % f.taps == 0 and (work.reduction // work.taps) % f.inputs == 0


def test_lanes_only_where_channels_and_taps_do_not_take_the_factor() -> None:
    # 16 pixels, 6 products each: 6 multipliers need no lane, 12 need 2, 4 need 2 (6 has one factor 2 only).
    lanes = {f.multipliers: f.lanes for f in foldings(Work(2, 3, 1, 16))}
    assert (lanes[6], lanes[12], lanes[4], lanes[1]) == (1, 2, 2, 1)


def test_divisors() -> None:
    assert divisors(6, 4) == (1, 2, 3, 4, 6, 8, 12, 24)
    assert divisors(1) == (1,)
    assert divisors(97, 97) == (1, 97, 97**2)


@settings(max_examples=30, deadline=None)
@given(st.lists(works(), min_size=1, max_size=4), st.integers(1, 400))
def test_the_least_interval_within_a_budget(layers: list[Work], multipliers: int) -> None:
    net = Layers(tuple(f"n{i}" for i in range(len(layers))), tuple(foldings(work) for work in layers))

    def used(interval: int) -> int:
        return sum(f.multipliers for f in net.at(interval))

    if multipliers < len(layers):
        with pytest.raises(TargetError, match=f"multipliers must be at least {len(layers)} .* got {multipliers}"):
            net.within(multipliers)
        return
    found = net.within(multipliers)
    assert used(found) <= multipliers
    assert found == 1 or all(used(i) > multipliers for i in range(max(1, found - 500), found))


def test_an_interval_that_no_folding_reaches_is_refused() -> None:
    net = Layers(("a",), ((Folding(1, 1, 1, 1, 6, 7),),))
    with pytest.raises(TargetError, match="interval must be at least 42 cycles for this network, got 41"):
        net.at(41)
    with pytest.raises(TargetError, match="a: weights of one multiplier"):
        Layers(("a",), (foldings(Work(2, 1, 1, 1), False, 0),))


def test_least() -> None:
    assert least([1, 3, 5, 9], lambda i: i >= 4) == 5
    assert least([1, 3], lambda _: True) == 1
    assert least([1, 3], lambda _: False) == 3
