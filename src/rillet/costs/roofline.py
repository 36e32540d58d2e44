"""Roofline model: operations per second against operational intensity, for a network's layers on a machine.

Williams, Waterman and Patterson, CACM 2009. A multiply-accumulate is two operations, a value a byte.

- A systolic array: a point a layer, against DRAM, through which its inputs, weights and outputs go once.
- A chip that streams: one point, against its pins, through which pass the image and the result alone. No file says how
  much they carry; the line is what the network needs of them.
- A board: a point a layer, each with inputs, weights and outputs read or written once. A board's file says cycles a MAC
  and no bandwidth, so all points are as high, and the band of that number is drawn.
"""

from dataclasses import dataclass
from functools import reduce

from rillet.analyses.memory import stored_as
from rillet.costs.machines import on_array
from rillet.errors import TargetError
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.plan.pipeline.entry import plan_pixels
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Machine
from rillet.targets.chips import StreamChip
from rillet.transforms.fold import fold, without_weights


@dataclass(frozen=True, slots=True)
class Point:
    """A layer, or the network."""

    name: str
    ops: int
    bytes: int
    seconds: float

    @property
    def ops_per_byte(self) -> float:
        """Operations for each byte through the memory."""
        return self.ops / self.bytes

    @property
    def ops_per_s(self) -> float:
        """Operations a second that it comes to."""
        return self.ops / self.seconds


@dataclass(frozen=True, slots=True)
class Roofline:
    """The roof of a machine, and what lies under it."""

    model: str
    machine: str
    memory: str
    """What the bytes go through."""
    peak_ops_per_s: float
    least_ops_per_s: float | None
    """Of a board: with the most cycles a MAC that are published."""
    bytes_per_s: float
    """Of the memory; of a chip what the network needs; 0 where nothing is known."""
    bandwidth: str
    """What that number is."""
    network: Point
    layers: tuple[Point, ...]


def roofline(graph: Graph, machine: Machine) -> Roofline:
    """The network and its layers under the roof of a machine.

    Raises TargetError where a chip has no room for the network, Unsupported where it does not stream.
    """
    if not any(has_weights(node.op) for node in graph.nodes):
        raise TargetError(f"{graph.name}: must have a layer with weights for a roofline")
    match machine:
        case ArrayMachine():
            return _array(graph, machine)
        case StreamChip():
            return _chip(graph, machine)
        case Board():
            return _board(graph, machine)


def _array(graph: Graph, machine: ArrayMachine) -> Roofline:
    layers = tuple(
        Point(layer.name, 2 * layer.macs, layer.dram_bytes, (layer.cycles + layer.stall_cycles) / machine.clock_hz)
        for layer in on_array(graph, machine).layers
    )
    return Roofline(
        model=graph.name,
        machine=machine.name,
        memory="DRAM",
        peak_ops_per_s=2 * machine.rows * machine.columns * machine.clock_hz,
        least_ops_per_s=None,
        bytes_per_s=machine.dram_bytes_per_s,
        bandwidth="of its DRAM",
        network=_together(layers),
        layers=layers,
    )


def _chip(graph: Graph, machine: StreamChip) -> Roofline:
    plan = plan_pixels(without_weights(graph), chip=machine, pipeline=machine.pipeline)
    ends = (*(node.name for node in plan.graph.input_nodes), *plan.graph.outputs)
    passed = sum(plan.graph.by_name[name].shape.elements for name in ends)
    network = Point("network", 2 * plan.macs, passed, plan.interval_cycles / plan.clock_hz)
    return Roofline(
        model=graph.name,
        machine=machine.name,
        memory="the pins",
        peak_ops_per_s=2 * machine.multipliers * machine.clock_hz,
        least_ops_per_s=None,
        bytes_per_s=passed / network.seconds,
        bandwidth="that the network needs",
        network=network,
        layers=(),
    )


def _board(graph: Graph, machine: Board) -> Roofline:
    stored, rates = stored_as(fold(without_weights(graph)), 8), machine.cycles_per_mac
    points: list[Point] = []
    for node in stored.nodes:
        if has_weights(node.op):
            source = stored.input_shapes(node)[0]
            macs = node.op.macs(source)
            weights = reduce(lambda a, b: a * b, node.op.weight_shape(source), 1)
            moved = source.elements + weights + node.shape.elements
            points.append(Point(node.name, 2 * macs, moved, macs * rates.value / machine.clock_hz))
    return Roofline(
        model=graph.name,
        machine=machine.name,
        memory="RAM and flash",
        peak_ops_per_s=2 * machine.clock_hz / rates.low,
        least_ops_per_s=2 * machine.clock_hz / rates.high,
        bytes_per_s=0.0,
        bandwidth="",
        network=_together(tuple(points)),
        layers=tuple(points),
    )


def _together(points: tuple[Point, ...]) -> Point:
    """All layers, one after the other."""
    return Point("network", sum(p.ops for p in points), sum(p.bytes for p in points), sum(p.seconds for p in points))
