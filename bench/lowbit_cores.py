"""Prints what ternary and binary layers take on emulated Cortex-M cores: packed, as bytes, and by the portable kernel.

usage: python bench/lowbit_cores.py
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

from lowbit import POINTWISE, THREE, layer

from rillet.backends.c.data import program_arrays
from rillet.backends.c.storage import as_stored
from rillet.ir.graph import Graph
from rillet.ir.types import Shape
from rillet.plan.board.cost import plan_instructions
from rillet.plan.board.planner import plan_core
from rillet.plan.rows.plan import CoreKernels, RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import emulator
from rillet.runtime.verify import random_inputs
from rillet.transforms.lowbit import unpack

CORES = {"cortex-m0plus": CoreKernels.ARMV6M, "cortex-m4": CoreKernels.DSP}
LAYERS = (
    ("1x1", Shape(8, 8, 64), 64, POINTWISE),
    ("1x1", Shape(4, 4, 184), 32, POINTWISE),
    ("1x1", Shape(7, 7, 384), 64, POINTWISE),
    ("3x3", Shape(8, 8, 16), 32, THREE),
    ("dense", Shape(1, 1, 256), 128, POINTWISE),
)
ZEROS = (0.5, 0.75, 0.87, 0.95)


def measured(plan: RowPlan, core: str) -> tuple[str, int, float, int]:
    """The layer's kernel, instructions of an image, what the plan says beside them (or nan), and bytes of weights."""
    made = emulator.run(plan, core, list(random_inputs(plan.graph, 1)))
    arrays = program_arrays(as_stored(plan), plan.graph)
    weights = sum(array.nbytes for name, array in arrays.items() if name == "net_layer_weights")
    said = float("nan") if plan.core is None else plan_instructions(plan)
    return plan.segments[-1].stages[-1].kernel.value, made.instructions, said, weights


def rows(core: str) -> Iterator[str]:
    """Lines of the table of one core."""
    for kind, shape, outputs, window in LAYERS:
        for zeros in ZEROS:
            graph: Graph = layer(shape, outputs, window, zeros)
            whole = unpack(graph)
            plans = (
                plan_core(graph, CORES[core], objective="time"),
                plan_core(whole, CORES[core], objective="time"),
                replace(plan_rows(graph), host=None),
            )
            op = graph.by_name["layer"].shape
            macs = op.pixels * outputs * shape.channels * window.taps
            text = f"| {core} | {kind} {shape} to {outputs} | {zeros:.0%}"
            for plan in plans:
                kernel, count, said, weights = measured(plan, core)
                near = "" if said != said else f" ({said / count - 1:+.1%})"
                text += f" | {kernel} {count:,}{near}, {count / macs:.2f} a MAC, {weights:,} B"
            yield text + " |"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| core | layer | zeros | as planned (what the plan says) | as bytes | portable |")
    print("|---|---|---:|---:|---:|---:|")
    for core in CORES:
        for line in rows(core):
            print(line, flush=True)


if __name__ == "__main__":
    main()
