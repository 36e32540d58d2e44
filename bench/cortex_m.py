"""Prints the tables of docs/cortex_m.md: int8 networks on emulated Cortex-M cores, beside CMSIS-NN.

usage: python bench/cortex_m.py [--cmsis-nn CHECKOUT] [--only WORDS] [--cores m4,m0plus,m55] [--inputs N] [--json]

RILLET_MODELS names the folders of the .tflite files; networks that are in none of them are left out, and named.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cmsis_nn
import numpy as np

import rillet
from rillet.backends import reference
from rillet.errors import RilletError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.models.hub import find, local
from rillet.plan.choose import folded
from rillet.runtime.emulator import Emulation, run
from rillet.runtime.quantization import quantize_with
from rillet.runtime.verify import random_inputs
from rillet.targets import boards, cores
from rillet.targets.boards import Board
from rillet.transforms.quantize import Quantization, Rule

NETWORKS = (
    ("VWW", "hub:vww_96_int8"),
    ("MobileNetV2 0.35-96", "mobilenet_v2:width=0.35,resolution=96,seed=0"),
    ("ResNet-8", "hub:resnet8_int8"),
    ("person detection", "hub:person_detect"),
)
BOARDS = {"m4": "nano33ble", "m7": "stm32h743", "m33": "stm32h743", "m55": "stm32h743", "m0plus": "rp2040"}
"""Whose RAM is the room of a plan for time; the instructions are those of the core alone."""
CALIBRATION_IMAGES = 8
SEED_IMAGES = 1


@dataclass(frozen=True)
class Row:
    """One program on one core."""

    model: str
    core: str
    runtime: str
    objective: str
    live: bool
    kernels: str
    instructions: int
    macs: int
    instructions_per_mac: float
    """By the MACs of the network as it is given, also where dead channels are left out."""
    ram_bytes: int
    stack_bytes: int
    flash_bytes: int
    wrong: int
    """Output bytes that are not the reference's, of all inputs."""
    compiler: str
    of_cmsis_nn: float | None = None
    """Instructions, as a part of CMSIS-NN's for the network as it is given."""
    ram_of_cmsis_nn: float | None = None


@dataclass(frozen=True)
class Case:
    """A network, and the images that it is run on, with what must come out."""

    label: str
    path: Path | None
    graph: Graph
    live: Graph
    images: tuple[Array, ...]
    expected: tuple[Array, ...]


def opened(label: str, name: str, inputs: int) -> Case:
    """The network in int8, by the rule `fixed_point` where it is not int8 yet."""
    path = local(find(name[4:])) if name.startswith("hub:") else None
    if name.startswith("hub:") and path is None:
        raise Unsupported(f"{label}: {name} must be in a folder of RILLET_MODELS")
    graph = rillet.load(str(path or name))
    if path is None:
        given = random_inputs(graph, CALIBRATION_IMAGES)
        graph = quantize_with(graph, given, Quantization(rule=Rule.FIXED_POINT))
    graph = folded(graph)
    images = tuple(random_inputs(graph, inputs))
    expected = tuple(reference.run(graph, image)[graph.outputs[0]].ravel() for image in images)
    return Case(label, path, graph, rillet.live(graph).graph, images, expected)


def board_of(core: str) -> Board:
    """A board with a core."""
    found, model = cores.load(core), boards.load(BOARDS[core])
    return replace(model, name=found.name, core=found.name, kernels=found.kernels)


def told(case: Case, made: Emulation, runtime: str, objective: str, live: bool, kernels: str) -> Row:
    wrong = sum(int(np.count_nonzero(got[0] != want)) for got, want in zip(made.outputs, case.expected, strict=True))
    return Row(
        *(case.label, made.core, runtime, objective, live, kernels, made.instructions, case.graph.macs),
        *(made.instructions / case.graph.macs, made.ram_bytes, made.stack_bytes, made.flash_bytes, wrong),
        made.compiler,
    )


@cache
def library(checkout: Path) -> dict[str, str]:
    return cmsis_nn.library(checkout)


def of_cmsis_nn(case: Case, graph: Graph, core: str, checkout: Path, live: bool) -> Row:
    """CMSIS-NN at the level of optimisation that takes the fewest instructions, in the least arena that is found."""
    files = library(checkout)
    found = cores.load(core)
    asked = run({**files, **cmsis_nn.sizes_program(graph)}, found, case.images[:1], flags=cmsis_nn.FLAGS)
    program = {**files, **cmsis_nn.program(graph, asked.outputs[0][0].tolist())}
    made = {level: run(program, found, case.images, flags=(*cmsis_nn.FLAGS, level)) for level in cmsis_nn.LEVELS}
    level = min(made, key=lambda one: made[one].instructions)
    return told(case, made[level], "CMSIS-NN", level, live, f"{found.name}, {level}")


def rows(case: Case, core: str, checkout: Path | None) -> Iterator[Row]:
    """CMSIS-NN, then Rillet's plans, each of the network as it is given and of its live channels."""
    target = board_of(core)
    whole = of_cmsis_nn(case, case.graph, core, checkout, False) if checkout else None
    if whole is not None and checkout is not None:
        yield beside(whole, whole)
        if case.live.macs < case.graph.macs:
            yield beside(of_cmsis_nn(case, case.live, core, checkout, True), whole)
    for live, graph in ((False, case.graph), (True, case.live)):
        if live and graph.macs == case.graph.macs:
            continue
        for objective in ("memory", "time"):
            plan = rillet.plan(graph, target, objective=objective)
            made = run(plan, cores.load(core), case.images)
            yield beside(told(case, made, "Rillet", objective, live, target.kernels), whole)


