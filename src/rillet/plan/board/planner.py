"""Plans for a microcontroller with kernels of its core: of pixels, for the least memory, and of rows, for less time."""

from dataclasses import replace

from rillet.ir.graph import Graph
from rillet.ir.types import DType
from rillet.plan.board.cost import instructions
from rillet.plan.board.kernels import ABREAST, choose_core, planes_of
from rillet.plan.rows.arena import ALIGNMENT
from rillet.plan.rows.fits import fits
from rillet.plan.rows.kernels import Choice, refuse_wide
from rillet.plan.rows.pairs import Matrix
from rillet.plan.rows.plan import CoreKernels, RowPlan
from rillet.plan.rows.planner import RowPlanner
from rillet.plan.rows.timing import Tile
from rillet.targets.boards import Board


def core_kernels(board: Board) -> CoreKernels | None:
    """The kernels that programs for a board use; None for portable ones."""
    return None if board.kernels == "portable" else CoreKernels(board.kernels)


def plan_board(
    graph: Graph, board: Board, room: int, objective: str = "memory", resident: bool = False, *, here: bool = False
) -> RowPlan:
    """The plan of least memory, or that of the least estimated time within `room` bytes; the least where none is.

    here: with portable kernels instead of its core's. Raises Unsupported where a node has no kernel.
    """
    refuse_wide(graph, f"a network on {board.name}")
    core = None if here else core_kernels(board)
    if core is not None:
        made = plan_core(graph, core, room, objective, resident)
    else:
        made = _within(RowPlanner(graph, resident), room, objective)
    return replace(made, board=board)


def may_fit(graph: Graph, board: Board, resident: bool = False) -> bool:
    """False where every plan for a board takes more than its RAM; gaps between buffers may make one take more yet.

    Raises Unsupported where a node has no kernel, or rows cannot be pushed in.
    """
    refuse_wide(graph, f"a network on {board.name}")
    core = core_kernels(board)
    planner = RowPlanner(graph, resident) if core is None else CorePlanner(graph, core, resident)
    # The last buffer of an arena need not end in bytes that align what comes after it.
    return fits(planner, board.ram_bytes + ALIGNMENT - 1)


def plan_core(
    graph: Graph, core: CoreKernels, room: int | None = None, objective: str = "memory", resident: bool = False
) -> RowPlan:
    """As `plan_board`, for kernels of a core."""
    rows = None
    if objective == "time":
        rows = _rows_within(graph, core, room, resident)
    return rows or _within(CorePlanner(graph, core, resident), room, objective)


def _within(planner: RowPlanner, room: int | None, objective: str) -> RowPlan:
    if objective == "time":
        made = planner.plan(None) if room is None else planner.within(room)
        if room is None or made.arena_bytes <= room:
            return made
    return planner.tightest()


def _rows_within(graph: Graph, core: CoreKernels, room: int | None, resident: bool) -> RowPlan | None:
    """The least plan of whole rows; None where it takes more than `room` bytes."""
    rows = CoreRowsPlanner(graph, core, resident)
    made = rows.plan(rows.least_bytes)
    return made if room is None or made.arena_bytes <= room else None


KEPT = 2
"""Instructions for a byte of a full tensor, written and read."""


class CorePlanner(RowPlanner):
    """Cuts into segments of pixels, and about how many instructions they take."""

    tiles = (Tile(1), Tile(ABREAST), Tile(2 * ABREAST))

    def __init__(self, graph: Graph, core: CoreKernels, resident: bool) -> None:
        self.core = core
        self.copies_input = graph.input_nodes[0].type.dtype is DType.U8
        super().__init__(graph, resident)

    def _choice(self, index: int, tile: Tile) -> Choice:
        node = self.nodes[index]
        return choose_core(self.graph, node, tile.of(node.shape), frozenset(self.planes), self.core)

    def _times(self, tile: Tile) -> Matrix:
        """About how many instructions every segment takes."""
        return super()._times(tile) + KEPT * self.pairs.kept(self.value_bytes)

    def _node_time(self, index: int, tile: Tile) -> float:
        return instructions(self.graph, self.nodes[index], self.choice(index, tile).kernel, tile, self.core)

    def finish(self, plan: RowPlan) -> RowPlan:
        """Adds the core; its kernels know int8 alone."""
        unsigned = frozenset(node.name for node in self.nodes if node.type.dtype is DType.U8)
        return replace(plan, core=self.core, sign_flipped=unsigned)


class CoreRowsPlanner(CorePlanner):
    """Cuts into segments of whole rows; what depthwise convolutions read is kept channel by channel."""

    tiles = (Tile(rows=1),)
    overlays = False

    def __init__(self, graph: Graph, core: CoreKernels, resident: bool) -> None:
        self.planes = planes_of(graph, core)
        super().__init__(graph, core, resident)
