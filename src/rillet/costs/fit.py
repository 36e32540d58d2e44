"""Fit of a network on microcontrollers: what its plan for each board takes there, and what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rillet.analyses.memory import precision, stored_as, value_bits
from rillet.backends.c.footprint import Footprint, computes_floats, footprint, on_board
from rillet.errors import TargetError, Unsupported
from rillet.ir.facts import has_weights, has_window, is_given, is_input, is_pool
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Window
from rillet.ir.types import Shape
from rillet.plan.board.kernels import choose_core
from rillet.plan.board.planner import core_kernels, plan_board
from rillet.plan.choose import folded
from rillet.plan.pipeline.bottleneck import span_along
from rillet.plan.rows.kernels import choose
from rillet.plan.rows.plan import CoreKernels, RowPlan
from rillet.plan.rows.planner import plan_layerwise
from rillet.targets.boards import Board
from rillet.targets.cores import CORES, Architecture
from rillet.transforms.fold import without_weights


@dataclass(frozen=True, slots=True)
class Fit:
    """One network on one board, under the plan that `rillet plan` makes for it."""

    model: str
    board: str
    precision: str
    """What it was planned at, such as `int8`."""
    own_precision: str
    """What the network is by itself."""
    bits: int
    """Bits of an activation: 32 for float32."""
    objective: str
    """Of the plan: `memory` or `time`."""
    fits: bool
    footprint: Footprint
    """What its program takes."""
    ram_bytes: int
    """Arena, state, and the stack where it is known."""
    ram_limit: int
    ram_spare: int
    """Bytes left over; negative where some are missing."""
    flash_bytes: int
    """Constants and code."""
    flash_limit: int
    flash_spare: int
    layerwise_bytes: int
    """The arena layer by layer, full tensors and all."""
    macs: int
    milliseconds: float | None
    """As planned, with their band; None where `untimed` says why."""
    low_milliseconds: float | None
    high_milliseconds: float | None
    untimed: str
    """A sentence where there are no milliseconds."""
    fullest: str
    """The layers that run when RAM is fullest."""
    image_resident: bool
    """True where the whole image must lie in RAM, as its rows cannot be pushed in (`--resident`)."""
    misses: tuple[str, ...]
    """Resources that are short and by how much, a sentence each."""


def silent(done: int, total: int) -> None:
    """No progress."""


class Planned:
    """A network and its plans for boards: one for all boards with the same kernels, where RAM does not decide."""

    def __init__(self, graph: Graph, objective: str = "memory", own_precision: str = "") -> None:
        """graph: as it is to be stored. own_precision: that of the network where it is another."""
        self.graph, self.objective = folded(graph), objective
        self.own_precision = own_precision or precision(self.graph)
        self._plans: dict[tuple[CoreKernels | None, int | None], tuple[RowPlan, Footprint]] = {}
        self._resident = False

    @cached_property
    def layerwise_bytes(self) -> int:
        """Bytes of activations layer by layer."""
        return plan_layerwise(self.graph).arena_bytes

    def plan(self, board: Board) -> tuple[RowPlan, Footprint]:
        """The plan for a board, rows pushed in where that can be, and what it takes there; raises Unsupported where
        there is none.
        """
        key = (core_kernels(board), board.ram_bytes if self.objective == "time" else None)
        if key not in self._plans:
            made = self._made(board)
            self._plans[key] = made, footprint(made, board)
        made, found = self._plans[key]
        return replace(made, board=board), on_board(found, made, board)

    def _made(self, board: Board) -> RowPlan:
        if not self._resident:
            try:
                return plan_board(self.graph, board, board.ram_bytes, self.objective)
            except Unsupported:
                self._resident = True
        return plan_board(self.graph, board, board.ram_bytes, self.objective, resident=True)

    def on(self, board: Board) -> Fit:
        """What the network takes beside what a board has."""
        plan, found = self.plan(board)
        ram = found.ram_bytes + (found.stack_bytes or 0)
        fullest = max(plan.segments, key=lambda segment: segment.peak_bytes)
        where = " to ".join(dict.fromkeys((fullest.stages[0].node, fullest.stages[-1].node)))
        misses = _misses(found, board, f"; fullest in {where}") + _too_small_for(self.graph, board)
        return Fit(
            model=self.graph.name,
            board=board.name,
            precision=precision(self.graph),
            own_precision=self.own_precision,
            bits=value_bits(self.graph),
            objective=self.objective,
            fits=not misses,
            footprint=found,
            ram_bytes=ram,
            ram_limit=board.ram_bytes,
            ram_spare=board.ram_bytes - ram,
            flash_bytes=found.flash_bytes,
            flash_limit=board.flash_bytes,
            flash_spare=board.flash_bytes - found.flash_bytes,
            layerwise_bytes=self.layerwise_bytes,
            macs=plan.macs,
            milliseconds=found.milliseconds,
            low_milliseconds=found.low_milliseconds,
            high_milliseconds=found.high_milliseconds,
            untimed=_untimed(plan, board),
            fullest=where,
            image_resident=plan.resident,
            misses=tuple(misses),
        )


def _misses(found: Footprint, board: Board, where: str = "") -> list[str]:
    """Which memory of a board is too small, and by how much."""
    misses: list[str] = []
    ram = found.ram_bytes + (found.stack_bytes or 0)
    if ram > board.ram_bytes:
        few = f"{ram - board.ram_bytes:,} too few{where}"
        misses.append(f"RAM must be at least {ram:,} bytes, got {board.ram_bytes:,}: {few}")
    if found.flash_bytes > board.flash_bytes:
        few = f"{found.flash_bytes - board.flash_bytes:,} too few"
        misses.append(f"flash must be at least {found.flash_bytes:,} bytes, got {board.flash_bytes:,}: {few}")
    return misses


def doubts(plan: RowPlan) -> tuple[str, ...]:
    """What whoever builds a board's program should know before: memory that it lacks there, with stack and code, and
    the price of float32 where the core has no unit for it. Sentences; none for a plan of another machine.
    """
    if plan.board is None:
        return ()
    name, helps = plan.graph.name, f"; rillet fit --target {plan.board.key} names what helps"
    said = [f"{name}: {plan.board.name}: {miss}{helps}" for miss in _misses(footprint(plan, plan.board), plan.board)]
    if plan.core is None and plan.board.cortex is None:
        there = f"has no kernels of its own (there are those of {', '.join(CORES)})"
        said.append(
            f"{name}: {plan.board.name}: {plan.board.core} {there}: the program is portable C, emulated nowhere"
        )
    price = _software(plan, plan.board)
    said += [f"{name}: {plan.board.name}: {price}; in 8-bit integers (rillet quantize) about 6"] if price else []
    return tuple(said)


SOFTWARE = {Architecture.V6M: 160, Architecture.V7M: 75}
"""Instructions a MAC of float32 where a core's architecture has no floating-point unit, counted in the emulator: visual
wake words 156 and MobileNetV1 0.25 at 32 x 32 166 on Cortex-M0+, the latter 74 on Cortex-M3; gcc 12 -O3.
"""


def _software(plan: RowPlan, board: Board) -> str:
    """What float32 costs on a core without a floating-point unit; empty where nothing is computed so."""
    each = None if board.cortex is None or board.cortex.fpu else SOFTWARE.get(board.cortex.architecture)
    if each is None or not computes_floats(plan):
        return ""
    count = f"about {each} instructions a MAC, {plan.macs * each / 1e6:,.0f} million an image"
    return f"no floating-point unit: float32 takes {count}"


def planned(graph: Graph, bits: int | None = None, objective: str = "memory") -> Planned:
    """A network at its own precision, or with values and weights of 8 or 32 (float) `bits`, to be planned for boards.

    Raises TargetError for other bits and for an unknown objective.
    """
    if bits not in (None, 8, 32):
        raise TargetError(f"--bits must be 8 or 32, got {bits!r}")
    if objective not in ("memory", "time"):
        raise TargetError(f"--objective must be memory or time, got {objective!r}")
    return Planned(at_bits(graph, bits), objective, precision(graph))


def at_bits(graph: Graph, bits: int | None) -> Graph:
    """The network as it is to be stored: as it is, or with values and weights of other bits and no weights."""
    if bits is None or bits == value_bits(graph):
        return graph
    return stored_as(folded(without_weights(graph)), bits)


def fit(graph: Graph, board: Board, bits: int | None = None, objective: str = "memory") -> Fit:
    """The network on a board; raises as `planned` does, and Unsupported where the network has no row plan."""
    return planned(graph, bits, objective).on(board)


def fit_all(
    graph: Graph,
    boards: Sequence[Board],
    bits: int | None = None,
    objective: str = "memory",
    progress: Callable[[int, int], None] = silent,
) -> tuple[Fit, ...]:
    """The network on each board; raises as `fit` does."""
    made, found = planned(graph, bits, objective), list[Fit]()
    for board in boards:
        found.append(made.on(board))
        progress(len(found), len(boards))
    return tuple(found)


def _untimed(plan: RowPlan, board: Board) -> str:
    """Why the time of a plan is not known; empty where it is."""
    if plan.core is None:
        return f"{board.core} has no kernels of its own here: the program is portable C, and its time is not estimated"
    if computes_floats(plan):
        price = _software(plan, board)
        if price:
            return f"{price}; --bits 8 tells what 8-bit integers take"
        return "instructions of float32 are not counted: --bits 8 tells the time in 8-bit integers"
    if board.cycles_per_instruction is None:
        return f"{board.key} has no cycles_per_instruction"
    return ""


# -- single layers ---------------------------------------------------------------------------------------------------


def _too_small_for(stored: Graph, board: Board) -> list[str]:
    """The worst of the layers that no plan brings into the board: by a window with its result, or by its kernel."""
    stages = [node for node in stored.nodes if not is_given(node.op)]
    kernels = {node.name: kernel_bytes(stored, node) for node in stages if has_weights(node.op)}
    windows = {node.name: least_layer_bytes(stored, node, core_kernels(board)) for node in stages}
    out: list[str] = []
    for sizes, limit, what in (
        (windows, board.ram_bytes, "RAM for a window, its result and scratch memory"),
        (kernels, board.flash_bytes, "flash for its weights"),
    ):
        over = [name for name, size in sizes.items() if size > limit]
        if over:
            worst = max(over, key=sizes.__getitem__)
            more = f" ({len(over) - 1} other layers too)" if len(over) > 1 else ""
            out.append(f"{worst} alone must have {sizes[worst]:,} bytes of {what}, got {limit:,}{more}")
    return out


def kernel_bytes(stored: Graph, node: Node) -> int:
    """Bytes of a layer's weights at their own bits."""
    assert has_weights(node.op)
    count = 1
    for size in node.op.weight_shape(stored.input_shapes(node)[0]):
        count *= size
    return (count * node.op.weights.bits + 7) // 8