def beside(row: Row, whole: Row | None) -> Row:
    """With the parts of CMSIS-NN's numbers."""
    if whole is None:
        return row
    return replace(
        row,
        of_cmsis_nn=row.instructions / whole.instructions,
        ram_of_cmsis_nn=row.ram_bytes / whole.ram_bytes,
    )


COLUMNS = (
    *("network", "core", "runtime", "plan", "live channels", "instructions", "per MAC", "of CMSIS-NN's"),
    *("RAM", "of CMSIS-NN's", "stack", "flash", "wrong bytes"),
)


def line(row: Row) -> str:
    """A row of the Markdown table."""
    share = "" if row.of_cmsis_nn is None else f"{row.of_cmsis_nn:.3f}"
    ram = "" if row.ram_of_cmsis_nn is None else f"{row.ram_of_cmsis_nn:.3f}"
    plan = row.objective if row.runtime != "Rillet" or row.kernels != "portable" else f"{row.objective}, portable"
    cells = (
        *(row.model, row.core, row.runtime, plan, "yes" if row.live else "", f"{row.instructions:,}"),
        *(f"{row.instructions_per_mac:.2f}", share, f"{row.ram_bytes:,}", ram, f"{row.stack_bytes:,}"),
        *(f"{row.flash_bytes:,}", str(row.wrong)),
    )
    return f"| {' | '.join(cells)} |"


# -- TensorFlow Lite Micro ---------------------------------------------------------------------------------------------

_ARENA = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1]).print_allocations()
"""


def micro_arena(path: Path) -> int | None:
    """Bytes of the arena that TensorFlow Lite Micro says it takes on this machine; None where it cannot be asked."""
    if find_spec("tflite_micro") is None:
        return None
    done = subprocess.run([sys.executable, "-c", _ARENA, str(path)], capture_output=True, text=True, check=False)
    words = [line.split() for line in (done.stdout + done.stderr).splitlines() if "Arena allocation total" in line]
    return int(words[0][words[0].index("total") + 1]) if words else None


def arena_sentence(case: Case) -> str:
    """What TensorFlow Lite Micro takes for activations: measured where it runs, else computed, and which it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = case.path
        if path is None:
            path = Path(folder) / "net.tflite"
            rillet.save(case.graph, path)
        measured = micro_arena(path)
    if measured is not None:
        return f"{case.label}: TensorFlow Lite Micro's arena, as it says on this machine: {measured:,} bytes"
    return (
        f"{case.label}: TensorFlow Lite Micro was not run; a planner as it documents its own (greedy, the largest map "
        f"first, input and output in the arena) takes {cmsis_nn.arena_bytes(case.graph):,} bytes for the maps alone, "
        "computed, without its tensors' records and its operators' buffers"
    )


# -- the command -------------------------------------------------------------------------------------------------------


def said(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cmsis-nn", type=Path, help="a checkout of ARM-software/CMSIS-NN")
    parser.add_argument("--only", default="", help="only networks whose name has these words")
    parser.add_argument("--cores", default="m4,m0plus,m55", help=f"of {', '.join(BOARDS)}")
    parser.add_argument("--inputs", type=int, default=SEED_IMAGES, help="seeded random images a program runs on")
    parser.add_argument("--json", action="store_true")
    found = parser.parse_args(arguments)
    wrong = [core for core in found.cores.split(",") if core not in BOARDS]
    if wrong:
        parser.error(f"--cores must be of {', '.join(BOARDS)}, got {wrong[0]}")
    if found.inputs < 1:
        parser.error(f"--inputs must be at least 1, got {found.inputs}")
    return found


def cases(words: str, inputs: int) -> Iterator[Case]:
    """The networks that are here; those that are not are named on standard error."""
    for label, name in NETWORKS:
        if words in label:
            try:
                yield opened(label, name, inputs)
            except RilletError as error:
                print(f"not measured: {error}", file=sys.stderr)


def main() -> None:
    asked = said()
    if not asked.json:
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * 5}{'---:|' * (len(COLUMNS) - 5)}")
    all_rows: list[Row] = []
    arenas: list[str] = []
    for case in cases(asked.only, asked.inputs):
        arenas.append(arena_sentence(case))
        for core in asked.cores.split(","):
            try:
                for row in rows(case, core, asked.cmsis_nn):
                    all_rows.append(row)
                    if not asked.json:
                        print(line(row), flush=True)
            except RilletError as error:
                print(f"not measured: {case.label} on {core}: {error}", file=sys.stderr)
    if asked.json:
        print(json.dumps({"rows": [asdict(row) for row in all_rows], "tensorflow_lite_micro": arenas}, indent=2))
        return
    compilers = ", ".join(dict.fromkeys(row.compiler for row in all_rows))
    print(f"\nOne image; RAM is .data + .bss. {compilers}.\n")
    print("\n".join(f"- {sentence}" for sentence in arenas))


if __name__ == "__main__":
    try:
        main()
    except RilletError as error:
        sys.exit(str(error))
    except BrokenPipeError:
        os._exit(1)
