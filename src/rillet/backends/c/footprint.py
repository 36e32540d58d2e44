"""What a program takes on a board, known before it is built: RAM, flash, instructions and time of one image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rillet.backends.c.context import context_bytes
from rillet.backends.c.data import own_arrays, program_arrays, same_arrays
from rillet.backends.c.emit import outside_pixels
from rillet.backends.c.sizes import array_sizes
from rillet.backends.c.storage import as_stored
from rillet.ir.facts import has_weights
from rillet.ir.ops import Rounding
from rillet.plan.board.code import code_bytes
from rillet.plan.board.cost import dense_calls, list_calls, plan_instructions, rings_of, tile_of
from rillet.plan.board.kernels import finish
from rillet.plan.board.stack import stack_bytes
from rillet.plan.rows.kernels import DENSE_TILE
from rillet.plan.rows.order import table_bytes
from rillet.plan.rows.plan import CoreKernels, Kernel, RowPlan, Segment, Stage
from rillet.system.record import Record
from rillet.targets.boards import Board

_ALIGNMENT = 4


@dataclass(frozen=True, slots=True, repr=False)
class Footprint(Record):
    """A program on a board; of a network without weights, one whose weights fit the kernels. Instructions and times are
    None where the board has no kernels of its core, for layers of floats, and where it has no cycles an instruction.
    """

    board: str
    kernels: str
    arena_bytes: int
    context_bytes: int
    ram_bytes: int
    """Arena and context: .data and .bss of a program that keeps both."""
    stack_bytes: int | None
    """A bound, below the caller of `net_run`; None where the core is no Cortex-M."""
    constant_bytes: int
    """All arrays of the program: weights, biases, tables and padding."""
    code_bytes: int
    """An estimate from above, of gcc -O3."""
    flash_bytes: int
    """Constants and code."""
    flash_read_bytes: int
    """Of constants, for one image."""
    instructions: int | None
    """Of one image."""
    milliseconds: float | None
    low_milliseconds: float | None
    high_milliseconds: float | None

    def __repr__(self) -> str:
        flash = f", {self.flash_bytes:,} bytes of flash"
        count = "" if self.instructions is None else f", {self.instructions:,} instructions"
        return f"<Footprint on {self.board}: {self.ram_bytes:,} bytes of RAM{flash}{count}>"


def footprint(plan: RowPlan, board: Board) -> Footprint:
    """What the program of a plan takes on a board."""
    sizes, kept = _sizes(plan)
    constants = kept + table_bytes(plan.order)
    code = code_bytes(plan)
    count = round(plan_instructions(plan)) if counts_instructions(plan) else None
    made = Footprint(
        board=board.name,
        kernels=plan.kernels,
        arena_bytes=plan.arena_bytes,
        context_bytes=context_bytes(plan),
        ram_bytes=_aligned(plan.arena_bytes) + context_bytes(plan),
        stack_bytes=None,
        constant_bytes=constants,
        code_bytes=code,
        flash_bytes=constants + code,
        flash_read_bytes=_flash_reads(plan, sizes),
        instructions=count,
        milliseconds=None,
        low_milliseconds=None,
        high_milliseconds=None,
    )
    return on_board(made, plan, board)


def on_board(found: Footprint, plan: RowPlan, board: Board) -> Footprint:
    """What the program of a plan takes on another board with the same kernels than that of `found`."""
    cycles, rate, times = board.cycles_per_instruction, 1e3 / board.clock_hz, None
    if cycles is not None and found.instructions is not None:
        times = [found.instructions * each * rate for each in (cycles.low, cycles.value, cycles.high)]
    low, middle, high = times or (None, None, None)
    return replace(
        found,
        board=board.name,
        stack_bytes=None if board.cortex is None else stack_bytes(plan, board.cortex),
        milliseconds=middle,
        low_milliseconds=low,
        high_milliseconds=high,
    )


def counts_instructions(plan: RowPlan) -> bool:
    """True where the instructions of a plan are known: all its sums are of bytes, by kernels of the board's core."""
    return plan.core is not None and not computes_floats(plan)


def computes_floats(plan: RowPlan) -> bool:
    """True where a layer with weights computes in float32."""
    return any(has_weights(node.op) and node.op.real for node in plan.graph.nodes)


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


def _sizes(plan: RowPlan) -> tuple[dict[str, int], int]:
    """Bytes of every constant array of the program by its name, and those of all together, equal ones once."""
    stored = as_stored(plan)
    if not plan.graph.params:
        outside = {name: array.nbytes for name, array in outside_pixels(stored).items()}
        every, own = array_sizes(stored, plan.graph)
        return every | outside, sum(map(_aligned, (own | outside).values()))
    arrays = program_arrays(stored, plan.graph) | outside_pixels(stored)
    kept = sum(_aligned(array.nbytes) for array in own_arrays(arrays, same_arrays(arrays)).values())
    return {name: array.nbytes for name, array in arrays.items()}, kept


def _flash_reads(plan: RowPlan, sizes: Mapping[str, int]) -> int:
    """Bytes of constants that loads read for one image."""
    read = 0
    for segment in plan.segments:
        for stage in segment.stages:
            own = sum(size for name, size in sizes.items() if _is_of(name, stage.node))
            read += _passes(plan, segment, stage) * own + _read_again(plan, segment, stage) + _looked_up(plan, stage)
    return read


def _read_again(plan: RowPlan, segment: Segment, stage: Stage) -> int:
    """What kernels of Armv6-M, which have few registers, read for each pixel of a call: mantissas and nudges, or nudges
    alone under the rule `shift`.
    """
    node = plan.graph.by_name[stage.node]
    match stage.kernel:
        case Kernel.CORE_DENSE if plan.core is CoreKernels.ARMV6M and finish(plan.graph, node, plan.core).by_words:
            calls = dense_calls(node, tile_of(segment), rings_of(plan, stage))
        case Kernel.CORE_LISTS:
            calls = list_calls(node, tile_of(segment))
        case _:
            return 0
    assert has_weights(node.op)
    each = 4 if node.op.rounding is Rounding.SHIFT else 8
    return node.shape.channels * each * sum(count * (pixels - 1) for pixels, count in calls.items())


def _is_of(array: str, node: str) -> bool:
    return array.startswith(f"net_{node}_") and "_" not in array.removeprefix(f"net_{node}_")


def _passes(plan: RowPlan, segment: Segment, stage: Stage) -> int:
    """How often a stage reads all its weights and constants."""
    node = plan.graph.by_name[stage.node]
    match stage.kernel:
        case Kernel.CORE_DENSE:
            return dense_calls(node, tile_of(segment), rings_of(plan, stage)).total()
        case Kernel.CORE_LISTS:
            return list_calls(node, tile_of(segment)).total()
        case Kernel.CORE_PLANES:
            return node.shape.height
        case Kernel.DENSE:
            return -(-node.shape.pixels // (DENSE_TILE if stage.tile_pixels >= DENSE_TILE else 1))
        case Kernel.LOOKUP | Kernel.SOFTMAX | Kernel.COPY | Kernel.INTERPOLATE:
            return 0
        case _:
            return node.shape.pixels


def _looked_up(plan: RowPlan, stage: Stage) -> int:
    shape = plan.graph.by_name[stage.node].shape
    each = {Kernel.LOOKUP: 1, Kernel.SOFTMAX: 8}.get(stage.kernel, 0)
    return each * shape.pixels * shape.channels
