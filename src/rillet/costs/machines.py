"""One network on machines of all kinds: memory, cycles, energy and fit of each, by one set of conventions.

Each row says at what precision it was computed. A board computes as the network is, or as `bits` say; arrays and chips
have integers alone: 8 bits of values and weights (a chip fewer, for a network whose weights have fewer), sums of 32.

- A systolic array works layer by layer; its cycles are those of `exact`, and the stalls of a DRAM that brings each
  layer's inputs, weights and outputs once. It fits always: what its buffers do not hold lies in DRAM.
- A chip that streams runs the pixel plan with the least interval within its multipliers and memory. It fits where
  there is one: no weight is ever loaded again.
- A board runs its plan with the least arena, as `fit` has it; its cycles are the instructions of an image x cycles an
  instruction, with their band. It fits where RAM and flash hold all. Of portable kernels and of floats there are none.

A multiply-accumulate is two operations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from rillet.analyses.count import count
from rillet.analyses.energy import Energy, Schedule, energy, traffic_of
from rillet.analyses.memory import precision, stored_at, value_bits
from rillet.analyses.streamed import of_pixels, of_rows
from rillet.analyses.systolic import Systolic, systolic
from rillet.costs.fit import Planned, planned
from rillet.errors import TargetError, Unsupported
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.ir.types import DType
from rillet.plan.pipeline.entry import plan_pixels
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.system.record import Record
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Kind, Machine
from rillet.targets.chips import StreamChip
from rillet.targets.technology import Technology
from rillet.transforms.fold import without_weights

BITS = 8
"""Of what has integers alone."""
MACHINES = (ArrayMachine, StreamChip, Board)
KINDS = (Kind.ARRAY, Kind.CHIP, Kind.BOARD)
"""What a network can be costed on, as classes and as kinds: a host's time is measured (bench), not modelled."""


_FLOOR = "a floor: a board's instructions are not counted, of which no table prints the energy"


class MachineKind(StrEnum):
    """What a machine is."""

    ARRAY = "systolic array"
    CHIP = "stream chip"
    BOARD = "board"


@dataclass(frozen=True, slots=True)
class Cost:
    """A network on a machine; None where nothing can be said, as for cycles of a chip that it does not fit."""

    model: str
    target: str
    """The name by which the machine was asked for."""
    machine: str
    kind: MachineKind
    precision: str
    """Element type of activations and weights on this machine, such as `int8`."""
    own_precision: str
    """Element type in the network itself."""
    macs: int
    params: int
    weight_bytes: int
    """Weights and biases; on a board all of flash, code among it."""
    activation_bytes: int | None
    """Full tensors on an array, rings on a chip, RAM on a board."""
    fits: bool
    misses: tuple[str, ...]
    """Reasons why it does not fit, a sentence each."""
    cycles: int | None
    """Of one image: in a pipeline, from one to the next."""
    low_cycles: int | None
    high_cycles: int | None
    clock_hz: float
    latency_s: float | None
    """From the first input pixel to the last value of the result."""
    images_per_s: float | None
    peak_ops_per_s: float | None
    """Two for each element or multiplier a cycle; None on a board, whose kernels no number bounds."""
    needed_ops_per_s: float
    """Of the network, at the images a second that are asked for."""
    utilisation: float | None
    """Operations of the network over those that the machine could do in its time."""
    schedule: str
    """What energy is counted by."""
    low_uj: float | None
    uj: float | None
    """None for a board, whose instructions no table prints: there is only a floor, `low_uj`."""
    high_uj: float | None


@dataclass(frozen=True, slots=True, repr=False)
class CostTable(Record):
    """A network on machines, side by side."""

    model: str
    fps: float
    """Images per second that are required."""
    node: str
    targets: tuple[Cost, ...]
    machines: tuple[Machine, ...]
    technology: Technology

    @property
    def fits(self) -> bool:
        """True where it fits one of the machines."""
        return any(one.fits for one in self.targets)

    def __repr__(self) -> str:
        number = sum(one.fits for one in self.targets)
        return f"<CostTable {self.model}: fits {number} of {len(self.targets)} machines>"


def _silent(done: int, total: int) -> None:
    """No progress."""


