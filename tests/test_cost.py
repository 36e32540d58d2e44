"""One network on many machines: each row is what the single analyses say, and misses are sentences."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from blocks import networks
from rillet.analyses.energy import energy, traffic_of
from rillet.analyses.streamed import of_pixels
from rillet.analyses.systolic import systolic
from rillet.costs.fit import fit
from rillet.costs.machines import KINDS, Cost, MachineKind, costs
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.models.opening import open_model
from rillet.plan.pipeline.entry import plan_pixels
from rillet.report import cost as report
from rillet.report.tables import as_csv, as_markdown
from rillet.targets import boards, catalogue, technology
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.chips import StreamChip

NM45 = technology.load("45nm")
GRAPH = open_model("mobilenet_v1:width=0.25,resolution=96,classes=2").graph


def on(*names: str, fps: float = 30.0, graph: object = GRAPH, bits: int | None = 8) -> tuple[Cost, ...]:
    return costs(graph, [(name, catalogue.load(name)) for name in names], NM45, fps, bits)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def everywhere() -> tuple[Cost, ...]:
    return on(*catalogue.names(KINDS))


def test_a_row_for_each_machine_in_order(everywhere: tuple[Cost, ...]) -> None:
    assert [row.target for row in everywhere] == list(catalogue.names(KINDS))
    kinds = [row.kind for row in everywhere]
    assert kinds == sorted(kinds, key=[MachineKind.ARRAY, MachineKind.CHIP, MachineKind.BOARD].index)
    assert {(row.macs, row.params) for row in everywhere} == {(GRAPH.macs, everywhere[0].params)}
    for row in everywhere:
        assert row.fits == (not row.misses)
        assert row.needed_ops_per_s == 60 * GRAPH.macs
        if row.cycles is not None:
            assert row.low_cycles is not None and row.high_cycles is not None and row.images_per_s is not None
            assert row.low_cycles <= row.cycles <= row.high_cycles
            assert row.images_per_s == pytest.approx(row.clock_hz / row.cycles)
            assert (row.peak_ops_per_s is None) is (row.utilisation is None) is (row.kind is MachineKind.BOARD)
            if row.peak_ops_per_s is not None:
                assert row.utilisation == pytest.approx(2 * GRAPH.macs * row.images_per_s / row.peak_ops_per_s)


def test_an_array() -> None:
    machine = catalogue.load("gemmini_16x16")
    assert isinstance(machine, ArrayMachine)
    (row,) = on("gemmini_16x16")
    made = systolic(GRAPH, rows=16, columns=16, dataflow="ws", dram_bytes_per_cycle=12.8)
    assert row.cycles == made.cycles + made.stall_cycles > made.cycles
    assert row.uj == energy(GRAPH, NM45, schedule="systolic", traffic=traffic_of(made)).total_uj
    assert row.peak_ops_per_s == 2 * 256 * 1e9


def test_broadcast_rows_help_lines_alone() -> None:
    plain, fuse = on("systolic_64x64", "fuse_64x64")
    assert plain.cycles == fuse.cycles
    graph = open_model("mobilenet_v1:width=0.25,resolution=96,fuse=full").graph
    plain, fuse = on("systolic_64x64", "fuse_64x64", graph=graph)
    assert plain.cycles is not None and fuse.cycles is not None and fuse.cycles < plain.cycles


def test_a_chip() -> None:
    chip = catalogue.load("zcu102")
    assert isinstance(chip, StreamChip)
    (row,) = on("zcu102")
    plan = plan_pixels(GRAPH, chip=chip, pipeline=chip.pipeline)
    assert (row.cycles, row.latency_s) == (plan.interval_cycles, plan.latency_cycles / plan.clock_hz)
    assert 8 * row.weight_bytes == plan.resident_bits
    assert row.uj == energy(GRAPH, NM45, schedule="stream", plan=of_pixels(plan)).total_uj
    (none,) = on("ice40_up5k", graph=open_model("mobilenet_v1").graph)
    assert not none.fits and none.cycles is none.uj is none.images_per_s is none.utilisation is None
    assert "memory must be at least" in none.misses[0]


def test_a_board() -> None:
    (row,) = on("nano33ble")
    board = catalogue.load("nano33ble")
    assert isinstance(board, Board)
    found = fit(GRAPH, board, 8)
    assert (row.weight_bytes, row.activation_bytes, row.fits) == (found.flash_bytes, found.ram_bytes, found.fits)
    assert row.latency_s == pytest.approx(found.milliseconds / 1e3)  # type: ignore[operator]
    assert row.uj is None is row.high_uj and row.low_uj
    (small,) = on("m0plus_16k", graph=open_model("mobilenet_v2").graph)
    assert any(miss.startswith("head.logits alone must have") for miss in small.misses)


def test_each_row_says_its_precision() -> None:
    names = ("gemmini_16x16", "zcu102", "nano33ble")
    own, whole = on(*names, bits=None), on(*names, bits=8)
    assert [row.precision for row in own] == ["int8", "int8", "float32"]
    assert [row.precision for row in whole] == ["int8"] * 3
    assert {row.own_precision for row in (*own, *whole)} == {"float32"}
    assert own[:2] == whole[:2] and own == on(*names, bits=32)
    # Instructions of floats are not counted.
    assert own[2].cycles is own[2].latency_s is own[2].peak_ops_per_s is own[2].utilisation is None
    assert own[2].activation_bytes == fit(GRAPH, boards.load("nano33ble")).ram_bytes > whole[2].activation_bytes  # type: ignore[operator]
    notes = report.machines(own, NM45).notes
    assert "int8, where the network is float32 and must be brought to it first: gemmini_16x16, zcu102" in notes
    assert "no cycles of floats and of portable kernels are known: nano33ble" in notes
    assert len(report.machines(own, NM45, wide=True).rows) == len(report.exact(own, NM45).rows) == 3
    assert "float32" in report.heading(own)


def test_precisions_that_there_are_not() -> None:
    with pytest.raises(TargetError, match="--bits must be 8 or 32, got 16"):
        on("nano33ble", bits=16)
    with pytest.raises(TargetError, match="--bits 32 must come with a board: arrays and chips have integers alone"):
        on("zcu102", "gemmini_16x16", bits=32)


def test_energy_of_a_pixel_plan_reads_weights_once_a_firing() -> None:
    chip = catalogue.load("zcu102")
    assert isinstance(chip, StreamChip)
    plan = plan_pixels(GRAPH, chip=chip)
    found = energy(GRAPH, NM45, schedule="stream", plan=of_pixels(plan))
    lanes = {stage.node: stage.folding.lanes for stage in plan.stages}
    bits = sum(
        (stage.weights * 8 + stage.bias_bits) * -(-plan.graph.by_name[stage.node].shape.pixels // lanes[stage.node])
        for stage in plan.stages
    )
    assert next(part for part in found.parts if part.name == "weights, read").count == bits


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_any_network(graph: Graph) -> None:
    rows = on("gemmini_16x16", "zcu102", "nano33ble", graph=graph, bits=None)
    assert [row.macs for row in rows] == [graph.macs] * 3
    assert len(report.machines(rows, NM45, wide=True).rows) == 3
    assert graph.name in report.heading(rows)


def test_tables(everywhere: tuple[Cost, ...]) -> None:
    narrow, wide = report.machines(everywhere, NM45), report.machines(everywhere, NM45, wide=True)
    assert len(narrow.rows) == len(wide.rows) == len(everywhere)
    widths = [max(len(column.name), *(len(row[at]) for row in narrow.rows)) for at, column in enumerate(narrow.columns)]
    assert sum(widths) + 2 * (len(widths) - 1) <= 100
    for table in (narrow, wide):
        said = " ".join(table.notes)
        assert all(f"{column.name}: " in said for column in table.columns if column.name not in ("target", "machine"))
    assert "| zcu102 |" in as_markdown(wide)
    rows = list(csv.DictReader(io.StringIO(as_csv(report.exact(everywhere, NM45)))))
    assert [int(row["MACs"]) for row in rows] == [GRAPH.macs] * len(rows)
    assert str(GRAPH.macs)[:3] in report.heading(everywhere).replace(",", "")
    assert "too little memory: ice40_up5k" in report.why_not(everywhere)


def test_wrong_rates_and_names() -> None:
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(TargetError, match="--fps must be above 0"):
            on("zcu102", fps=fps)
    with pytest.raises(TargetError, match="nano33bl: must be a machine; did you mean nano33ble"):
        catalogue.load("nano33bl")
    with pytest.raises(TargetError, match="qqq: must be a machine; there are fuse_64x64"):
        catalogue.load("qqq")


def test_files_are_told_by_their_keys(tmp_path: Path) -> None:
    sides = "[rows]\nvalue = 8\nsource = 'mine'\nconfidence = 'assumed'\n"
    text = "name = 'a'\nabout = 'b'\ndataflow = 'ws'\nhardware = 'systolic'\n" + "".join(
        sides.replace("rows", key) for key in ("rows", "columns", "clock_hz", "dram_bytes_per_s")
    )
    path = tmp_path / "mine.toml"

    def refused(old: str, new: str) -> str:
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(TargetError, match="mine.toml") as caught:
            catalogue.load(str(path))
        return str(caught.value)

    path.write_text(text)
    found = catalogue.load(str(path))
    assert isinstance(found, ArrayMachine) and (found.rows, found.columns, found.dataflow) == (8, 8, "ws")
    assert "got 'row'; did you mean rows?" in refused("[rows]", "[row]")
    assert "rows: value must be a number from 1" in refused("value = 8", "value = 0")
    assert "rows: value must be a number from 1" in refused("value = 8", "value = -8")
    assert "rows: value must be a whole number" in refused("value = 8", "value = 8.5")
    assert "rows: value must be at most 1048576" in refused("value = 8", "value = 9_000_000")
    assert "must say columns" in refused(sides.replace("rows", "columns"), "")
    assert "rows must be given once" in refused(sides, sides + sides)
    assert "dataflow: must be one of os, ws, is" in refused("'ws'", "'wx'")
    assert "dataflow must be os on the hardware fuse" in refused("'systolic'", "'fuse'")
    path.write_text("name = 'a'\n")
    with pytest.raises(TargetError, match=r"mine.toml: must say rows .* multipliers .* ram_bytes"):
        catalogue.load(str(path))
    path.write_text("name = 'a'\nabout = 'b'\nmultiplers = 3\n")
    with pytest.raises(TargetError, match="got 'multiplers'; did you mean multipliers"):
        catalogue.load(str(path))
    assert isinstance(boards.load("nano33ble"), Board)