def least_layer_bytes(stored: Graph, node: Node, core: CoreKernels | None = None) -> int:
    """Bytes that every plan has while a layer works: the pixels from the first to the last that one window sees, one
    pixel of the result, and scratch memory. Pushed pixels that may be read where the caller has them count nothing.
    """
    if not has_window(node.op):
        return node.type.pixel_bytes
    source = stored.by_name[node.inputs[0]]
    one = choose(stored, node, 1) if core is None else choose_core(stored, node, 1, frozenset(), core)
    if is_pool(node.op) and node.op.window.covers(source.shape):
        return one.scratch_bytes + source.type.pixel_bytes
    held = 0 if _may_stay_with_the_caller(stored, source) else _window_pixels(node.op.window, node.shape, source.shape)
    return held * source.type.pixel_bytes + node.type.pixel_bytes + one.scratch_bytes


def _window_pixels(window: Window, out: Shape, source: Shape) -> int:
    """The pixels from the first to the last under one window, where they are most; padding is no pixel."""
    (high, wide), (down, right), (top, _, left, _) = window.kernel, window.stride, window.padding
    rows = span_along(out.height, source.height, high, down, top, window.dilation[0])
    columns = span_along(out.width, source.width, wide, right, left, window.dilation[1])
    further = [int((last - first).max()) for first, last in (rows, columns)]
    return 0 if min(further) < 0 else further[0] * source.width + further[1] + 1


def _may_stay_with_the_caller(stored: Graph, source: Node) -> bool:
    return is_input(source.op) and all(reader.shape == source.shape for reader in stored.consumers[source.name])
