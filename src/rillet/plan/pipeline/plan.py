"""The pipeline plan: a stage a layer, a FIFO a tensor, and the numbers that a simulation measures again."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from rillet.ir.graph import Graph
from rillet.plan.pipeline.bottleneck import NarrowBlock
from rillet.plan.pipeline.folding import Folding
from rillet.system.record import Record
from rillet.targets.chips import StreamChip
from rillet.targets.pipeline import Pipeline

if TYPE_CHECKING:
    from rillet.plan.pipeline.devices import Device


@dataclass(frozen=True, slots=True)
class PixelStage:
    """One layer of the pipeline."""

    node: str
    op: str
    reads: tuple[str, ...]
    """Its streamed inputs."""
    accumulates: bool
    """True where it accumulates pixels as they arrive and produces one at the end (a global pool)."""
    folding: Folding
    macs: int
    """Of the network's layer."""
    recomputed_macs: int
    """Beside those: of values recomputed by bottleneck buffering."""
    weights: int
    weight_bits: int
    """Bits of one weight."""
    bias_bits: int
    """Bits of all biases."""
    elementwise: bool
    """True for a product of two values: its multipliers hold no weights."""
    interval_cycles: int
    """Of the whole pipeline."""
    latency_cycles: int = 0
    """From the end of a firing to its result's arrival, as hardware; 0 of the ideal."""

    @property
    def multipliers(self) -> int:
        """Multipliers that take products with weights."""
        return 0 if self.elementwise else self.folding.multipliers

    @property
    def elementwise_multipliers(self) -> int:
        """Multipliers that take products of two values."""
        return self.folding.multipliers if self.elementwise else 0

    @property
    def resident_bits(self) -> int:
        """Bits of its weights and biases."""
        return self.weights * self.weight_bits + self.bias_bits

    @property
    def busy_cycles(self) -> int:
        """Cycles of one image in which the stage works."""
        return self.folding.interval

    @property
    def utilisation(self) -> float:
        """Share of its multiplier cycles that take a product of the network."""
        return self.macs / (self.multipliers * self.interval_cycles) if self.multipliers else 0.0

    @property
    def weight_copies(self) -> int:
        """Weights where each lane has its own; else all lanes read one register, by broadcast."""
        return self.weights * self.folding.lanes


@dataclass(frozen=True, slots=True)
class PixelBuffer:
    """The FIFO, a ring buffer, between the writer and the readers of a value."""

    value: str
    readers: tuple[str, ...]
    channels: int
    bits: int
    """Bits of one value."""
    image_pixels: int
    """Pixels produced for one image; under bottleneck buffering, a recomputed pixel counts each time."""
    line_pixels: int
    """(K - 1) W + K of its largest window; 0 where no reader has one. Under bottleneck buffering, the
    bottleneck rows that the expansion still needs, and of the expanded map the columns under one window."""
    skip_pixels: int
    """Added by a skip connection: the lag of the layers that it skips, were all stages infinitely fast."""
    hold_pixels: int
    """Pixels of the full tensor, where it is buffered until a squeeze-and-excite's gate is known."""
    depth_pixels: int
    """Peak occupancy over the schedule, in pixels: the size of the FIFO, or of the deepest of its rings."""
    rings: tuple[int, ...] = ()
    """As hardware, the depth of each reader's own ring, in the order of `readers`; empty where they share one."""

    @property
    def depths(self) -> Mapping[str, int]:
        """The depth of each ring in pixels, by name: the value's, or `value>reader` where each reader has its own."""
        if not self.rings:
            return {self.value: self.depth_pixels}
        return {f"{self.value}>{reader}": depth for reader, depth in zip(self.readers, self.rings, strict=True)}

    @property
    def fork_pixels(self) -> int:
        """Pixels of all rings but the deepest, where each reader has its own."""
        return sum(self.rings) - self.depth_pixels if self.rings else 0

    @property
    def fifo_pixels(self) -> int:
        """Pixels added by rate matching between its writer and its readers."""
        return max(0, self.depth_pixels - self.line_pixels - self.skip_pixels - self.hold_pixels)

    @property
    def values(self) -> int:
        """Values of the ring, or of all its readers' rings."""
        return (self.depth_pixels + self.fork_pixels) * self.channels


class Resource(StrEnum):
    """What a chip has of."""

    MULTIPLIERS = "multipliers"
    MEMORY = "memory"
    """In bits."""
    BLOCK_RAMS = "block RAMs"
    LUTS = "look-up tables"
    """By the plan's estimate."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a plan takes of a resource."""

    resource: Resource
    used: int
    room: int | None
    """What there is; None where that is unknown or unbounded."""
    requantising: int = 0
    """Of multipliers of hardware, those that bring sums to bytes."""


@dataclass(frozen=True, slots=True)
class Barrier:
    """A product with a squeeze-and-excite's gate: the tensor buffered for it, and the cost of recomputing that."""

    node: str
    hold_values: int
    source: str
    """The tensor of fewest channels before it, from which recomputation would start."""
    second_pass_values: int
    """Values of that tensor in full."""
    second_pass_macs: int
    second_pass_multipliers: int
    held_anyway: bool
    """True where a skip connection around the product buffers the full `source` tensor anyway."""
    choice: str = "hold"


