"""Zero buffers against sets of pixels; the laws of tiles."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import networks
from graphs import Builder, graphs
from rillet.analyses.sources.recompute import granularities, recompute
from rillet.errors import GraphError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Add, Concat, Constant, Conv, Input, Pool, PoolKind, Resize, Slice, Window, op_macs, op_window
from rillet.ir.types import DType, Shape
from rillet.models.opening import open_model
from rillet.transforms.fuseconv import fuse, sites

Pixel = tuple[int, int]
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def read(node: Node, source: Shape, pixel: Pixel) -> set[Pixel]:
    """The pixels of a source that one pixel of `node` reads, tap by tap."""
    y, x = pixel
    window = op_window(node.op)
    if source.pixels == 1 and node.shape.pixels > 1:
        return {(0, 0)}
    if isinstance(node.op, Resize):
        return {(node.op.rows[y], node.op.columns[x])}
    if window is None:
        return {pixel}
    found: set[Pixel] = set()
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            row = y * window.stride[0] - window.padding[0] + i * window.dilation[0]
            column = x * window.stride[1] - window.padding[2] + j * window.dilation[1]
            if 0 <= row < source.height and 0 <= column < source.width:
                found.add((row, column))
    return found


def slowly(graph: Graph, target: Node, tile: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
    """MACs of all tiles, values read from inputs, greatest field."""
    macs = reads = 0
    rows_seen: dict[int, set[int]] = {}
    columns_seen: dict[int, set[int]] = {}
    for top in range(0, target.shape.height, tile[0]):
        for left in range(0, target.shape.width, tile[1]):
            needs: dict[str, set[Pixel]] = {node.name: set() for node in graph.nodes}
            needs[target.name] = {
                (y, x)
                for y in range(top, min(top + tile[0], target.shape.height))
                for x in range(left, min(left + tile[1], target.shape.width))
            }
            for node in reversed(graph.nodes):
                macs += op_macs(node.op, graph.input_shapes(node)) // node.shape.pixels * len(needs[node.name])
                for name in node.inputs:
                    source = graph.by_name[name].shape
                    needs[name] |= {place for pixel in needs[node.name] for place in read(node, source, pixel)}
            for node in graph.input_nodes:
                seen = needs[node.name]
                reads += len(seen) * node.shape.channels
                rows_seen.setdefault(top, set()).update(y for y, _ in seen)
                columns_seen.setdefault(left, set()).update(x for _, x in seen)
    return macs, reads, (max(map(len, rows_seen.values())), max(map(len, columns_seen.values())))


def needs_whole(graph: Graph, target: Node) -> bool:
    """True where a layer at or before the target has a window over a full tensor of several pixels."""
    before = {target.name}
    for node in reversed(graph.nodes):
        if node.name in before:
            before |= set(node.inputs)
            window = op_window(node.op)
            sources = [shape for shape in graph.input_shapes(node) if shape.pixels > 1]
            if window is not None and any(window.covers(shape) for shape in sources):
                return True
    return False


def compare(graph: Graph, target: Node, tile: tuple[int, int]) -> None:
    whole = (target.shape.height, target.shape.width)
    if tile != whole and needs_whole(graph, target):
        with pytest.raises(GraphError, match="full tensor"):
            recompute(graph, target.name, tile)
        return
    found = recompute(graph, target.name, tile)
    macs, reads, field = slowly(graph, target, tile)
    once, _, _ = slowly(graph, target, whole)
    values = sum(node.shape.elements for node in graph.input_nodes)
    assert (found.macs, found.macs_once, found.field) == (macs, once, field)
    assert found.input_reads_factor == reads / values


@SETTINGS
@given(graphs(layers=4), st.data())
def test_any_network_needs_the_pixels_of_the_sets(graph: Graph, data: st.DataObject) -> None:
    target = data.draw(st.sampled_from([n for n in graph.nodes if not isinstance(n.op, Input | Constant)]))
    tile = (data.draw(st.integers(1, target.shape.height)), data.draw(st.integers(1, target.shape.width)))
    compare(graph, target, tile)


@SETTINGS
@given(networks(most_pixels=9), st.sampled_from(("", "half", "full")), st.data())
def test_fuse_branches_and_blocks_need_the_pixels_of_the_sets(graph: Graph, variant: str, data: st.DataObject) -> None:
    chosen = tuple(site for site in sites(graph) if site.kind != "fire")
    if variant and chosen:
        graph = fuse(graph, variant, chosen)
    target = data.draw(st.sampled_from(graph.nodes[1:]))
    tile = (data.draw(st.integers(1, target.shape.height)), data.draw(st.integers(1, target.shape.width)))
    compare(graph, target, tile)


@SETTINGS
@given(graphs(layers=4))
def test_the_whole_map_as_one_tile_computes_nothing_twice(graph: Graph) -> None:
    for node in graph.nodes:
        assert recompute(graph, node.name, (node.shape.height, node.shape.width)).factor == 1.0


@pytest.mark.parametrize("model", ["mobilenet_v2:top=false", "mobilenet_v2:fuse=half,top=false", "resnet18"])
def test_smaller_tiles_never_take_fewer_macs(model: str) -> None:
    graph = open_model(model).graph
    for target in [n for n in graph.nodes if isinstance(n.op, Add | Concat) and n.shape.height in (56, 28, 14)][::3]:
        factors = []
        size = target.shape.height
        while True:
            factors.append(recompute(graph, target.name, (size, size)).factor)
            if size % 2:
                break
            size //= 2
        assert factors[0] == 1.0
        assert factors == sorted(factors)
        assert factors[-1] > 1.0


def crosses() -> Graph:
    """Two layers of a row and a column branch, the first at stride 2."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(12, 10, 2))
    for stride in ((2, 2), (1, 1)):
        row = b.add(b.conv(2, (1, 5), stride, groups=2), at)
        column = b.add(b.conv(2, (5, 1), stride, groups=2), at)
        at = b.add(b.conv(2), b.add(Concat(), row, column))
    return b.graph()


