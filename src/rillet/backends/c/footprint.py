"""What a program takes on a board, known before it is built: RAM, flash, instructions and time of one image."""

from collections.abc import Mapping
from dataclasses import dataclass

from rillet.backends.c.context import context_bytes
from rillet.backends.c.data import own_arrays, program_arrays
from rillet.backends.c.emit import outside_pixels
from rillet.backends.c.order import order_of, table_bytes
from rillet.backends.c.storage import as_stored
from rillet.ir.graph import Array
from rillet.plan.board.code import code_bytes
from rillet.plan.board.cost import dense_calls, list_calls, plan_instructions, rings_of, tile_of
from rillet.plan.board.stack import stack_bytes
from rillet.plan.rows.kernels import DENSE_TILE
from rillet.plan.rows.plan import Kernel, RowPlan, Segment, Stage
from rillet.system.record import Record
from rillet.targets.boards import Board

_ALIGNMENT = 4


@dataclass(frozen=True, slots=True, repr=False)
class Footprint(Record):
    """A program on a board. What weights decide is None for a network without weights; instructions and times are None
    where the board has no kernels of its core, or no cycles an instruction.
    """

    board: str
    kernels: str
    arena_bytes: int
    context_bytes: int
    ram_bytes: int
    """Arena and context: .data and .bss of a program that keeps both."""
    stack_bytes: int | None
    """A bound, below the caller of `net_run`; None where the core is no Cortex-M."""
    constant_bytes: int | None
    """All arrays of the program: weights, biases, tables and padding."""
    code_bytes: int
    """An estimate from above, of gcc -O3."""
    flash_bytes: int | None
    """Constants and code."""
    flash_read_bytes: int | None
    """Of constants, for one image."""
    instructions: int | None
    """Of one image."""
    milliseconds: float | None
    low_milliseconds: float | None
    high_milliseconds: float | None

    def __repr__(self) -> str:
        flash = "" if self.flash_bytes is None else f", {self.flash_bytes:,} bytes of flash"
        count = "" if self.instructions is None else f", {self.instructions:,} instructions"
        return f"<Footprint on {self.board}: {self.ram_bytes:,} bytes of RAM{flash}{count}>"


def footprint(plan: RowPlan, board: Board) -> Footprint:
    """What the program of a plan takes on a board."""
    constants = reads = None
    if plan.graph.params:
        arrays = _arrays(plan)
        constants = sum(_aligned(array.nbytes) for array in own_arrays(arrays).values()) + table_bytes(order_of(plan))
        reads = _flash_reads(plan, arrays)
    code = code_bytes(plan)
    count = None if plan.core is None else round(plan_instructions(plan))
    cycles, rate = board.cycles_per_instruction, 1e3 / board.clock_hz
    low, middle, high = (None, None, None)
    if cycles is not None and count is not None:
        low, middle, high = (count * each * rate for each in (cycles.low, cycles.value, cycles.high))
    return Footprint(
        board=board.name,
        kernels=plan.kernels,
        arena_bytes=plan.arena_bytes,
        context_bytes=context_bytes(plan),
        ram_bytes=_aligned(plan.arena_bytes) + context_bytes(plan),
        stack_bytes=None if board.cortex is None else stack_bytes(plan, board.cortex),
        constant_bytes=constants,
        code_bytes=code,
        flash_bytes=None if constants is None else constants + code,
        flash_read_bytes=reads,
        instructions=count,
        milliseconds=middle,
        low_milliseconds=low,
        high_milliseconds=high,
    )


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


def _arrays(plan: RowPlan) -> dict[str, Array]:
    """Every constant array of the program."""
    stored = as_stored(plan)
    return program_arrays(stored, plan.graph) | outside_pixels(stored)


def _flash_reads(plan: RowPlan, arrays: Mapping[str, Array]) -> int:
    """Bytes of constants that loads read for one image."""
    read = 0
    for segment in plan.segments:
        for stage in segment.stages:
            own = sum(array.nbytes for name, array in arrays.items() if _is_of(name, stage.node))
            read += _passes(plan, segment, stage) * own + _looked_up(plan, stage)
    return read


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
        case Kernel.LOOKUP | Kernel.SOFTMAX | Kernel.COPY:
            return 0
        case _:
            return node.shape.pixels


def _looked_up(plan: RowPlan, stage: Stage) -> int:
    shape = plan.graph.by_name[stage.node].shape
    each = {Kernel.LOOKUP: 1, Kernel.SOFTMAX: 8}.get(stage.kernel, 0)
    return each * shape.pixels * shape.channels
