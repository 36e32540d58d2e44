"""Winograd's algorithm in whole numbers gives the very sums of the convolution, and is taken only where it may be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rillet.plan.host.planner as planner
import rillet.plan.host.winograd as squares
from conftest import example_counts
from graphs import ROUNDINGS, Builder, random_image
from rillet.backends import reference
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activation, Input
from rillet.ir.types import DType, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.host.winograd import square_weights
from rillet.plan.rows.plan import Kernel, Split
from rillet.targets.host import Host
from test_c import QUIET, check_outputs, run_sanitized
from test_host import RUNNABLE, tiled

HOST = Host("avx2", "avx2", l1_bytes=32 << 10, l2_bytes=256 << 10)
HERE = pytest.mark.skipif("avx2" not in RUNNABLE, reason="this processor has no AVX2 with FMA")
INTO = np.array(
    [
        *([4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]),
        *([0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]),
    ]
)
"""The transform of six values, of the paper (and of kernels/winograd.h)."""
OUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 2]])
"""The way back, the last column twice."""


def layer(
    shape: Shape, channels: int, dtype: DType = DType.I8, seed: int = 0, size: tuple[int, int] = (3, 3), **more: object
) -> Graph:
    b = Builder(np.random.default_rng(seed), dtype)
    b.add(b.conv(channels, size, **more), b.add(Input(), shape=shape))
    return b.graph()


def test_a_square_is_576_times_its_sums_within_the_numbers_that_hold_them() -> None:
    """The worst values of both signs: transforms fit 16 bits, and what comes out is divided without a rest."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.choice([0, 255] if rng.integers(2) else [-128, 127], (6, 6))
        weight = rng.choice([-128, 127, 0, 1], (1, 3, 3, 1)).astype(np.int8)
        turned, into = square_weights(weight).reshape(6, 6), INTO @ values @ INTO.T
        for partly in (INTO @ values, into):
            assert -(2**15) <= partly.min() <= partly.max() < 2**15
        direct = [[int((values[y : y + 3, x : x + 3] * weight[0, :, :, 0]).sum()) for x in range(4)] for y in range(4)]
        assert np.array_equal(OUT @ (into * turned.astype(np.int64)) @ OUT.T, 576 * np.array(direct))
    assert 576 == 9 * 2**6
    assert 9 * 954437177 % 2**32 == 1
    worst = max(abs(row @ np.where(row > 0, 255, 0)) for row in np.kron(INTO, INTO))
    assert worst < 2**15
    assert np.abs(np.kron(np.array(squares.WEIGHTS), np.array(squares.WEIGHTS))).sum(1).max() * 128 < 2**15


@st.composite
def drawn(draw: st.DrawFn) -> Graph:
    """A convolution that may be made so: odd maps, any padding, one to three vectors of 16 channels and more."""
    top, bottom, left, right = (draw(st.integers(0, 2)) for _ in range(4))
    high, wide = draw(st.integers(7, 19)), draw(st.integers(7, 19))
    shape = Shape(high, wide, 16 * draw(st.sampled_from([1, 2, 3, 5, 9])))
    return layer(
        shape,
        draw(st.integers(1, 70)),
        draw(st.sampled_from([DType.I8, DType.U8])),
        draw(st.integers(0, 2**32 - 1)),
        padding=(top, bottom, left, right),
        activation=draw(st.sampled_from([Activation.NONE, Activation.RELU])),
        bias=draw(st.booleans()),
        rounding=draw(st.sampled_from(ROUNDINGS)),
    )


