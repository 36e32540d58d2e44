"""Energy per image in microjoules: arithmetic, weights and activations under a schedule, each with bounds.

A layer makes its pixels in tiles of a row. For each tile its weights and biases are read once, and for each pixel its
window once; sums and windows wait in registers, whose energy no table prints. So a layer of w weights reads

    w x rows x ceil(width / tile pixels)

of them an image, as often as its stage of a `Plan` fires, and no fewer than w. Under a pixel plan a tile is what its
lanes make together, and need not end with a row.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

from rillet.analyses.memory import stored_as
from rillet.analyses.streamed import Streamed, of_rows
from rillet.analyses.systolic import Systolic, systolic
from rillet.errors import TargetError
from rillet.ir.facts import (
    has_activation,
    has_weights,
    has_window,
    is_constant,
    is_given,
    is_input,
    is_pool,
    is_product,
    is_sum,
)
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Window
from rillet.ir.types import Shape
from rillet.plan.choose import folded
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.system.record import Record
from rillet.targets.technology import DRAMS, SRAM_BYTES, Technology
from rillet.targets.technology import Energy as Picojoules
from rillet.transforms.fold import without_weights

MULTIPLIED_BITS = 3
"""Weights of fewer bits (ternary, binary) are added or not: they take no multiplication."""
_RESCALE = "int32_mult"


class Schedule(StrEnum):
    """How often each weight is read, and from which memory."""

    LAYERWISE = "layerwise"
    """Layer by layer: weights from DRAM into a buffer, once an image; full tensors between the layers."""
    STREAM = "stream"
    """Under a row or pixel plan: weights stay in their memory on the chip, activations in rings."""
    SYSTOLIC = "systolic"
    """On a systolic array, by the traffic that is counted there."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a layer moves between an array, its buffers and DRAM for one image: values, and bytes of DRAM."""

    input_reads: int
    weight_reads: int
    output_writes: int
    """Sums, as wide as the accumulator."""
    output_reads: int
    """Partial sums read back."""
    dram_bytes: int


def traffic_of(made: Systolic) -> dict[str, Traffic]:
    """The traffic of each layer of a network on an array."""
    return {
        layer.name: Traffic(
            layer.input_reads, layer.weight_reads, layer.output_writes, layer.output_reads, layer.dram_bytes
        )
        for layer in made.layers
    }


def traffic_under(graph: Graph, schedule: str, array: int | None = None) -> dict[str, Traffic] | None:
    """What `energy` needs for a schedule: the traffic on an array of `array` x `array` elements (64 by default) under
    `systolic`, else None; raises TargetError where a size is given for another schedule.
    """
    if schedule == Schedule.SYSTOLIC:
        side = 64 if array is None else array
        return traffic_of(systolic(graph, rows=side, columns=side))
    if array is not None:
        raise TargetError(f"--array must come with --schedule systolic, got {schedule}")
    return None


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of work: so many operations, or so many bits in and out of a memory."""

    name: str
    by: str
    """The operation or memory of the technology."""
    count: int
    unit: str
    """`operations` or `bits`."""
    uj: float
    low_uj: float
    high_uj: float
    confidence: str
    """How well the table's number is known."""


@dataclass(frozen=True, slots=True)
class LayerEnergy:
    """Microjoules of one layer, or of writing the image."""

    name: str
    uj: float
    low_uj: float
    high_uj: float


@dataclass(frozen=True, slots=True, repr=False)
class Energy(Record):
    """Microjoules of one image."""

    name: str
    technology: str
    schedule: str
    bits: str
    """Type of the operands, such as int8."""
    accumulator: str
    weight_bits: float
    """Bits of a weight, on the average."""
    total_uj: float
    low_uj: float
    high_uj: float
    parts: tuple[Part, ...]
    layers: tuple[LayerEnergy, ...]
    """The same sum by layers, in their order; what they read is theirs, and what they write."""
    notes: tuple[str, ...]
    source: str = ""
    """Where the technology's numbers are from, its voltage beside them."""

    def __repr__(self) -> str:
        band = f"{self.low_uj:.4g} to {self.high_uj:.4g}"
        return f"<Energy {self.name}, {self.schedule} at {self.technology}: {self.total_uj:.4g} uJ ({band})>"

    def of(self, *names: str) -> float:
        """Microjoules of the parts whose name begins with one of `names`."""
        return sum(part.uj for part in self.parts if part.name.startswith(names))


