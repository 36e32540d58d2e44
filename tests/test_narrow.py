"""Bottleneck buffering of an expansion, counted pixel by pixel, and the Pareto front against all subsets."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import networks
from graphs import Builder, graphs
from rillet.analyses.sources.buffers import buffers
from rillet.analyses.sources.narrow import NarrowOption, front, narrow
from rillet.errors import GraphError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Input, Slice
from rillet.ir.types import DType, Shape
from rillet.models.opening import open_model
from rillet.transforms.fold import fold
from rillet.transforms.fuseconv import fuse, sites
from test_recompute import read

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
ZOO = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mnasnet_b1", "efficientnet_lite0",
    "efficientnet_lite1", "efficientnet_lite2", "fd_mobilenet", "microbotnet", "mobilenet_v2:fuse=half",
    "mobilenet_v2:fuse=full", "mobilenet_v3_large:fuse=half",
)  # fmt: skip


def channels_read(graph: Graph, value: str, channels: range) -> list[tuple[Node, range]]:
    """The layers that read some channels of an expansion, through slices and activations, and which."""
    found: list[tuple[Node, range]] = []
    for reader in graph.consumers[value]:
        if isinstance(reader.op, Conv):
            found.append((reader, channels))
        elif isinstance(reader.op, Slice):
            found += channels_read(graph, reader.name, channels[reader.op.start : reader.op.stop])
        else:
            found += channels_read(graph, reader.name, channels)
    return found


def slowly(graph: Graph, option: NarrowOption) -> int:
    """Extra MACs: for each row of the readers, each value of the expansion that it reads is made; once it is free."""
    node = graph.by_name[option.expansion]
    readers = channels_read(graph, node.name, range(node.shape.channels))
    made = 0
    ever: set[tuple[int, int, int]] = set()
    for y in range(readers[0][0].shape.height):
        row = {
            (place, channel)
            for reader, channels in readers
            for x in range(reader.shape.width)
            for place in read(reader, node.shape, (y, x))
            for channel in channels
        }
        made += len(row)
        ever |= {(*place, channel) for place, channel in row}
    return (made - len(ever)) * graph.by_name[node.inputs[0]].shape.channels


@SETTINGS
@given(networks(most_pixels=9), st.sampled_from(("", "half", "full")))
def test_expansions_done_again(graph: Graph, variant: str) -> None:
    chosen = tuple(site for site in sites(graph) if site.kind != "fire")
    graph = fuse(graph, variant, chosen) if variant and chosen else graph
    for option in narrow(graph).options:
        if graph.by_name[option.expansion].op.groups == 1:  # type: ignore[union-attr]
            assert option.extra_macs == slowly(fold(graph), option)


@SETTINGS
@given(graphs(layers=6))
def test_any_network_has_a_front(graph: Graph) -> None:
    found = narrow(graph)
    assert found.wide_values == sum(one.values for one in buffers(graph))
    points = found.front
    assert points[0].extra_macs == 0
    assert [p.values for p in points] == sorted({p.values for p in points}, reverse=True)
    assert [p.extra_macs for p in points] == sorted({p.extra_macs for p in points})
    assert points[-1].values == found.narrow_values + found.window_values
    for option in found.options:
        assert option.saved_values > 0
        assert 0 <= option.extra_macs <= option.extra_macs_steady


OPTIONS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=8)


@SETTINGS
@given(OPTIONS)
def test_the_front_is_what_no_subset_beats(options: list[tuple[int, int]]) -> None:
    named = {str(i): option for i, option in enumerate(options)}
    points = front(1000, 100, named)
    every = set()
    for taken in product((False, True), repeat=len(options)):
        saved, extra = (sum(o[k] for o, t in zip(options, taken, strict=True) if t) for k in (0, 1))
        every.add((1000 - saved, extra))
    best = {p for p in every if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in every)}
    assert {(p.values, p.extra_macs) for p in points} == best
    for p in points:
        assert p.values == 1000 - sum(named[name][0] for name in p.narrow)
        assert p.extra_macs == sum(named[name][1] for name in p.narrow)
        assert p.factor == (100 + p.extra_macs) / 100
        # A corner is a point that some price of a value makes the cheapest.
    corners = [p for p in points if p.corner]
    slopes = [Fraction(b.extra_macs - a.extra_macs, a.values - b.values) for a, b in pairwise(corners)]
    assert slopes == sorted(slopes)
    assert (points[0].corner, points[-1].corner) == (True, True)
    for price in slopes:
        cheapest = min(p.extra_macs + price * p.values for p in points)
        assert min(p.extra_macs + price * p.values for p in corners) == cheapest


@pytest.mark.parametrize("model", ZOO)
def test_every_network_with_expansions_has_a_narrow_side(model: str) -> None:
    found = narrow(open_model(model).graph)
    assert found.options
    assert len(found.front) > len(found.options)
    assert found.front[-1].values < found.wide_values == found.front[0].values


def test_networks_without_expansions_have_none() -> None:
    for model in ("vgg16", "resnet18", "squeezenet1_0"):
        found = narrow(open_model(model).graph)
        assert (found.options, len(found.front)) == ((), 1)


def test_an_expansion_that_something_else_reads_is_no_option() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    wide = b.add(b.conv(8), b.add(Input(), shape=Shape(6, 6, 2)))
    deep = b.add(b.conv(8, (3, 3), groups=8), wide)
    assert [option.expansion for option in narrow(b.graph(deep)).options] == [wide]
    assert narrow(b.graph(deep, wide)).options == ()
    b.add(b.conv(3), wide)
    assert narrow(b.graph()).options == ()


def test_a_front_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rillet.plan.pipeline.pareto.MOST_POINTS", 100)
    with pytest.raises(GraphError, match="at most 100 points, got"):
        front(10**9, 1, {str(i): (2**i, 2**i) for i in range(12)})
