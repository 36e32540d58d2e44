"""Prints what weights of one and two bits gain over int8 ones on this machine, layer by layer, in time and in bytes.

usage: python bench/lowbit.py [--rounds N] [--model FILE.rlt]     (a file of `rillet quantize --weight-bits ternary`)
"""

import argparse
import ctypes
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from rillet.backends.c.data import program_arrays
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import machine_flags
from rillet.backends.c.storage import as_stored
from rillet.importers.rlt import load
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activate, Activation, Conv, Input, Rounding, Window
from rillet.ir.types import DType, Quant, Shape, TensorType
from rillet.plan.host import tilings
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.verify import random_inputs
from rillet.system.build import build_library
from rillet.system.library import Context
from rillet.targets.host import this_host
from rillet.transforms.lowbit import unpack

ZEROS = (0.5, 0.75, 0.87, 0.95)
POINTWISE, THREE = Window(), Window((3, 3), padding=(1, 1, 1, 1))
LAYERS = (
    ("1x1", Shape(32, 32, 96), 16, POINTWISE),
    ("1x1", Shape(14, 14, 64), 384, POINTWISE),
    ("1x1", Shape(14, 14, 384), 64, POINTWISE),
    ("1x1", Shape(14, 14, 576), 96, POINTWISE),
    ("1x1", Shape(7, 7, 960), 160, POINTWISE),
    ("1x1", Shape(4, 4, 184), 32, POINTWISE),
    ("3x3", Shape(16, 16, 48), 192, THREE),
    ("3x3", Shape(8, 8, 64), 256, THREE),
    ("dense", Shape(1, 1, 576), 1024, POINTWISE),
)
BITS = ((Shape(32, 32, 256), 256, Window((2, 2), padding=(0, 1, 0, 1))), (Shape(8, 8, 256), 256, THREE))
VALUES, ONE = Quant(0.05, 0), Quant(1.0, 0)


class Clocked:
    """A program that counts the ticks of its last stage."""

    def __init__(self, plan: RowPlan) -> None:
        graph = plan.graph
        self.library = ctypes.CDLL(str(build_library(emit(plan, profile=True), machine_flags(plan))))
        self.library.net_run.restype = None
        self.context = Context(self.library)
        self.library.net_profile_clock.restype = ctypes.c_uint64
        out = graph.by_name[graph.outputs[0]].type
        self.arrays = [next(random_inputs(graph, 1)), np.zeros(out.shape.array, out.dtype.numpy)]
        stages = sum(len(segment.stages) for segment in plan.segments)
        self.library.net_profile_ticks.restype = ctypes.POINTER(ctypes.c_uint64)
        self.ticks = np.ctypeslib.as_array(self.library.net_profile_ticks(self.context.pointer), (stages + 1,))
        self.last, self.best = stages - 1, 1 << 62
        arrays = program_arrays(as_stored(plan), graph)
        self.weight_bytes = sum(a.nbytes for n, a in arrays.items() if n.endswith(("_weights", "_places", "_levels")))
        self.stages = {stage.kernel.value for segment in plan.segments for stage in segment.stages}

    def round(self, runs: int = 20) -> None:
        """Keeps the least ticks of some runs."""
        for _ in range(runs):
            self.ticks.fill(0)
            self.library.net_run(self.context.pointer, *(ctypes.c_void_p(array.ctypes.data) for array in self.arrays))
            self.best = min(self.best, int(self.ticks[self.last]))

    def ticks_per_us(self) -> float:
        """The rate of the clock."""
        start, first = time.perf_counter(), self.library.net_profile_clock()
        time.sleep(0.05)
        return (self.library.net_profile_clock() - first) / (time.perf_counter() - start) / 1e6


def layer(shape: Shape, outputs: int, window: Window, zeros: float) -> Graph:
    """One ternary convolution of int8 values, a share of its weights zero."""
    rng = np.random.default_rng(0)
    op = Conv(outputs, window, weights=DType.TERNARY, levels=DType.I8, rounding=Rounding.SHIFT)
    weight = rng.choice([-1, 1], op.weight_shape(shape)) * (rng.random(op.weight_shape(shape)) >= zeros)
    out = TensorType(op.output_shape(shape), DType.I8, VALUES)
    params: dict[str, Array] = {
        "layer.weight": weight.astype(np.int8),
        "layer.levels": rng.integers(64, 128, (outputs, 2)).astype(np.int8),
        "layer.bias": rng.integers(-1000, 1000, outputs).astype(np.int32),
        "layer.weight_scale": np.full(outputs, 2.0**-13, np.float32),
    }
    nodes = (Node("input", Input(), (), TensorType(shape, DType.I8, VALUES)), Node("layer", op, ("input",), out))
    return Graph("layer", nodes, ("layer",), params)


