"""The closed forms of a systolic array: by hand, as laws that hold for every network, and bad input."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import graphs
from rillet.analyses.systolic import Systolic, systolic
from rillet.errors import TargetError
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Input, Window
from rillet.ir.types import Shape, TensorType
from rillet.models.opening import open_model
from rillet.report import systolic as report


def single(op: Conv, source: Shape) -> Graph:
    """A network of one layer."""
    made = TensorType(op.output_shape(source))
    return Graph("one", (Node("x", Input(), (), TensorType(source)), Node("y", op, ("x",), made)), ("y",))


POINTWISE = single(Conv(10), Shape(2, 3, 5))  # M = 6, N = 10, K = 5
LINES = single(Conv(8, Window((1, 3), (2, 2), (0, 0, 1, 1)), groups=8), Shape(9, 9, 8))


@pytest.mark.parametrize(
    ("more", "cycles", "folds"),
    [
        # On 4 x 4. OS: folds of 4 and 2 pixels by 4, 4 and 2 filters, each K + r + c - 2.
        ({"double_buffered": False}, 2 * (5 + 8) + (5 + 6) + 2 * (5 + 6) + (5 + 4) - 6 * 2 + 3 * 6, 6),
        ({}, 2 * (5 + 8) + (5 + 6) + 2 * (5 + 6) + (5 + 4) - 6 * 2 + 2, 6),
        # WS: folds of 4 and 1 of the depth by 4, 4 and 2 filters, each M + r + c - 2.
        ({"dataflow": "ws"}, 2 * (6 + 8) + (6 + 6) + 2 * (6 + 5) + (6 + 3) - 6 * 2 + 4, 6),
        # IS: folds of 4 and 1 of the depth by 4 and 2 pixels, each N + r + c - 2.
        ({"dataflow": "is"}, (10 + 8) + (10 + 6) + (10 + 5) + (10 + 3) - 4 * 2 + 4, 4),
        ({"convention": "fuse"}, 2 * (5 + 8) + (5 + 6) + 2 * (5 + 6) + (5 + 4) - 6, 6),
        ({"convention": "scalesim"}, 6 * (5 + 4 + 4 - 2) - 1, 6),
        ({"convention": "scalesim", "dataflow": "ws"}, 6 * (2 * 4 + 4 + 6 - 2) - 1, 6),
        ({"convention": "scalesim", "dataflow": "is"}, 4 * (2 * 4 + 4 + 10 - 2) - 1, 4),
    ],
)
def test_a_product_by_hand(more: dict[str, object], cycles: int, folds: int) -> None:
    made = systolic(POINTWISE, rows=4, columns=4, **more)  # type: ignore[arg-type]
    assert (made.cycles, made.folds, made.macs) == (cycles, folds, 300)
    assert made.utilisation == pytest.approx(300 / (16 * cycles), rel=1e-12)


def test_lines_by_hand() -> None:
    # 5 of 9 lines of 8 channels; 5 places wanted of the 9 at stride 1, on folds of 4 x 4: 10 by 4 + 4 + 1 places.
    made = systolic(LINES, rows=4, columns=4, hardware="fuse", double_buffered=False)
    layer = made.layers[0]
    assert (layer.lines, layer.pixels, layer.filters, layer.folds) == (True, 40, 9, 30)
    assert made.cycles == 10 * (2 * (4 + 3 - 1) + (1 + 3 - 1)) + 10 * (4 + 4 + 1)
    # The drain of 4 places shows for one cycle beside the first fold of 1 place and 3 cycles; the last one for 1.
    assert systolic(LINES, rows=4, columns=4, hardware="fuse").cycles == 10 * (6 + 6 + 3) + 1 + 1
    assert (layer.input_reads, layer.weight_reads) == (40 * (6 + 6 + 3), 40 * 3 * 3)
    assert (layer.output_writes, layer.output_reads) == (40 * 5, 0)
    # As published: ceil(ceil(9 x 8 / 4) / 2 x (4 + 3) x ceil(11 / 4)).
    fuse = systolic(LINES, rows=4, columns=4, hardware="fuse", convention="fuse")
    assert fuse.cycles == math.ceil(18 / 2 * 7 * 3)


def test_on_plain_hardware_lines_are_products_of_one_column() -> None:
    layer = systolic(LINES, rows=4, columns=4).layers[0]
    assert (layer.lines, layer.pixels, layer.filters, layer.depth, layer.groups) == (False, 25, 1, 3, 8)


def test_stalls() -> None:
    free = systolic(POINTWISE, rows=4, columns=4)
    layer = free.layers[0]
    inputs, weights, sums = 6 * 5 * 3, 5 * 10 * 2, 60 * 4
    assert (layer.input_reads, layer.weight_reads, layer.output_writes) == (inputs, weights, 60)
    assert layer.dram_bytes == 30 + 50 + 60
    assert layer.output_bytes_per_cycle == sums / free.cycles
    assert free.stall_cycles == 0

    def stalls(**more: float) -> int:
        return systolic(POINTWISE, rows=4, columns=4, **more).stall_cycles  # type: ignore[arg-type]

    assert stalls(sram_bytes_per_cycle=1) == sums - free.cycles
    assert stalls(dram_bytes_per_cycle=0.9) == math.ceil(140 / 0.9) - free.cycles
    assert stalls(sram_bytes_per_cycle=sums / free.cycles, dram_bytes_per_cycle=1e9) == 0
    assert stalls(accumulator_bytes=1, sram_bytes_per_cycle=1) == weights - free.cycles


WORDS = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 70),
        "columns": st.integers(1, 70),
        "dataflow": st.sampled_from(["os", "ws", "is"]),
        "convention": st.sampled_from(["exact", "scalesim"]),
    }
)


@given(graph=graphs(), words=WORDS)
@settings(max_examples=60, deadline=None)
def test_laws(graph: Graph, words: dict[str, int | str]) -> None:
    made: Systolic = systolic(graph, **words)  # type: ignore[arg-type]
    assert made.macs == graph.macs
    exact = words["convention"] == "exact"
    for layer, node in zip(made.layers, (n for n in graph.nodes if isinstance(n.op, Conv)), strict=True):
        assert layer.name == node.name
        assert 0 < layer.utilisation <= 1 or not exact
        assert layer.output_writes - layer.output_reads >= node.shape.elements
        assert layer.folds >= layer.groups
        # An operand that passes serves the array's width (or height), one that stays all that pass it.
        columns, rows = words["columns"], words["rows"]
        serves = {"os": (columns, rows), "ws": (columns, layer.pixels), "is": (layer.filters, columns)}
        per_input, per_weight = serves[str(words["dataflow"])]
        assert layer.input_reads * per_input >= layer.macs
        assert layer.weight_reads * per_weight >= layer.macs
    if exact:
        single = systolic(graph, double_buffered=False, **words)  # type: ignore[arg-type]
        assert made.cycles <= single.cycles


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"rows": 0}, "rows of a systolic array must be 1 to 1048576, got 0"),
        ({"columns": -3}, "columns of a systolic array must be 1 to 1048576, got -3"),
        ({"rows": 2**21}, "rows of a systolic array must be 1 to 1048576, got 2097152"),
        ({"dataflow": "wss"}, "dataflow must be os, ws, is, got 'wss'; did you mean ws?"),
        (
            {"convention": "scale-sim"},
            "convention must be exact, scalesim, fuse, got 'scale-sim'; did you mean scalesim?",
        ),
        ({"hardware": "gpu"}, "hardware must be systolic, fuse, got 'gpu'"),
        ({"hardware": "fuse", "dataflow": "ws"}, "dataflow must be os on the hardware fuse, got ws"),
        ({"convention": "fuse", "dataflow": "is"}, "dataflow must be os under the convention fuse, got is"),
        (
            {"convention": "scalesim", "hardware": "fuse"},
            "hardware must be systolic under the convention scalesim, got fuse",
        ),
        ({"sram_bytes_per_cycle": 0}, "sram_bytes_per_cycle must be a positive number, got 0"),
        ({"dram_bytes_per_cycle": float("nan")}, "dram_bytes_per_cycle must be a positive number, got nan"),
        ({"operand_bytes": -1}, "operand_bytes must be a positive number, got -1"),
    ],
)
def test_bad_input(more: dict[str, object], says: str) -> None:
    with pytest.raises(TargetError) as error:
        systolic(POINTWISE, **({"rows": 4, "columns": 4} | more))  # type: ignore[arg-type]
    assert str(error.value) == says


def test_a_network_without_layers() -> None:
    empty = Graph("none", (Node("x", Input(), (), TensorType(Shape(2, 2, 1))),), ("x",))
    assert systolic(empty, rows=4, columns=4).cycles == 0


def test_the_product_that_scalesim_does_in_no_time() -> None:
    made = systolic(single(Conv(1), Shape(1, 1, 1)), rows=1, columns=1, convention="scalesim")
    assert (made.cycles, made.macs, made.utilisation) == (0, 1, 0.0)


def test_squeeze_and_excite_and_dense_layers_are_products_of_one_row() -> None:
    made = systolic(open_model("mobilenet_v3_small:form=fuseconv").graph, rows=32, columns=32)
    ones = [layer.name.rpartition(".")[2] for layer in made.layers if layer.pixels == 1]
    assert ones == ["reduce", "excite"] * 9 + ["features", "logits"]


def test_the_table_of_layers() -> None:
    made = systolic(LINES, rows=4, columns=4, hardware="fuse", dram_bytes_per_cycle=1)
    table = report.layers(made)
    assert [column.name for column in table.columns][-1] == "stalls"
    assert table.rows[0][:2] == ("y", "40 lines x 9, 3 taps")
    assert table.rows[-1][3] == f"{made.cycles:,}" and table.rows[-1][-1] == f"{made.stall_cycles:,}"
    plain = report.layers(systolic(LINES, rows=4, columns=4))
    assert plain.rows[0][1] == "25 x 3 x 1, 8x"
    assert len(plain.rows[0]) == len(plain.columns) == len(table.columns) - 1
