"""Every kind of layer as Verilog: what tools say of its text, and what it makes of images."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from graphs import Builder, conv
from hardware import SIMULATORS, planned, proved
from rillet.backends.rtl.emit import design
from rillet.ir.graph import Graph
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Op,
    Pad,
    Pool,
    PoolKind,
    Resize,
    Rounding,
    Slice,
    Window,
)
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.pipeline.budgets import Budgets, uses
from rillet.plan.pipeline.estimates import estimates
from rillet.runtime.rtl.simulator import write_into
from rillet.runtime.rtl.verilator import verilator_command
from rillet.targets.families import FAMILIES


def every_kind(dtype: DType) -> Graph:
    """Halves of the channels under 1x3 and 3x1 windows, pools, constants, borders and places, one behind the other."""
    b = Builder(np.random.default_rng(0), dtype)
    at = b.add(b.conv(8, (3, 3)), b.add(Input(), shape=Shape(7, 6, 3)))
    greatest = b.add(Pool(PoolKind.MAX, Window((3, 2), (2, 1), (1, 1, 0, 1)), Activation.RELU), at, same=True)
    halves = [b.add(Slice(start, start + 4), greatest, same=True) for start in (0, 4)]
    rows = b.add(b.conv(4, (1, 3), groups=4), halves[0])
    columns = b.add(b.conv(4, (3, 1), groups=4), halves[1])
    odd = b.add(Slice(3, 6), greatest, same=True)
    at = b.add(Concat(), rows, columns, rows, odd)
    at = b.add(Add(), at, b.add(Constant(dtype), shape=Shape(1, 1, 15)))
    at = b.add(Multiply(), at, b.add(Constant(dtype), shape=b.node(at).shape))
    at = b.add(Pool(PoolKind.AVERAGE, Window((2, 3), (1, 2), (1, 0, 1, 1))), at, same=True)
    at = b.add(Pad((0, 2, 1, 0)), at, same=True)
    at = b.add(Resize((1, 1, 2, 4), (0, 2, 3, 3)), at, same=True)
    at = b.add(Activate(Activation.HARD_SWISH), at)
    whole = Window((4, 4))
    least = b.add(Pool(PoolKind.MAX, whole), at, same=True)
    middle = b.add(Pool(PoolKind.AVERAGE, whole), at, same=True)
    b.add(b.conv(5), b.add(Concat(), least, middle, b.add(Constant(dtype), shape=Shape(1, 1, 2))))
    return b.graph()


def binary() -> Graph:
    """Signs of 8-bit values, by a layer and by a function; layers, maxima, slices and places of signs; their sums."""
    b = Builder(np.random.default_rng(0), DType.I8)
    unit, near = Quant(1.0, 0), Window((3, 3), padding=(1, 1, 1, 1))

    def signs(op: Op, *inputs: str) -> str:
        return b.add(op, *inputs, dtype=DType.BINARY, quant=unit)

    def layer(channels: int, weights: DType = DType.BINARY, groups: int = 1) -> Conv:
        return Conv(channels, near, groups, Activation.SIGN, weights=weights)

    at = signs(layer(12, DType.TERNARY), b.add(Input(), shape=Shape(5, 6, 3)))
    at = signs(layer(12, groups=12), signs(layer(12), at))
    at = signs(Pool(PoolKind.MAX, Window((2, 2), (1, 2), (0, 1, 1, 1))), at)
    at = signs(Resize((0, 1, 1, 4), (1, 2, 2)), signs(Slice(3, 9), at))
    at = b.add(Conv(4, near, groups=2, weights=DType.I8), at)
    at = signs(Activate(Activation.SIGN), b.add(Conv(5, weights=DType.TERNARY), signs(Activate(Activation.SIGN), at)))
    at = signs(Pool(PoolKind.MAX, Window((4, 3))), at)
    at = signs(Conv(4, weights=DType.BINARY, activation=Activation.SIGN), at)
    b.add(Conv(3, weights=DType.BINARY), at, dtype=DType.I32)
    return b.graph()


def levels(rounding: Rounding, dtype: DType = DType.I8) -> Graph:
    """Weights of one and two bits with levels of each channel: those of + and - apart, the same, and of one sign."""
    b = Builder(np.random.default_rng(0), dtype)

    def layer(channels: int, kernel: tuple[int, int], weights: DType, groups: int = 1) -> Conv:
        return conv(channels, kernel, weights=weights, levels=DType.I8, rounding=rounding, groups=groups)

    at = b.add(layer(6, (3, 3), DType.TERNARY), b.add(Input(), shape=Shape(5, 4, 3)))
    at = b.add(layer(6, (3, 1), DType.BINARY, groups=6), at)
    at = same = b.add(layer(4, (1, 3), DType.TERNARY, groups=2), at)
    at = even = b.add(layer(5, (1, 1), DType.BINARY), at)
    b.add(layer(3, (1, 1), DType.TERNARY), at)
    for name in (same, even):
        b.params[f"{name}.levels"][:, 1] = b.params[f"{name}.levels"][:, 0]
    b.params[f"{same}.weight"][0] = np.abs(b.params[f"{same}.weight"][0])
    b.params[f"{same}.levels"][0, 1] = 0
    return b.graph()


def test_weights_with_levels_are_planned_as_they_are_stored() -> None:
    """Sums of signs take no multipliers; levels multiply one sum, or two, of each channel that leaves."""
    plan = planned(levels(Rounding.SHIFT), 3)
    files = design(plan).files
    stages = [(files[f"rtl/stage_{stage.node}.v"], stage) for stage in plan.stages]
    assert [text.partition(".LEVELS(")[2][0] for text, _ in stages] == list("22112")
    assert [text.partition(".KIND(")[2][0] for text, _ in stages] == list("45124")
    for _, stage in stages:
        lines = files[f"mem/{stage.node}_weights.hex"].split()
        assert len(lines) == stage.folding.cycles
        assert len(lines[0]) == -(-stage.folding.multipliers * stage.weight_bits // 4)
    found = {one.node: one.taken.multipliers for one in estimates(plan, FAMILIES["ecp5"])}
    units = {stage.node: int(text.partition(".UNITS(")[2].partition(")")[0]) for text, stage in stages}
    assert list(found.values()) == [count * sums for count, sums in zip(units.values(), (2, 2, 1, 1, 2), strict=True)]
    used = uses(plan, Budgets())[0]
    assert used.used == used.requantising == sum(found.values())


def lint(folder: Path, sources: tuple[str, ...]) -> str:
    """What Verilator finds to say of Verilog in a folder."""
    command, root, _ = verilator_command()
    asked = [command, "--lint-only", "-Wall", "--top-module", "top", *sources]
    env = {**os.environ, "VERILATOR_ROOT": str(root)}
    done = subprocess.run(asked, cwd=folder, env=env, capture_output=True, text=True)
    return done.stderr


@pytest.mark.parametrize(
    "graph", [every_kind(DType.I8), binary(), levels(Rounding.SHIFT)], ids=["i8", "binary", "levels"]
)
def test_no_tool_has_anything_to_say_of_it(graph: Graph, tmp_path: Path) -> None:
    made = design(planned(graph, 2))
    write_into(tmp_path, made.files)
    assert lint(tmp_path, made.sources) == ""


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(
    ("graph", "slower"),
    [
        pytest.param(every_kind(DType.I8), 1, id="i8"),
        pytest.param(every_kind(DType.U8), 2, id="u8-2"),
        pytest.param(every_kind(DType.I8), 7, id="i8-7"),
        pytest.param(binary(), 1, id="binary"),
        pytest.param(binary(), 2, id="binary-2"),
        pytest.param(levels(Rounding.SHIFT), 1, id="levels"),
        pytest.param(levels(Rounding.DOUBLE, DType.U8), 3, id="levels-double-3"),
        pytest.param(levels(Rounding.SINGLE), 2, id="levels-single-2"),
    ],
)
def test_every_kind_of_layer(graph: Graph, slower: int, simulator: str) -> None:
    proved(planned(graph, slower), simulator)
