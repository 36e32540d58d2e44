"""From a machine to its planner: the one place that knows which kind of plan each kind of machine has."""

from dataclasses import replace
from typing import assert_never

from rillet.errors import TargetError
from rillet.ir.facts import is_batch_norm
from rillet.ir.graph import Graph
from rillet.plan.host.planner import plan_host
from rillet.plan.options import PlanKind, PlanOptions
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.targets.boards import Board
from rillet.targets.host import Host
from rillet.transforms.fold import fold


def plan_for(graph: Graph, said: PlanOptions) -> RowPlan | PixelPlan:
    """The plan of a graph, its batch norms folded, for what the options ask.

    Raises TargetError for what cannot be met, Unsupported where a node has no kernel or does not stream.
    """
    match said.kind:
        case PlanKind.MEMORY:
            return _on_processor(graph, said)
        case PlanKind.SPEED:
            assert isinstance(said.target, Host)
            return _on_host(graph, said.target, said)
        case PlanKind.BOARD:
            assert isinstance(said.target, Board)
            return _on_board(graph, said.target, said)
        case PlanKind.CHIP:
            return _on_chip(graph, said)
        case _ as other:
            assert_never(other)


def row_plan_for(graph: Graph, said: PlanOptions) -> RowPlan:
    """As `plan_for`, for those who run the plan as C; raises TargetError for a chip, which has none."""
    made = None if said.kind is PlanKind.CHIP else plan_for(graph, said)
    if not isinstance(made, RowPlan):
        got = f"the chip {said.chip.name}" if said.chip else "options of a chip"
        raise TargetError(f"{graph.name}: must be planned for a host or a board to run as C, got {got}")
    return made


def pixel_plan_for(graph: Graph, said: PlanOptions) -> PixelPlan:
    """As `plan_for`, for those who need a pipeline; raises TargetError for a processor, which has none."""
    made = plan_for(graph, said) if said.kind is PlanKind.CHIP else None
    if not isinstance(made, PixelPlan):
        raise TargetError(f"{graph.name}: must be planned for {PlanKind.CHIP} here, got {said.kind}")
    return made


def folded(graph: Graph) -> Graph:
    """The graph as it is planned: its batch norms folded."""
    return fold(graph) if any(is_batch_norm(node.op) for node in graph.nodes) else graph


def _on_processor(graph: Graph, said: PlanOptions) -> RowPlan:
    return plan_rows(
        folded(graph),
        ram_bytes=said.ram_bytes,
        objective=said.objective or "memory",
        resident=said.resident,
        slower=said.slower_share,
    )


def _on_host(graph: Graph, host: Host, said: PlanOptions) -> RowPlan:
    return plan_host(
        folded(graph),
        host,
        ram_bytes=said.ram_bytes,
        resident=said.resident,
        slower=said.slower_share,
        threads=1 if said.threads is None else said.threads,
        bf16=said.bf16,
    )


def _on_board(graph: Graph, board: Board, said: PlanOptions) -> RowPlan:
    """Within the board's RAM, or the part of it that `--ram` leaves; raises TargetError with by how much it misses. A
    program that runs here with other kernels than the board's may take more.
    """
    # Imported here, as for chips: who plans for a processor waits for neither.
    from rillet.plan.board.planner import core_kernels, plan_board

    room = board.ram_bytes if said.ram_bytes is None else said.ram_bytes
    if room > board.ram_bytes:
        raise TargetError(f"--ram must be at most the {board.ram_bytes:,} bytes of {board.name}, got {room:,}")
    made = plan_board(folded(graph), board, room, said.objective or "memory", said.resident, here=said.here)
    elsewhere = said.here and core_kernels(board) is not None
    if made.arena_bytes > room and not elsewhere:
        remedy = "" if made.arena_bytes <= board.ram_bytes else f"; rillet fit --target {board.key} names what helps"
        raise TargetError(
            f"{graph.name}: must have {made.arena_bytes:,} bytes of RAM for its activations on {board.name}, got "
            f"{room:,}: {made.arena_bytes - room:,} too few{remedy}"
        )
    return made


def _on_chip(graph: Graph, said: PlanOptions) -> PixelPlan:
    from rillet.plan.pipeline.entry import plan_pixels, plan_several

    if said.several is None:
        return plan_pixels(
            graph,
            interval=said.interval,
            multipliers=said.multipliers,
            memory_bits=said.memory_bits,
            chip=said.chip,
            clock_hz=said.clock_hz,
            weight_bits=said.bits or 8,
            ceil=said.ceil,
            narrow=said.narrow,
            pipeline=said.pipeline,
        )
    made, devices = plan_several(
        graph,
        said.several,
        interval=said.interval,
        multipliers=said.multipliers,
        memory_bits=said.memory_bits,
        chip=said.chip,
        clock_hz=said.clock_hz,
        weight_bits=said.bits or 8,
        ceil=said.ceil,
        narrow=said.narrow,
    )
    return replace(made, devices=devices)