def binary_layer(shape: Shape, outputs: int, window: Window) -> tuple[Graph, Graph]:
    """A binary convolution of binary values, and the same of bytes."""
    rng = np.random.default_rng(0)
    op = Conv(outputs, window, bias=False, weights=DType.BINARY, rounding=Rounding.SHIFT)
    params: dict[str, Array] = {
        "layer.weight": rng.choice([-1, 1], op.weight_shape(shape)).astype(np.int8),
        "layer.weight_scale": np.full(outputs, 2.0**-5, np.float32),
    }
    source = Node("input", Input(), (), TensorType(shape, DType.I8, VALUES))
    sign = Node("sign", Activate(Activation.SIGN), ("input",), TensorType(shape, DType.BINARY, ONE))
    made = TensorType(op.output_shape(shape), DType.I8, ONE)
    bits = Graph("bits", (source, sign, Node("layer", op, ("sign",), made)), ("layer",), params)
    params = params | {"layer.weight_scale": np.full(outputs, 2.0**-5 * ONE.scale / VALUES.scale, np.float32)}
    whole = Node("layer", replace(op, weights=DType.I8), ("input",), made)
    return bits, Graph("bytes", (source, whole), ("layer",), params)


def on_host(graph: Graph, gain: float) -> RowPlan:
    """A plan of this machine that takes lists where they are estimated to be `gain` times faster than tiles."""
    before, tilings.LISTS_GAIN = tilings.LISTS_GAIN, gain
    try:
        return plan_host(graph, this_host(), resident=True)
    finally:
        tilings.LISTS_GAIN = before


def measured(plans: dict[str, RowPlan], rounds: int) -> dict[str, tuple[float, int]]:
    """Microseconds (the least of alternating rounds) and bytes of the weights."""
    programs = {name: Clocked(plan) for name, plan in plans.items()}
    for _ in range(rounds):
        for program in programs.values():
            program.round()
    return {name: (p.best / p.ticks_per_us(), p.weight_bytes) for name, p in programs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--model", type=Path)
    said = parser.parse_args()
    host = this_host()
    print(f"{host.name}, {host.kernels}, {date.today()}; microseconds, bytes of weights; the plan's choice in bold\n")
    print("| layer | zeros | host, int8 tiles | host, lists | gain | portable, int8 | portable, packed | gain |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind, shape, outputs, window in LAYERS:
        for zeros in ZEROS:
            graph = layer(shape, outputs, window, zeros)
            int8 = unpack(graph)
            plans = {"tiles": on_host(int8, 1.0), "lists": on_host(graph, 0.0)}
            plans |= {"int8": plan_rows(int8, resident=True), "packed": plan_rows(graph, resident=True)}
            found = measured(plans, said.rounds)
            chosen = {s.kernel.value for g in on_host(graph, tilings.LISTS_GAIN).segments for s in g.stages}
            cells = {name: f"{us:,.1f}, {size:,}" for name, (us, size) in found.items()}
            best = "lists" if "lists" in chosen else "tiles"
            cells[best] = f"**{cells[best]}**"
            if not any(stage.kernel.value == "lists" for g in plans["lists"].segments for stage in g.stages):
                cells["lists"] = "-"
            gains = [found["tiles"][0] / found["lists"][0], found["int8"][0] / found["packed"][0]]
            host_gain = "-" if cells["lists"] == "-" else f"{gains[0]:.2f}"
            words = (f"{kind} {shape} to {outputs}", f"{zeros:.0%}", cells["tiles"], cells["lists"], host_gain)
            print("| " + " | ".join((*words, cells["int8"], cells["packed"], f"{gains[1]:.2f}")) + " |", flush=True)
    print("\n| binary layer | host, int8 tiles | host, XNOR | gain | portable, int8 | portable, XNOR | gain |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for shape, outputs, window in BITS:
        bits, whole = binary_layer(shape, outputs, window)
        plans = {"tiles": on_host(whole, 1.0), "xnor": on_host(bits, 1.0)}
        plans |= {"int8": plan_rows(whole, resident=True), "portable": plan_rows(bits, resident=True)}
        found = measured(plans, said.rounds)
        cells = [f"{us:,.1f}, {size:,}" for us, size in found.values()]
        gains = [found["tiles"][0] / found["xnor"][0], found["int8"][0] / found["portable"][0]]
        what = f"{window.kernel[0]}x{window.kernel[1]} {shape} to {outputs}"
        print(
            f"| {what} | {cells[0]} | {cells[1]} | {gains[0]:.2f} | {cells[2]} | {cells[3]} | {gains[1]:.2f} |",
            flush=True,
        )
    if said.model:
        network(load(said.model), said.rounds)


def network(graph: Graph, rounds: int) -> None:
    """A whole network with its weights packed, and written out as int8."""
    from rillet.runtime.run import Program

    int8, image = unpack(graph), next(random_inputs(graph, 1))
    plans = {
        "host, int8": plan_host(int8, this_host()),
        "host, packed": plan_host(graph, this_host()),
        "portable, int8": plan_rows(int8),
        "portable, packed": plan_rows(graph),
    }
    programs = {name: Program(plan) for name, plan in plans.items()}
    times = dict.fromkeys(plans, float("inf"))
    for _ in range(rounds):
        for name, program in programs.items():
            times[name] = min(times[name], program.latency(image, 5).minimum_ms)
    print(f"\n| {graph.name} | ms | bytes of constants | activations |\n|---|---:|---:|---:|")
    for name, plan in plans.items():
        size = sum(array.nbytes for array in program_arrays(as_stored(plan), plan.graph).values())
        print(f"| {name} | {times[name]:.3f} | {size:,} | {plan.arena_bytes:,} |")


if __name__ == "__main__":
    main()