@dataclass(frozen=True, repr=False)
class PixelPlan(Record):
    """A pipeline with its numbers, which a simulation must measure again."""

    graph: Graph
    """Folded, its inputs and constants first."""
    chip: str
    clock_hz: float
    interval_cycles: int
    weight_bits: int
    """Bits of a weight and of an activation; one- and two-bit weights of the network keep their width."""
    stages: tuple[PixelStage, ...]
    buffers: tuple[PixelBuffer, ...]
    barriers: tuple[Barrier, ...]
    narrow: tuple[NarrowBlock, ...]
    """Blocks with bottleneck buffering (bottleneck.py)."""
    latency_cycles: int
    """From the first input pixel to the last output value of one image in an idle machine."""
    frames: int
    """Images after which the schedule is periodic, and every FIFO has reached its peak occupancy."""
    unshared_multipliers: int
    """Multipliers at this interval if none were time-multiplexed over weights (docs/impossible.md)."""
    resident_bits: int
    """Bits of weights, biases and constants."""
    weights_per_multiplier: int | None
    """Weights that a multiplier of the chip stores; None where only memory bounds them."""
    kind: str = "pixels"
    devices: "tuple[Device, ...]" = ()
    """The devices in series that it is partitioned over; empty for one."""
    pipeline: Pipeline | None = None
    """What its stages take as hardware; None for the ideal, whose results arrive at once."""
    on_host: tuple[str, ...] = ()
    """Layers behind the outputs that the hardware leaves to whoever reads them: a final softmax or argmax."""

    uses: tuple[Use, ...] = ()
    """Of hardware: what it takes of the chip."""
    machine: StreamChip | None = None
    """The chip that it was planned for; None where it was planned for budgets or an interval alone."""
    bound: str = ""
    """Of hardware at the least interval within the budgets: the resource that a shorter one lacks, or the map that
    gives a pixel a cycle; empty at an interval that was asked for."""

    def __repr__(self) -> str:
        where = f" on {self.chip}" if self.chip else ""
        return (
            f"PixelPlan({self.graph.name!r}{where}, {self.multipliers:,} multipliers, an image every "
            f"{self.interval_cycles:,} cycles, {-(-self.memory_bits // 8):,} bytes)"
        )

    @cached_property
    def multipliers(self) -> int:
        """Multipliers of the convolutions and dense layers."""
        return sum(stage.multipliers for stage in self.stages)

    @cached_property
    def elementwise_multipliers(self) -> int:
        """Multipliers of the products of two values."""
        return sum(stage.elementwise_multipliers for stage in self.stages)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.graph.macs

    @property
    def recomputed_macs(self) -> int:
        """Beside those, of values made again."""
        return sum(stage.recomputed_macs for stage in self.stages)

    @property
    def utilisation(self) -> float:
        """Share of multiplier cycles that take a product of the network, once: MACs / (multipliers x interval)."""
        return self.macs / (self.multipliers * self.interval_cycles) if self.multipliers else 0.0

    @property
    def images_per_s(self) -> float:
        """Images a second."""
        return self.clock_hz / self.interval_cycles

    @property
    def depths(self) -> Mapping[str, int]:
        """The depth of every ring in pixels, by its name (PixelBuffer.depths)."""
        return {name: depth for buffer in self.buffers for name, depth in buffer.depths.items()}

    @property
    def line_buffer_values(self) -> int:
        """Values of all line buffers, each ((K - 1) W + K) C without bottleneck buffering."""
        return sum(b.line_pixels * b.channels for b in self.buffers)

    @property
    def skip_values(self) -> int:
        """Values that skips add."""
        return sum(b.skip_pixels * b.channels for b in self.buffers)

    @property
    def hold_values(self) -> int:
        """Values of whole tensors buffered until a squeeze-and-excite gate is known."""
        return sum(b.hold_pixels * b.channels for b in self.buffers)

    @property
    def fifo_values(self) -> int:
        """Values that the rates add on top."""
        return sum(b.fifo_pixels * b.channels for b in self.buffers)

    @property
    def fork_values(self) -> int:
        """Values of rings that repeat those of another reader."""
        return sum(b.fork_pixels * b.channels for b in self.buffers)

    @property
    def buffer_values(self) -> int:
        """Values of all rings."""
        return sum(b.values for b in self.buffers)

    @property
    def buffer_bits(self) -> int:
        """Bits of all rings."""
        return sum(b.values * b.bits for b in self.buffers)

    @cached_property
    def weights(self) -> int:
        """Weights of the network, each on the chip once."""
        return sum(stage.weights for stage in self.stages)

    @cached_property
    def weight_copies(self) -> int:
        """Weights on the chip if no register were shared between lanes."""
        return sum(stage.weight_copies for stage in self.stages)

    @property
    def memory_bits(self) -> int:
        """Bits on the chip: weights, biases, constants and rings."""
        return self.resident_bits + self.buffer_bits

    def stage(self, node: str) -> PixelStage:
        """The stage of a node."""
        return next(stage for stage in self.stages if stage.node == node)
