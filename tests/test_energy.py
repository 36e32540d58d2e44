"""Energy: reads of weights and activations against plain counting, schedules, bands, and what does not go together."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import networks
from rillet.analyses.energy import Energy, Traffic, energy, window_values
from rillet.analyses.memory import stored_as
from rillet.analyses.sources.microjoule import Verdict, source_003, verdict
from rillet.analyses.streamed import of_rows, tiles
from rillet.errors import TargetError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Input, Window
from rillet.ir.types import Shape, TensorType
from rillet.models.opening import open_model
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.plan.rows.timing import Tile, Timing
from rillet.report import energy as report
from rillet.report.tables import as_markdown
from rillet.targets import technology
from rillet.transforms.fold import fold

NM45 = technology.load("45nm")


def one_layer(shape: Shape, conv: Conv) -> Graph:
    nodes = (
        Node("input", Input(), (), TensorType(shape)),
        Node("conv", conv, ("input",), TensorType(conv.output_shape(shape))),
    )
    return Graph("one", nodes, ("conv",))


def part(found: Energy, name: str):
    return next(p for p in found.parts if p.name == name)


sides = st.integers(1, 4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_windows_read_what_counting_finds(data: st.DataObject) -> None:
    kernel, stride = (data.draw(st.tuples(sides, sides)) for _ in range(2))
    dilation = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    window = Window(kernel, stride, padding, dilation)
    source = Shape(data.draw(st.integers(7, 12)), data.draw(st.integers(7, 12)), data.draw(sides))
    height, width = window.output(source)
    read = 0
    for y in range(height):
        for x in range(width):
            for r in range(kernel[0]):
                for c in range(kernel[1]):
                    row = y * stride[0] - padding[0] + r * dilation[0]
                    column = x * stride[1] - padding[2] + c * dilation[1]
                    read += 0 <= row < source.height and 0 <= column < source.width
    assert window_values(window, source, Shape(height, width, 5)) == read * source.channels


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from((1, 4, 8)))
def test_tiles_are_the_firings_of_the_plan(graph: Graph, tile: int) -> None:
    timing = Timing(graph, Tile(tile))
    for node in graph.nodes:
        assert tiles(node.shape, tile) == timing.tiles(node.name)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_parts_add_up_and_bands_hold_the_value(graph: Graph) -> None:
    for schedule in ("layerwise", "stream"):
        found = energy(graph, NM45, schedule=schedule)
        assert found.total_uj == pytest.approx(sum(p.uj for p in found.parts))
        assert found.low_uj < found.total_uj < found.high_uj
        assert part(found, "additions").count == graph.macs
        assert all(p.low_uj <= p.uj <= p.high_uj and p.count > 0 for p in found.parts)
        for sums in ("uj", "low_uj", "high_uj"):
            layers = sum(getattr(layer, sums) for layer in found.layers)
            assert layers == pytest.approx(sum(getattr(p, sums) for p in found.parts))


def test_one_layer_by_hand() -> None:
    # 10 x 10 x 4 by 3x3 to 6 channels, padded: 216 weights, 6 biases of 32 bits, 100 pixels, 10 rows of 2 tiles.
    graph = one_layer(Shape(10, 10, 4), Conv(6, Window((3, 3), padding=(1, 1, 1, 1))))
    found = energy(graph, NM45, schedule="layerwise")
    counts = {p.name: (p.by, p.count) for p in found.parts}
    assert counts == {
        "multiplications": ("int8_mult", 21_600),
        "additions": ("int32_add", 21_600),
        "rescaling": ("int32_mult", 600),
        "weights, from DRAM": ("dram", 216 * 8 + 6 * 32),
        "weights, into the buffer": ("sram_8KB", 1920),
        "weights, read": ("sram_8KB", 20 * 1920),
        "activations, read": ("sram_8KB", 28 * 28 * 4 * 8),
        "activations, written": ("sram_8KB", (400 + 600) * 8),
    }
    assert part(found, "weights, from DRAM").uj == pytest.approx(1920 / 64 * 1950e-6)
    assert part(found, "weights, from DRAM").low_uj == pytest.approx(1920 / 64 * 1300e-6)


@pytest.mark.parametrize("name", ["mobilenet_v2:resolution=96", "resnet18:resolution=64", "squeezenet1_1"])
def test_weights_are_read_at_least_once_and_at_most_once_a_pixel(name: str) -> None:
    graph = open_model(name).graph
    layerwise, stream = (energy(graph, NM45, schedule=schedule) for schedule in ("layerwise", "stream"))
    once = part(layerwise, "weights, from DRAM").count
    macs = 8 * graph.macs
    biases = 32 * sum(n.shape.elements for n in fold(graph).nodes if isinstance(n.op, Conv))
    assert once < part(layerwise, "weights, read").count <= part(stream, "weights, read").count <= macs + biases
    # The same values pass through windows either way.
    assert part(stream, "activations, read").count <= part(layerwise, "activations, read").count


def test_a_plan_of_wider_tiles_reads_weights_less_often() -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=96").graph
    stored = stored_as(fold(graph), 8)
    tight, fast = plan_rows(stored), plan_rows(stored, objective="time")
    reads = [
        part(energy(graph, NM45, schedule="stream", plan=of_rows(p)), "weights, read").count for p in (tight, fast)
    ]
    assert reads[1] < reads[0]
    assert plan_layerwise(stored).arena_bytes > fast.arena_bytes


def test_narrow_weights_cost_less_and_ternary_ones_take_no_multiplication() -> None:
    graph = open_model("microbotnet:width=0.32").graph
    eight, four, two = (energy(graph, NM45, weight_bits=bits) for bits in (8, 4, 2))
    assert eight.total_uj > four.total_uj > two.total_uj
    assert part(four, "multiplications") == part(eight, "multiplications")
    assert not two.of("multiplications")
    mixed = energy(graph, NM45, weight_bits={"block10.project": 2})
    gone = part(eight, "multiplications").count - part(mixed, "multiplications").count
    project = graph.by_name["block10.project"]
    assert isinstance(project.op, Conv)
    assert gone == project.op.macs(graph.input_shapes(project)[0])
    assert 7.8 < mixed.weight_bits < 8


def test_floats_are_not_rescaled() -> None:
    graph = open_model("microbotnet:width=0.32").graph
    real = energy(graph, technology.load("7nm"), bits="bf16", accumulator="fp32")
    assert (real.bits, real.accumulator) == ("bf16", "fp32")
    assert not real.of("rescaling")
    assert part(real, "multiplications").by == "bf16_mult"
    assert part(real, "multiplications").uj == pytest.approx(782_368 * 0.21e-6)


def test_large_maps_lie_in_dram_and_large_layers_go_in_passes() -> None:
    found = energy(open_model("vgg16").graph, NM45)
    assert any("maps of 6,427,136 bytes lie in DRAM" in note for note in found.notes)
    assert any("block8.conv" in note and "passes" in note for note in found.notes)
    assert part(found, "activations, written to DRAM").count < part(found, "activations, read from DRAM").count
    assert part(found, "weights, from DRAM").count < 8 * 138_357_544 * 1.01


def test_systolic_traffic_is_charged_as_it_is_counted() -> None:
    graph = one_layer(Shape(10, 10, 4), Conv(6, Window((3, 3), padding=(1, 1, 1, 1))))
    traffic = Traffic(input_reads=3600, weight_reads=432, output_writes=600, output_reads=100, dram_bytes=1216)
    found = energy(graph, NM45, schedule="systolic", traffic={"conv": traffic}, activation_memory="sram_32KB")
    moved = {p.name: (p.by, p.count) for p in found.parts if p.unit == "bits"}
    assert moved == {
        "weights, read": ("sram_8KB", 432 * 8),
        "activations, read": ("sram_32KB", 3600 * 8),
        "sums, written": ("sram_32KB", 600 * 32),
        "sums, read": ("sram_32KB", 100 * 32),
        "weights and activations, DRAM": ("dram", 1216 * 8),
    }
    doubled = replace(traffic, weight_reads=864)
    more = energy(graph, NM45, schedule="systolic", traffic={"conv": doubled}, activation_memory="sram_32KB")
    assert more.total_uj - found.total_uj == pytest.approx(432 * 8 / 64 * 10e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "streamed"}, "--schedule must be one of layerwise, stream, systolic, got 'streamed'; did you"),
        ({"schedule": "systolic"}, "traffic must come with the schedule systolic"),
        ({"traffic": {}}, "traffic must come with the schedule systolic, and only with it"),
        ({"schedule": "systolic", "traffic": {}}, "one: traffic must be that of its layers with weights"),
        ({"bits": 4}, "45nm: must have int4_mult for this"),
        ({"bits": "int"}, "type of numbers must be such as int8 or bf16, got 'int'"),
        ({"accumulator": 64}, "45nm: must have int64_add for this"),
        ({"weight_memory": "sram_8kb"}, "must have sram_8kb for this, and has .*; did you mean sram_8KB"),
        ({"activation_memory": "hbm2"}, "must have hbm2 for this"),
        ({"weight_bits": 0}, "bits of a weight must be 1 to 64, got 0"),
        ({"weight_bits": {"stam": 2}}, "weight bits must be those of layers with weights, got 'stam'"),
    ],
)
def test_what_does_not_go_together(arguments: dict[str, object], message: str) -> None:
    graph = one_layer(Shape(10, 10, 4), Conv(6))
    with pytest.raises(TargetError, match=message):
        energy(graph, NM45, **arguments)  # type: ignore[arg-type]


def test_a_table_without_memories() -> None:
    entries = {key: entry for key, entry in NM45.entries.items() if "sram" not in key}
    graph = one_layer(Shape(10, 10, 4), Conv(6))
    for schedule in ("layerwise", "stream"):
        with pytest.raises(TargetError, match="45nm: must have a memory on the chip for this, and has none"):
            energy(graph, replace(NM45, entries=entries), schedule=schedule)
    without = {key: entry for key, entry in NM45.entries.items() if key != "dram"}
    with pytest.raises(TargetError, match="45nm: must have one of dram, ddr4"):
        energy(graph, replace(NM45, entries=without))


def test_a_plan_of_another_network() -> None:
    one, other = (one_layer(Shape(10, 10, 4), Conv(6)), open_model("binarynet_cifar10").graph)
    with pytest.raises(TargetError, match="plan must be one of this network"):
        energy(one, NM45, schedule="stream", plan=of_rows(plan_rows(stored_as(fold(other), 8))))


def test_verdicts() -> None:
    assert [verdict(*b) for b in ((0.5, 0.9), (0.9, 1.0), (1.0, 2.0))] == [Verdict.YES, Verdict.OPEN, Verdict.NO]


def test_tables() -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=96").graph
    found = energy(graph, NM45)
    table = report.parts(found)
    assert table.rows[-1][0] == "total"
    assert len(table.rows) == len(found.parts) + 1
    rows = source_003(graph, NM45)
    asked = report.source_003(rows, NM45)
    assert len(asked.rows) == len(rows) + 2 == 4 * 4 + 2
    assert "3.8" in as_markdown(asked)
    assert "ISSCC 2014" in as_markdown(asked)