WeightBits = int | Mapping[str, int]
"""Bits of every weight, or those of the layers named (others are as wide as the operands)."""


def energy(
    graph: Graph,
    technology: Technology,
    *,
    bits: int | str = 8,
    accumulator: int | str = 32,
    weight_bits: WeightBits | None = None,
    schedule: str = "layerwise",
    weight_memory: str | None = None,
    activation_memory: str | None = None,
    plan: Streamed | None = None,
    traffic: Mapping[str, Traffic] | None = None,
) -> Energy:
    """Energy of one image.

    bits, accumulator: types such as 8, "int8" or "bf16" of operands (and activations) and of sums.
    weight_memory, activation_memory: memories of the technology; by default weights lie in DRAM layer by layer, else
    in the smallest memory that holds them, and so do activations.
    plan: the plan to stream by (streamed.py; the row plan with the least arena, where none is given).
    traffic: for a systolic array, what each layer moves. Raises TargetError for what the technology does not
    have, and for arguments that do not go together.
    """
    if schedule not in tuple(Schedule):
        near = difflib.get_close_matches(schedule, list(Schedule), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise TargetError(f"--schedule must be one of {', '.join(Schedule)}, got {schedule!r}{hint}")
    if (traffic is not None) != (schedule == Schedule.SYSTOLIC):
        raise TargetError(f"traffic must come with the schedule systolic, and only with it, got {schedule}")
    ledger = _Ledger(graph, technology, _type(bits), _type(accumulator), weight_bits)
    ledger.arithmetic()
    match Schedule(schedule):
        case Schedule.LAYERWISE:
            ledger.layerwise(weight_memory, activation_memory)
        case Schedule.STREAM:
            ledger.stream(weight_memory, activation_memory, plan)
        case Schedule.SYSTOLIC:
            assert traffic is not None
            ledger.systolic(weight_memory, activation_memory, traffic)
    return ledger.sum(schedule)


def _type(word: int | str) -> str:
    return f"int{word}" if isinstance(word, int) or word.isdigit() else word


def _width(word: str) -> int:
    """Bits of a type such as int8; raises TargetError for a word that is none."""
    digits = word.lstrip("intfpb")
    if not digits.isdigit() or not 1 <= int(digits) <= 64:
        raise TargetError(f"type of numbers must be such as int8 or bf16, got {word!r}")
    return int(digits)


def technology_note(technology: Technology) -> str:
    """Node, voltage and source in one line."""
    voltage = "" if technology.voltage_v is None else f" at {technology.voltage_v:g} V"
    return f"{technology.name}{voltage}: {technology.source}"


class _Ledger:
    """Collects the parts."""

    def __init__(
        self, graph: Graph, technology: Technology, operand: str, accumulator: str, weight_bits: WeightBits | None
    ) -> None:
        self.technology, self.operand, self.accumulator = technology, operand, accumulator
        self.width, self.sum_width = _width(operand), _width(accumulator)
        self.graph = stored_as(folded(without_weights(graph)), 32 if self.width == 32 else 8)
        self.convs = [node for node in self.graph.nodes if has_weights(node.op)]
        self.bits = {node.name: self._bits(node.name, weight_bits) for node in self.convs}
        if isinstance(weight_bits, Mapping):
            unknown = next((name for name in weight_bits if name not in self.bits), None)
            if unknown is not None:
                raise TargetError(f"{graph.name}: weight bits must be those of layers with weights, got {unknown!r}")
        self.parts: list[Part] = []
        self.layers: dict[str, Picojoules] = {node.name: Picojoules(0, 0, 0) for node in self.graph.nodes}
        self.notes: list[str] = []

    def _bits(self, name: str, said: WeightBits | None) -> int:
        bits = said if isinstance(said, int) else (said or {}).get(name, self.width)
        if not 1 <= bits <= 64:
            raise TargetError(f"bits of a weight must be 1 to 64, got {bits}")
        return bits

    def sum(self, schedule: str) -> Energy:
        """All of it."""
        weights = {node.name: self.weights(node) for node in self.convs}
        total = sum(weights.values())
        return Energy(
            name=self.graph.name,
            technology=self.technology.name,
            schedule=schedule,
            bits=self.operand,
            accumulator=self.accumulator,
            weight_bits=sum(weights[name] * self.bits[name] for name in weights) / total if total else 0.0,
            total_uj=sum(part.uj for part in self.parts),
            low_uj=sum(part.low_uj for part in self.parts),
            high_uj=sum(part.high_uj for part in self.parts),
            parts=tuple(self.parts),
            layers=tuple(
                LayerEnergy(name, pj.pj / 1e6, pj.low / 1e6, pj.high / 1e6)
                for name, pj in self.layers.items()
                if pj.high
            ),
            notes=tuple(self.notes),
            source=technology_note(self.technology),
        )

    def operations(self, name: str, by: str, counts: Mapping[str, int]) -> None:
        """Adds operations of the kind `by`, so many of each layer."""
        if sum(counts.values()):
            self._add(name, by, counts, "operations", self.technology.operation(by))

    def moved(self, name: str, memory: str, bits: Mapping[str, int]) -> None:
        """Adds bits read from or written to a memory, so many for each layer."""
        if sum(bits.values()):
            self._add(name, memory, bits, "bits", self.technology.access(memory, 1))

    def _add(self, name: str, by: str, counts: Mapping[str, int], unit: str, each: Picojoules) -> None:
        total, confidence = sum(counts.values()), self.technology.entries[by].confidence
        pj = each.times(total)
        self.parts.append(Part(name, by, total, unit, pj.pj / 1e6, pj.low / 1e6, pj.high / 1e6, confidence))
        for layer, count in counts.items():
            before, more = self.layers[layer], each.times(count)
            self.layers[layer] = Picojoules(before.pj + more.pj, before.low + more.low, before.high + more.high)

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def arithmetic(self) -> None:
        """Multiply-accumulates, other operations on values, and the rescaling of integers."""
        multiply, add = f"{self.operand}_mult", f"{self.accumulator}_add"
        macs = {node.name: node.op.macs(self.shape(node)) for node in self.convs if has_weights(node.op)}
        multiplied = {name: count for name, count in macs.items() if self.bits[name] >= MULTIPLIED_BITS}
        self.operations("multiplications", multiply, multiplied)
        self.operations("additions", add, macs)
        nodes = self.graph.nodes
        added = {node.name: node.shape.elements for node in nodes if is_sum(node.op)}
        pooled = {node.name: self.window_values(node) for node in nodes if is_pool(node.op)}
        products = {node.name: node.shape.elements for node in nodes if is_product(node.op)}
        self.operations("other additions", add, added | pooled)
        self.operations("other multiplications", multiply, products)
        if self.operand.startswith("int"):
            made = {n.name: n.shape.elements for n in nodes if has_activation(n.op)}
            self.operations("rescaling", _RESCALE, made)
            self.notes.append("rescaling: one 32-bit product for each value that a layer makes")
        self.notes.append("functions such as a hard-swish, registers, wires, clocks and leakage are not counted")
        if any(bits < MULTIPLIED_BITS for bits in self.bits.values()):
            self.notes.append("weights of 1 or 2 bits take additions alone; none is left out where a weight is 0")

    def shape(self, node: Node) -> Shape:
        """Shape of what a layer reads."""
        return self.graph.input_shapes(node)[0]

    def window_values(self, node: Node) -> int:
        """Values that all windows of a layer read, padding not counted."""
        assert has_window(node.op)
        return window_values(node.op.window, self.shape(node), node.shape)

    # -- weights ---------------------------------------------------------------------------------------------------

    def weights(self, node: Node) -> int:
        """Weights of a layer, biases not counted."""
        assert has_weights(node.op)
        return reduce(lambda a, b: a * b, node.op.weight_shape(self.shape(node)), 1)

    def weight_bits(self, node: Node) -> int:
        """Bits of a layer's weights and biases."""
        assert has_weights(node.op)
        return self.weights(node) * self.bits[node.name] + node.op.bias * node.op.out_channels * self.sum_width

    def stored_bits(self) -> dict[str, int]:
        """Bits of weights and biases, and of values that never change, by layer."""
        constants = {n.name: n.shape.elements * self.width for n in self.graph.nodes if is_constant(n.op)}
        return constants | {node.name: self.weight_bits(node) for node in self.convs}

    def stored_bytes(self, plan: Streamed | None = None) -> int:
        """Bytes of these in one memory: a kernel that layers share lies there once, but once a stage in a pipeline."""
        bits = sum(self.stored_bits().values())
        if plan is None or not plan.weights_apart:
            again = (node for node in self.convs if f"{node.name}.weight" in self.graph.shared)
            bits -= sum(self.weights(node) * self.bits[node.name] for node in again)
        return _bytes(bits)

    def weight_reads(self, plan: Streamed) -> dict[str, int]:
        """Bits read an image by layer: weights and biases once for each firing, constants once."""
        convs = {node.name for node in self.convs}
        return {n: bits * (plan.firings[n] if n in convs else 1) for n, bits in self.stored_bits().items()}

    def resident(self, memory: str | None, size: int, what: str) -> str:
        """The memory that is named, or the smallest on the chip that holds `size` bytes."""
        if memory is not None:
            self.technology.access(memory, 1)
            capacity = SRAM_BYTES.get(memory)
            if capacity is not None and size > capacity:
                self.notes.append(f"{what}: {size:,} bytes in {-(-size // capacity)} memories of the kind {memory}")
            return memory
        found = self.technology.sram_for(size)
        if found is not None:
            return found
        if not self.technology.srams:
            raise TargetError(f"{self.technology.key}: must have a memory on the chip for this, and has none")
        return self.resident(self.technology.srams[-1], size, what)

    # -- schedules -------------------------------------------------------------------------------------------------

    def stream(self, weight_memory: str | None, activation_memory: str | None, plan: Streamed | None) -> None:
        """Weights stay where they are; rings hold the activations."""
        plan = plan or of_rows(plan_rows(self.graph))
        if set(plan.firings) != {node.name for node in self.graph.nodes if not is_given(node.op)}:
            raise TargetError(f"{self.graph.name}: plan must be one of this network, folded; got {plan.name}")
        place = self.resident(weight_memory, self.stored_bytes(plan), "weights")
        self.moved("weights, read", place, self.weight_reads(plan))
        rings = self.resident(activation_memory, plan.held_bytes(self.width), "activations")
        reads, writes = self.activation_values(passes={})
        self.moved("activations, read", rings, self.wide(reads))
        self.moved("activations, written", rings, self.wide(writes))

    def wide(self, values: Mapping[str, int]) -> dict[str, int]:
        """Bits of so many values, each as wide as the operands."""
        return {name: count * self.width for name, count in values.items()}

    def layerwise(self, weight_memory: str | None, activation_memory: str | None) -> None:
        """Weights come from DRAM once; maps lie on the chip where they fit, else in DRAM behind a line buffer."""
        plan = of_rows(plan_layerwise(self.graph))
        buffer, passes = self.weights_from(weight_memory)
        self.moved("weights, read", buffer, self.weight_reads(plan))
        arena = plan.held_bytes(self.width)
        reads, writes = self.activation_values(passes)
        if activation_memory is None and self.technology.sram_for(arena) is None and self.technology.srams:
            activation_memory = self.technology.dram()
        place = self.resident(activation_memory, arena, "maps")
        if place not in DRAMS:
            self.moved("activations, read", place, self.wide(reads))
            self.moved("activations, written", place, self.wide(writes))
            return
        self.notes.append(
            f"maps of {arena:,} bytes lie in DRAM: each is read once by each layer, through a line buffer"
        )
        once = {
            node.name: passes.get(node.name, 1) * sum(shape.elements for shape in self.graph.input_shapes(node))
            for node in self.graph.nodes
        }
        self.moved("activations, read from DRAM", place, self.wide(once))
        self.moved("activations, written to DRAM", place, self.wide(writes))
        lines = self.resident(None, self.line_bytes(), "line buffer")
        self.moved("activations, into the line buffer", lines, self.wide(once))
        self.moved("activations, read", lines, self.wide(reads))

    def weights_from(self, memory: str | None) -> tuple[str, dict[str, int]]:
        """Brings every weight in from DRAM; the buffer that layers read, and how often a layer's windows pass.

        A layer whose weights are larger than the buffer goes in passes over its filters. Weights that lie on the chip
        are read there.
        """
        stored = self.stored_bits()
        memory = memory or self.technology.dram()
        if memory not in DRAMS:
            return self.resident(memory, self.stored_bytes(), "weights"), {}
        largest = max((_bytes(self.weight_bits(node)) for node in self.convs), default=1)
        buffer = self.technology.sram_for(largest) or (self.technology.srams or (None,))[-1]
        if buffer is None:
            raise TargetError(f"{self.technology.key}: must have a memory on the chip for this, and has none")
        self.moved("weights, from DRAM", memory, stored)
        self.moved("weights, into the buffer", buffer, stored)
        passes = {node.name: -(-_bytes(self.weight_bits(node)) // SRAM_BYTES[buffer]) for node in self.convs}
        again = [name for name, times in passes.items() if times > 1]
        if again:
            self.notes.append(
                f"weights larger than the {buffer} buffer, in passes over the filters: {', '.join(again)}"
            )
        return buffer, passes

    def line_bytes(self) -> int:
        """Bytes of the largest line buffer: as many rows as a window has."""
        sizes = [
            min(node.op.window.extent[0], self.shape(node).height) * self.shape(node).width * self.shape(node).channels
            for node in self.graph.nodes
            if has_weights(node.op) or (is_pool(node.op) and not node.op.window.covers(self.shape(node)))
        ]
        return _bytes(max(sizes, default=1) * self.width)

    def activation_values(self, passes: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Values that windows and operands read, and values written, the image among them; by layer."""
        reads: dict[str, int] = {}
        writes: dict[str, int] = {}
        for node in self.graph.nodes:
            if is_constant(node.op):
                continue
            writes[node.name] = node.shape.elements
            if has_window(node.op):
                reads[node.name] = passes.get(node.name, 1) * self.window_values(node)
            elif not is_input(node.op):
                sources = (self.graph.by_name[name] for name in node.inputs)
                reads[node.name] = sum(
                    min(n.shape.elements, node.shape.elements) for n in sources if not is_constant(n.op)
                )
        return reads, writes

    def systolic(
        self, weight_memory: str | None, activation_memory: str | None, traffic: Mapping[str, Traffic]
    ) -> None:
        """What an array moves."""
        if traffic.keys() != self.bits.keys():
            raise TargetError(f"{self.graph.name}: traffic must be that of its layers with weights")
        largest = max((_bytes(self.weight_bits(node)) for node in self.convs), default=1)
        weights = self.resident(weight_memory, largest, "weights")
        maps = of_rows(plan_layerwise(self.graph)).held_bytes(self.width)
        place = self.resident(activation_memory, maps, "maps")
        moved = traffic.items()
        self.moved("weights, read", weights, {name: t.weight_reads * self.bits[name] for name, t in moved})
        self.moved("activations, read", place, {name: t.input_reads * self.width for name, t in moved})
        self.moved("sums, written", place, {name: t.output_writes * self.sum_width for name, t in moved})
        self.moved("sums, read", place, {name: t.output_reads * self.sum_width for name, t in moved})
        dram = {name: 8 * t.dram_bytes for name, t in moved}
        self.moved("weights and activations, DRAM", self.technology.dram(), dram)


def _bytes(bits: int) -> int:
    return -(-bits // 8)


def window_values(window: Window, source: Shape, out: Shape) -> int:
    """Values that all windows on a map read, each channel of it, padding not counted."""
    rows, columns = (
        _taps(window.kernel[axis], window.stride[axis], window.dilation[axis], window.padding[2 * axis], *lengths)
        for axis, lengths in enumerate(((source.height, out.height), (source.width, out.width)))
    )
    return rows * columns * source.channels


def _taps(kernel: int, stride: int, dilation: int, before: int, length: int, out: int) -> int:
    """Taps along one axis that fall on the map, over all places of the window."""
    starts = range(-before, -before + out * stride, stride)
    return sum(0 <= start + tap * dilation < length for tap in range(kernel) for start in starts)
