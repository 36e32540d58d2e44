"""Programs for a board on its emulated core: what each plan takes, and which layer takes which instructions.

Instructions are counted, not sampled. A layer's are those of its stage's function and of all that this calls; what runs
the stages is apart.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rillet.backends.c.emit import emit
from rillet.backends.c.names import identifiers
from rillet.costs.fit import doubts
from rillet.errors import TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import op_macs
from rillet.plan.choose import row_plan_for
from rillet.plan.options import PlanOptions
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.emulator import run
from rillet.runtime.emulator.proof import verify_on
from rillet.runtime.run import checked_inputs
from rillet.runtime.verify import random_given
from rillet.targets.boards import Board
from rillet.targets.cores import CORES, Core
from rillet.transforms.live import live

OBJECTIVES = ("memory", "time")
_BETWEEN = "between layers"


@dataclass(frozen=True, slots=True)
class PlanCost:
    """What one plan's program takes on the core, for one image."""

    objective: str
    live: bool
    """Whether its network is the live channels alone."""
    equal: bool
    """Whether its output bytes are the reference's."""
    instructions: int
    instructions_per_mac: float
    """By the MACs of the network as it is given."""
    ram_bytes: int
    """.data and .bss."""
    stack_bytes: int
    flash_bytes: int
    flash_read_bytes: int


@dataclass(frozen=True, slots=True)
class BoardBench:
    """The plans of a network for a board, each on its emulated core."""

    model: str
    macs: int
    board: str
    core: str
    kernels: str
    emulator: str
    compiler: str
    plans: tuple[PlanCost, ...]
    notes: tuple[str, ...]
    """Sentences on rows that are not there, and on what the board lacks for a plan."""


@dataclass(frozen=True, slots=True)
class LayerCount:
    """What one layer takes of an image's instructions."""

    name: str
    kernel: str
    instructions: int
    share: float
    macs: int
    instructions_per_mac: float | None
    """None where it does not multiply."""


@dataclass(frozen=True, slots=True)
class BoardProfile:
    """All layers of a plan in its order; with what is between them they are all instructions of an image."""

    graph: Graph
    board: str
    core: str
    kernels: str
    emulator: str
    compiler: str
    layers: tuple[LayerCount, ...]
    between: int
    """Of what starts the layers: loops over rows, copies of the input and the output."""
    instructions: int
    notes: tuple[str, ...]
    """What the board lacks for the plan, a sentence each."""


def bench_board(graph: Graph, board: Board, progress: Callable[[int, int], None] = lambda _, __: None) -> BoardBench:
    """Runs the plans for memory and for time on the board's core, those of live channels alone beside them.

    Raises TargetError for a board without a Cortex-M core, and for a network that does not fit.
    """
    core = core_of(board, "bench")
    variants, notes = _variants(graph)
    asked = [(live, objective) for live in variants for objective in OBJECTIVES]
    rows: list[PlanCost] = []
    emulator = compiler = ""
    for i, (alone, objective) in enumerate(asked):
        progress(i, len(asked))
        plan = row_plan_for(variants[alone], PlanOptions(target=board, objective=objective))
        notes += [doubt for doubt in doubts(plan) if doubt not in notes]
        made = verify_on(plan, core, 1)
        emulator, compiler = made.emulator, made.compiler
        rows.append(
            PlanCost(
                objective=objective,
                live=alone,
                equal=made.equal,
                instructions=made.instructions,
                instructions_per_mac=made.instructions / graph.macs if graph.macs else 0.0,
                ram_bytes=made.ram_bytes,
                stack_bytes=made.stack_bytes,
                flash_bytes=made.flash_bytes,
                flash_read_bytes=made.flash_read_bytes,
            )
        )
    progress(len(asked), len(asked))
    names = (graph.name, graph.macs, board.name, core.name, board.kernels, emulator, compiler)
    return BoardBench(*names, tuple(rows), tuple(notes))


def profile_board(plan: RowPlan, progress: Callable[[int, int], None] = lambda _, __: None) -> BoardProfile:
    """Counts the instructions of each stage of a board's plan on its emulated core, for one image.

    Raises TargetError for a plan that is not for a board with a Cortex-M core.
    """
    if plan.board is None:
        raise TargetError(f"{plan.graph.name}: must be planned for a board to be profiled there")
    core, graph, files = core_of(plan.board, "profile"), plan.graph, emit(plan)
    owner = _owner_of(files["net.c"], {word: name for name, word in identifiers(graph.by_name).items()})
    progress(0, 1)
    made = run(files, core, [checked_inputs(graph, next(random_given(graph, 1)))], owner_of=owner)
    progress(1, 1)
    layers: list[LayerCount] = []
    for stage in (stage for segment in plan.segments for stage in segment.stages):
        node = graph.by_name[stage.node]
        count, macs = made.owners.get(_layer(stage.node), 0), op_macs(node.op, graph.input_shapes(node))
        each = count / macs if macs else None
        layers.append(LayerCount(stage.node, stage.kernel.value, count, count / made.instructions, macs, each))
    between = made.owners[""] + made.owners.get(_BETWEEN, 0)
    assert sum(layer.instructions for layer in layers) + between == made.instructions
    names = (plan.board.name, core.name, plan.board.kernels, made.emulator, made.compiler)
    return BoardProfile(graph, *names, tuple(layers), between, made.instructions, doubts(plan))


def core_of(board: Board, what: str) -> Core:
    """The core that programs of a board run on here; raises TargetError where it is no Cortex-M."""
    if board.cortex is None:
        raise TargetError(f"{board.name}: core must be one of {', '.join(CORES)} for {what}, got {board.core}")
    return board.cortex


def _variants(graph: Graph) -> tuple[Mapping[bool, Graph], list[str]]:
    """The network, and its live channels where some are not, by whether it is these; and why there are no more."""
    try:
        found = live(graph).graph
    except Unsupported as error:
        return {False: graph}, [f"live channels are not told apart: {error}"]
    if found.macs == graph.macs:
        return {False: graph}, ["all channels are live"]
    return {False: graph, True: found}, []


def _owner_of(text: str, names: Mapping[str, str]) -> Callable[[str], str | None]:
    """Whom a function of the program counts for: a stage's for its layer, others of net.c for none, and kernels for
    who calls them.
    """

    def owner(function: str) -> str | None:
        stage = re.fullmatch(r"(?:run|fire)_(\w+)", function)
        if stage and stage[1] in names:
            return _layer(names[stage[1]])
        return _BETWEEN if re.search(rf"^[a-z].*\b{re.escape(function)}\(.*[^;\n]$", text, re.MULTILINE) else None

    return owner


def _layer(name: str) -> str:
    """A layer as an owner, whatever it is called."""
    return f"layer {name}"