@HERE
@example_counts(10, 200)
def test_it_gives_the_references_values(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By stored transforms and by those that are made while it runs, on one thread and on several."""
    monkeypatch.setattr(planner, "LEAST_SHARED_NS", 0.0)
    monkeypatch.setattr(planner, "LEAST_GAIN", -1.0)
    taken = dict.fromkeys(((kept, split) for kept in (False, True) for split in (Split.NONE, Split.CHANNELS)), 0)

    @settings(max_examples=examples, **QUIET)
    @given(drawn(), st.booleans(), st.integers(1, 3))
    def run(graph: Graph, kept: bool, threads: int) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(squares, "_KEPT_BYTES", 2**30 if kept else 0)
            patched.setattr(squares, "_MACS_PER_NS", 0.1)
            plan = plan_host(graph, HOST, resident=True, threads=threads, slower=0.0)
            for segment in plan.segments:
                for stage in segment.stages:
                    if stage.kernel is Kernel.WINOGRAD and stage.tiling is not None:
                        taken[stage.tiling.halves, stage.split] += 1
            program = check_outputs(graph, plan, [random_image(graph, seed) for seed in range(2)])
            assert program.touched_bytes(random_image(graph)) <= plan.arena_bytes

    run()
    assert sum(taken.values()) > examples // 4, taken


def planned(graph: Graph, host: Host = HOST) -> set[Kernel]:
    """The kernels of a plan that keeps to no memory in particular."""
    return tiled(plan_host(graph, host, resident=True))


def extreme(graph: Graph, weight: int) -> Graph:
    params = {**graph.params, "n1.weight": np.full_like(graph.params["n1.weight"], weight)}
    return Graph(graph.name, graph.nodes, graph.outputs, params)


@HERE
@pytest.mark.parametrize("weight", [127, -127])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_largest_sums_come_out_whole(
    weight: int, kept: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "LEAST_SHARED_NS", 0.0)
    monkeypatch.setattr(planner, "LEAST_GAIN", -1.0)
    monkeypatch.setattr(squares, "_KEPT_BYTES", 2**30 if kept else 0)
    monkeypatch.setattr(squares, "_MACS_PER_NS", 0.1)
    graph = extreme(layer(Shape(13, 13, 112), 32, padding=(0, 0, 0, 0)), weight)
    plan = plan_host(graph, HOST, resident=True, threads=threads)
    (stage,) = (stage for segment in plan.segments for stage in segment.stages)
    assert stage.kernel is Kernel.WINOGRAD and stage.tiling is not None
    assert stage.tiling.halves is kept
    assert stage.split is (Split.NONE if threads == 1 else Split.CHANNELS)
    low, high = graph.nodes[0].type.dtype.integers
    images: list[Array] = [np.full(graph.nodes[0].shape.array, value, np.int8) for value in (low, high)]
    mixed = np.random.default_rng(0).choice([low, high], graph.nodes[0].shape.array).astype(np.int8)
    check_outputs(graph, plan, [*images, mixed])


@HERE
@pytest.mark.parametrize("kept", [True, False])
def test_it_is_clean_under_sanitizers(kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares that stand out of the map, channels that fill no vector, and weights in more chunks than one."""
    monkeypatch.setattr(squares, "_KEPT_BYTES", 2**30 if kept else 0)
    monkeypatch.setattr(squares, "_MACS_PER_NS", 0.1)
    graph = layer(Shape(9, 11, 80), 20)
    plan = plan_host(graph, HOST, resident=True)
    assert tiled(plan) == {Kernel.WINOGRAD}
    image = random_image(graph)
    assert run_sanitized(plan, image, tmp_path) == reference.outputs(graph, image)[0].tobytes()


def test_sums_of_more_than_26_bits_are_made_directly() -> None:
    shape = Shape(28, 28, 128)
    assert Kernel.WINOGRAD in planned(layer(shape, 64))
    assert Kernel.WINOGRAD not in planned(extreme(layer(shape, 64), 127))


@pytest.mark.parametrize(
    ("shape", "changed"),
    [
        (Shape(28, 28, 64), {"size": (3, 5)}),
        (Shape(28, 28, 64), {"stride": (2, 2)}),
        (Shape(28, 28, 64), {"dilation": (2, 2)}),
        (Shape(28, 28, 64), {"groups": 2}),
        (Shape(28, 28, 24), {}),
        (Shape(6, 4, 64), {}),
    ],
)
def test_it_is_for_whole_vectors_under_plain_windows_of_3x3(shape: Shape, changed: dict[str, Any]) -> None:
    assert Kernel.WINOGRAD in planned(layer(Shape(28, 28, 64), 64))
    assert Kernel.WINOGRAD not in planned(layer(shape, 64, **changed))


def test_other_sets_do_without() -> None:
    for kernels in ("avx512", "avxvnni", "neon", "portable"):
        assert Kernel.WINOGRAD not in planned(layer(Shape(28, 28, 64), 64), Host("other", kernels))