class Costs:
    """Costs of one network, with what all machines share computed once."""

    def __init__(
        self, graph: Graph, technology: Technology, images_per_s: float = 30.0, bits: int | None = None
    ) -> None:
        if not 0 < images_per_s < float("inf"):
            raise TargetError(f"--fps must be above 0, got {images_per_s:g}")
        if bits not in (None, 8, 32):
            raise TargetError(f"--bits must be 8 or 32, got {bits!r}")
        self.graph, self.technology, self.wanted, self.bits = graph, technology, images_per_s, bits
        self.counted, self.own = count(graph, bits=BITS), precision(graph)

    def on(
        self, machines: Sequence[tuple[str, Machine]], progress: Callable[[int, int], None] = _silent
    ) -> tuple[Cost, ...]:
        """The network on each of the named machines, in their order; raises TargetError for a lacking technology,
        and for 32 bits where no machine has floats.
        """
        if self.bits == 32 and not any(isinstance(machine, Board) for _, machine in machines):
            raise TargetError("--bits 32 must come with a board: arrays and chips have integers alone")
        found: list[Cost] = []
        for name, machine in machines:
            match machine:
                case ArrayMachine():
                    found.append(self._array(name, machine))
                case StreamChip():
                    found.append(self._chip(name, machine))
                case Board():
                    found.append(self._board(name, machine))
            progress(len(found), len(machines))
        return tuple(found)

    @cached_property
    def boards(self) -> Planned:
        """The network at the precision that a board stores, to be planned."""
        return planned(self.graph, self.bits)

    def _array(self, name: str, machine: ArrayMachine) -> Cost:
        made = on_array(self.graph, machine)
        cycles = made.cycles + made.stall_cycles
        spent = energy(self.graph, self.technology, schedule=Schedule.SYSTOLIC, traffic=traffic_of(made))
        return self._cost(
            (name, machine.name, MachineKind.ARRAY, "int8"),
            memory=(self.counted.weight_bytes, plan_layerwise(stored_at(self.graph, BITS)).arena_bytes),
            cycles=(cycles, cycles, cycles),
            clock_hz=machine.clock_hz,
            peak=2 * machine.rows * machine.columns * machine.clock_hz,
            spent=spent,
        )

    def _chip(self, name: str, machine: StreamChip) -> Cost:
        made: PixelPlan | None = None
        misses: tuple[str, ...] = ()
        try:
            made = plan_pixels(without_weights(self.graph), chip=machine, pipeline=machine.pipeline)
        except (TargetError, Unsupported) as error:
            misses = (str(error),)
        spent = energy(made.graph, self.technology, schedule=Schedule.STREAM, plan=of_pixels(made)) if made else None
        return self._cost(
            (name, machine.name, MachineKind.CHIP, _integers(self.graph)),
            memory=(
                -(-made.resident_bits // 8) if made else self.counted.weight_bytes,
                -(-made.buffer_bits // 8) if made else None,
            ),
            cycles=(made.interval_cycles, made.interval_cycles, made.interval_cycles) if made else None,
            clock_hz=machine.clock_hz,
            peak=2 * machine.multipliers * machine.clock_hz,
            spent=spent,
            misses=misses,
            latency_cycles=made.latency_cycles if made else None,
        )

    def _board(self, name: str, machine: Board) -> Cost:
        memory, spent, cycles = (self.counted.weight_bytes, None), None, None
        try:
            found, (plan, _) = self.boards.on(machine), self.boards.plan(machine)
        except Unsupported as error:
            misses = (str(error),)
        else:
            spent = _stream_energy(self.graph, plan, self.technology)
            memory, misses = (found.flash_bytes, found.ram_bytes), found.misses
            count, rates = found.footprint.instructions, machine.cycles_per_instruction
            if count is not None and rates is not None:
                cycles = (round(count * rates.low), round(count * rates.value), round(count * rates.high))
        return self._cost(
            (name, machine.name, MachineKind.BOARD, precision(self.boards.graph)),
            memory=memory,
            cycles=cycles,
            clock_hz=machine.clock_hz,
            peak=None,
            spent=spent,
            misses=misses,
        )

    def _cost(
        self,
        said: tuple[str, str, MachineKind, str],
        *,
        memory: tuple[int, int | None],
        cycles: tuple[int, int, int] | None,
        clock_hz: float,
        peak: float | None,
        spent: Energy | None,
        misses: tuple[str, ...] = (),
        latency_cycles: int | None = None,
    ) -> Cost:
        target, machine, kind, computed_at = said
        low, middle, high = cycles or (None, None, None)
        rate = clock_hz / middle if middle else None
        latency = latency_cycles or middle
        exact = spent is not None and kind is not MachineKind.BOARD
        return Cost(
            model=self.graph.name,
            target=target,
            machine=machine,
            kind=kind,
            precision=computed_at,
            own_precision=self.own,
            macs=self.counted.macs,
            params=self.counted.params,
            weight_bytes=memory[0],
            activation_bytes=memory[1],
            fits=not misses,
            misses=misses,
            cycles=middle,
            low_cycles=low,
            high_cycles=high,
            clock_hz=clock_hz,
            latency_s=latency / clock_hz if latency else None,
            images_per_s=rate,
            peak_ops_per_s=peak,
            needed_ops_per_s=2 * self.counted.macs * self.wanted,
            utilisation=min(1.0, 2 * self.counted.macs * rate / peak) if rate and peak else None,
            schedule=spent.schedule if spent else "",
            low_uj=spent.low_uj if spent else None,
            uj=spent.total_uj if spent and exact else None,
            high_uj=spent.high_uj if spent and exact else None,
        )


def costs(
    graph: Graph,
    machines: Sequence[tuple[str, Machine]],
    technology: Technology,
    images_per_s: float = 30.0,
    bits: int | None = None,
    progress: Callable[[int, int], None] = _silent,
) -> tuple[Cost, ...]:
    """The network on each of the named machines, in their order.

    images_per_s: what is asked of a machine. bits: 8 or 32 (float) on boards, instead of the network's own precision.
    Raises TargetError where the technology lacks what is asked of it, for a rate that is not above 0, and for bits that
    there are not.
    """
    return Costs(graph, technology, images_per_s, bits).on(machines, progress)


def _stream_energy(graph: Graph, plan: RowPlan, technology: Technology) -> Energy:
    """Energy of a row plan at the precision that it was made for."""
    few = {
        node.name: node.op.weights.bits
        for node in plan.graph.nodes
        if has_weights(node.op) and node.op.weights in (DType.TERNARY, DType.BINARY)
    }
    word = "fp32" if value_bits(plan.graph) == 32 else BITS
    return energy(
        graph,
        technology,
        bits=word,
        accumulator=32 if word == BITS else word,
        weight_bits=few or None,
        schedule=Schedule.STREAM,
        plan=of_rows(plan),
    )


def _least_plan(stored: Graph) -> RowPlan:
    """The row plan with the least arena, rows pushed in where that can be; raises Unsupported where there is none."""
    try:
        return plan_rows(stored)
    except Unsupported:
        return plan_rows(stored, resident=True)


def _integers(graph: Graph) -> str:
    """What a network is on a chip: 8 bits, and weights of fewer where they have fewer."""
    return ", ".join(("int8", *precision(graph).split(", ")[1:]))


def energy_on(graph: Graph, machine: Machine | None, technology: Technology) -> Energy:
    """Energy of an image in 8-bit integers, as `costs` counts it; of a board, and without a machine, that of the row
    plan.

    Raises TargetError where a chip has no room for the network, Unsupported where it does not stream.
    """
    match machine:
        case ArrayMachine():
            return energy(graph, technology, schedule=Schedule.SYSTOLIC, traffic=traffic_of(on_array(graph, machine)))
        case StreamChip():
            plan = plan_pixels(without_weights(graph), chip=machine, pipeline=machine.pipeline)
            return energy(plan.graph, technology, schedule=Schedule.STREAM, plan=of_pixels(plan))
        case Board() | None:
            plan = _least_plan(stored_at(graph, BITS)) if machine is None else planned(graph, BITS).plan(machine)[0]
            found = energy(graph, technology, schedule=Schedule.STREAM, plan=of_rows(plan))
            return found if machine is None else replace(found, notes=(*found.notes, _FLOOR))


def on_array(graph: Graph, machine: ArrayMachine) -> Systolic:
    """Cycles of a network on an array, its stalls for DRAM beside them."""
    return systolic(
        graph,
        rows=machine.rows,
        columns=machine.columns,
        dataflow=machine.dataflow,
        hardware=machine.hardware,
        dram_bytes_per_cycle=machine.dram_bytes_per_s / machine.clock_hz,
    )
