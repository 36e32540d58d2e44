"""Every kind of layer as Verilog: what tools say of its text, and what it makes of images."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from graphs import Builder
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
    Slice,
    Window,
)
from rillet.ir.types import DType, Quant, Shape
from rillet.runtime.rtl.simulator import write_into
from rillet.runtime.rtl.verilator import verilator_command


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


def lint(folder: Path, sources: tuple[str, ...]) -> str:
    """What Verilator finds to say of Verilog in a folder."""
    command, root, _ = verilator_command()
    asked = [command, "--lint-only", "-Wall", "--top-module", "top", *sources]
    env = {**os.environ, "VERILATOR_ROOT": str(root)}
    done = subprocess.run(asked, cwd=folder, env=env, capture_output=True, text=True)
    return done.stderr


@pytest.mark.parametrize("graph", [every_kind(DType.I8), binary()], ids=["i8", "binary"])
def test_no_tool_has_anything_to_say_of_it(graph: Graph, tmp_path: Path) -> None:
    made = design(planned(graph, 2))
    write_into(tmp_path, made.files)
    assert lint(tmp_path, made.sources) == ""


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("slower", [1, 2, 7])
@pytest.mark.parametrize("graph", [every_kind(DType.I8), every_kind(DType.U8), binary()], ids=["i8", "u8", "binary"])
def test_every_kind_of_layer(graph: Graph, slower: int, simulator: str) -> None:
    proved(planned(graph, slower), simulator)