@pytest.mark.parametrize("tile", [(1, 1), (2, 3), (6, 1), (4, 4)])
def test_crosses_of_crosses(tile: tuple[int, int]) -> None:
    graph = crosses()
    compare(graph, graph.nodes[-1], tile)


def test_a_skip_costs_nothing_beyond_the_branch() -> None:
    graph = open_model("mobilenet_v2:top=false").graph
    assert recompute(graph, "block3.add", (1, 1)).macs == recompute(graph, "block3.project", (1, 1)).macs


def test_granularities() -> None:
    rows = granularities(open_model("mobilenet_v2:top=false").graph)
    assert list(dict.fromkeys((row.node, row.grid[0]) for row in rows)) == [
        ("head.conv", 7), ("block13.add", 14), ("block6.add", 28), ("block3.add", 56), ("block1.project", 112),
    ]  # fmt: skip
    assert all(row.tile != row.grid for row in rows)
    # A network of squeeze-and-excite blocks can be computed in tiles just before the first of them.
    rows = granularities(open_model("mobilenet_v3_small").graph)
    assert {row.node for row in rows} == {"stem.conv", "block1.depthwise"}


@pytest.mark.parametrize(
    ("node", "tile", "said"),
    [
        ("nothing", (1, 1), "layer must be one of the network's"),
        ("block1.project", (0, 1), "tile must be 1x1 to 56x56, got 0x1"),
        ("block1.project", (1, 57), "tile must be 1x1 to 56x56, got 1x57"),
        ("block1.project", (1, 1), "block1.squeeze needs one"),
    ],
)
def test_what_cannot_be(node: str, tile: tuple[int, int], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        recompute(open_model("mobilenet_v3_small").graph, node, tile)


def test_huge_maps_are_refused_and_not_allocated() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    b.add(Conv(1), b.add(Input(), shape=Shape(1, 2**25, 1)))
    with pytest.raises(GraphError, match="n1: tiles along a map of 33554432 must be at most 0, got 33554432"):
        recompute(b.graph(), "n1", (1, 1))


def test_a_network_of_single_pixels_has_no_tiles() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    pooled = b.add(Pool(PoolKind.MEAN, Window((4, 4))), b.add(Input(), shape=Shape(4, 4, 3)))
    b.add(Slice(0, 2), pooled)
    with pytest.raises(GraphError, match="a map of several pixels"):
        granularities(b.graph())
