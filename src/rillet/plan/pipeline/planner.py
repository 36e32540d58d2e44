"""Builds a pipeline plan, stage by stage and FIFO by FIFO; entry.py is its public side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

from rillet.errors import TargetError, Unsupported
from rillet.ir.facts import has_weights, is_constant, is_given, is_input, is_pairwise, is_product, joins
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Multiply, Op, op_macs, op_name, op_window
from rillet.ir.sharing import remade
from rillet.ir.types import DType
from rillet.plan.pipeline.bottleneck import named_blocks
from rillet.plan.pipeline.budgets import Budgets, lacking, refusal, uses
from rillet.plan.pipeline.fifos import Flow, Latency, Schedule, rings, schedule, streamed
from rillet.plan.pipeline.folding import Folding, Layers, Work, divisors, equals, foldings
from rillet.plan.pipeline.hardware import firing_of, hardware_equals, hardware_foldings, without_host_layers
from rillet.plan.pipeline.packing import Weights, save_block_rams, weights_block_rams
from rillet.plan.pipeline.plan import Barrier, PixelBuffer, PixelPlan, PixelStage, Resource, Use
from rillet.plan.pipeline.registers import latency_cycles
from rillet.plan.pipeline.requantisers import all_units
from rillet.plan.pipeline.ties import settle
from rillet.plan.pipeline.words import fit_words
from rillet.plan.rows.space import Space
from rillet.plan.rows.timing import Tile
from rillet.targets.chips import StreamChip
from rillet.targets.pipeline import Pipeline
from rillet.transforms.fold import fold

CLOCK_HZ = 200e6
"""The default clock, where the target has none."""

BIAS_BITS = 32
_PACKINGS = 3
"""Times that block RAMs are saved at one interval: rings differ once other foldings are chosen."""
MOST_CYCLES = 10**13
MOST_PIXELS = 2**24
"""Largest pipeline accepted, in cycles and pixels of all maps for an image; keeps hostile files from filling memory."""


class Planner:
    """A network and a machine, and all that does not depend on the interval."""

    def __init__(
        self,
        graph: Graph,
        chip: StreamChip | None,
        clock_hz: float | None,
        weight_bits: int,
        ceil: bool,
        devices: int = 1,
        narrow: Sequence[str] = (),
        pipeline: Pipeline | None = None,
    ) -> None:
        self.graph = pipeline_graph(graph)
        self.on_host: tuple[str, ...] = ()
        latency_of: Latency | None = None
        if pipeline is not None:
            self.graph, self.on_host = without_host_layers(self.graph)
            latency_of = partial(latency_cycles, self.graph, pipeline)
        self.pipeline = pipeline
        self.largest = ""
        """Of hardware, the map whose pixels no interval beats."""
        self.narrow = named_blocks(self.graph, narrow)
        self.flow = Flow(self.graph, self.narrow, latency_of)
        pixels = sum(self.flow.pixels(node.name) for node in self.graph.nodes)
        if pixels > MOST_PIXELS:
            raise TargetError(f"{graph.name}: maps made again must have at most {MOST_PIXELS} pixels, got {pixels}")
        self.chip = chip
        self.clock_hz = clock_hz if clock_hz is not None else chip.clock_hz if chip else CLOCK_HZ
        if not 1 <= self.clock_hz <= 1e15:
            raise TargetError(f"clock must be from 1 Hz to 1e15 Hz, got {self.clock_hz:g}")
        self.weight_bits = weight_bits
        self.each_holds = chip.weights_per_multiplier if chip else None
        self.resident_bits = _resident_bits(self.graph, weight_bits)
        self._check_weights(devices)
        self.work = dict(_works(self.flow))
        self.ceil = ceil
        self.units = {} if pipeline is None else all_units(self.graph, chip.family if chip else None)
        self.firings = {
            name: firing_of(self.flow, self.graph.by_name[name], u.dsp_blocks) for name, u in self.units.items()
        }
        self.layers = self.folded(ceil, self.each_holds) if pipeline is None else self.hardware()
        self.still = [node for node in _stages(self.graph) if node.name not in self.work]
        self.buffers = tuple(self.buffer(node) for node in self.graph.nodes if self._has_ring(node))

    def _has_ring(self, node: Node) -> bool:
        return bool(self.graph.consumers[node.name]) and not is_constant(node.op)

    def _check_weights(self, devices: int) -> None:
        if self.chip is None or self.each_holds is None:
            return
        weights = count_weights(self.graph)
        room = devices * self.chip.multipliers * self.each_holds
        if weights > room:
            raise TargetError(
                f"{self.graph.name}: weights must be at most {room} to stay on {devices} x {self.chip.name} "
                f"({self.chip.multipliers} multipliers that hold {self.each_holds} each), got {weights}"
            )

    def folded(self, ceil: bool, most_cycles: int | None) -> Layers:
        """The foldings of all layers; `most_cycles` bounds those that have weights."""
        choices = [
            foldings(work, ceil, most_cycles if has_weights(self.graph.by_name[name].op) else None)
            for name, work in self.work.items()
        ]
        return Layers(tuple(self.work), tuple(choices))

    def hardware(self) -> Layers:
        """The foldings of all layers with products that memories can feed, and the pixels that no interval beats."""
        fastest = {name: hardware_foldings(firing)[-1].interval for name, firing in self.firings.items()}
        fastest |= {node.name: node.shape.pixels for node in self.graph.input_nodes}
        self.largest = largest = max(fastest, key=lambda name: fastest[name])
        # Beside products those that take multipliers to bring their results to bytes.
        names = tuple(name for name, firing in self.firings.items() if name in self.work or firing.unit_blocks)
        choices = tuple(hardware_foldings(self.firings[name]) for name in names)
        why = f" as hardware, a pixel of {largest} a cycle"
        return Layers(names, choices, fastest[largest], why, self.dsp_blocks)

    def dsp_blocks(self, name: str, folding: Folding) -> int:
        """Of hardware, those that a layer's folding takes."""
        return self.firings[name].dsp_blocks(folding)

    @cached_property
    def least_rings(self) -> list[int]:
        """Bits of the least possible ring of each value."""
        spans: list[int] = []
        for buffer in self.buffers:
            readers = [self.graph.by_name[name] for name in buffer.readers]
            span = max(self.flow.reading(reader, buffer.value, 1).span for reader in readers)
            spans.append(span * buffer.channels * buffer.bits)
        return spans

    @property
    def least_bits(self) -> int:
        """Bits that weights and the least possible rings take."""
        return self.resident_bits + sum(self.least_rings)

    def best(self, budgets: Budgets) -> PixelPlan:
        """The least interval within the budgets."""
        candidates = self.layers.candidates()
        first = candidates.index(self.layers.within(budgets.multipliers)) if budgets.multipliers is not None else 0
        bound = Resource.MULTIPLIERS if first else f"a pixel of {self.largest} a cycle"
        # Rings do not shrink steadily as the interval grows, so each interval is tried.
        missed: Use | None = None
        for interval in candidates[first:]:
            found, short = self.fitted(interval, budgets)
            if found is not None and short is None:
                return found if self.pipeline is None else replace(found, bound=bound)
            assert short is not None
            bound = short.resource
            missed = (
                short if missed is None or missed.resource is not bound else min(missed, short, key=lambda u: u.used)
            )
        assert missed is not None  # without a bound the first interval is taken
        raise TargetError(refusal(missed, "this network"))

    def fitted(self, interval: int, budgets: Budgets) -> tuple[PixelPlan | None, Use | None]:
        """The plan at one interval, and what it lacks; where that is block RAMs, multipliers are spent to save them.

        No plan where the weights alone lack block RAMs.
        """
        swaps: dict[str, Folding] | None = {}
        wanted = 0
        if self.pipeline is not None and budgets.block_rams is not None:
            alone = weights_block_rams(self.weights_at(interval), self.pipeline)
            wanted = max(0, alone - budgets.block_rams)
            swaps = self.packed(interval, budgets, wanted)
            if swaps is None:
                return None, Use(Resource.BLOCK_RAMS, alone, budgets.block_rams)
        found, short = self._measured(interval, budgets, swaps)
        for _ in range(_PACKINGS):
            if short is None or short.resource is not Resource.BLOCK_RAMS or short.room is None:
                break
            wanted += short.used - short.room
            swaps = self.packed(interval, budgets, wanted)
            if swaps is None:
                break
            found, short = self._measured(interval, budgets, swaps)
        return found, short

    def _measured(self, interval: int, budgets: Budgets, swaps: Mapping[str, Folding]) -> tuple[PixelPlan, Use | None]:
        found = self.plan(interval, swaps)
        taken = uses(found, budgets, self.units)
        return found if self.pipeline is None else replace(found, uses=taken), lacking(taken)

    def packed(self, interval: int, budgets: Budgets, wanted: int) -> dict[str, Folding] | None:
        """Foldings that together need `wanted` block RAMs fewer for weights; None where multipliers do not reach."""
        assert self.pipeline is not None
        used = self.layers.taken(self.layers.at(interval))
        spare = None if budgets.multipliers is None else budgets.multipliers - used
        return save_block_rams(self.weights_at(interval), interval, wanted, spare, self.pipeline)

    def weights_at(self, interval: int) -> dict[str, Weights]:
        """The layers with weights, each with the fewest multipliers at one interval."""
        fewest = zip(self.layers.names, self.layers.at(interval), strict=True)
        ops = {name: self.graph.by_name[name].op for name in self.layers.names}
        return {
            name: Weights(self.firings[name], folding, _weight_bits(ops[name], self.weight_bits))
            for name, folding in fewest
            if has_weights(ops[name])
        }

    def devices_at(self, interval: int, each: int) -> int:
        """Devices that an interval fills, one after the other, with at most `each` multipliers."""
        count, used = 1, 0
        for folding in self.layers.at(interval):
            if folding.multipliers > each:
                return len(self.layers.names) + 1
            if used + folding.multipliers > each:
                count, used = count + 1, 0
            used += folding.multipliers
        return count

    def plan(self, interval: int, swaps: Mapping[str, Folding] | None = None) -> PixelPlan:
        """The plan at one interval; `swaps` are foldings of layers that shall not have the fewest multipliers."""
        choices = self.choices(interval) | {name: (folding,) for name, folding in (swaps or {}).items()}
        chosen = settle(self.flow, choices, interval)
        times = schedule(self.flow, chosen, interval)
        if self.pipeline is not None:
            chosen = self.narrow_words(chosen, times, self.pipeline)
            times = schedule(self.flow, chosen, interval)
        stages = tuple(self.stage(node, chosen[node.name], interval) for node in _stages(self.graph))
        depths = [rings(self.flow, chosen, times, ring.value) for ring in self.buffers]
        owned = self.folded(False, 1).at(interval)
        convs = (f for name, f in zip(self.work, owned, strict=True) if has_weights(self.graph.by_name[name].op))
        return PixelPlan(
            graph=self.graph,
            chip=self.chip.name if self.chip else "",
            machine=self.chip,
            clock_hz=self.clock_hz,
            interval_cycles=interval,
            weight_bits=self.weight_bits,
            stages=stages,
            buffers=tuple(
                replace(b, depth_pixels=max(own), rings=own if self.flow.hardware else ())
                for b, (own, _) in zip(self.buffers, depths, strict=True)
            ),
            barriers=tuple(self.barriers(chosen)),
            narrow=self.narrow,
            latency_cycles=latency_of(self.graph, times),
            frames=max([times.frames, *(max(frames) for _, frames in depths)]),
            unshared_multipliers=sum(f.multipliers for f in convs),
            resident_bits=self.resident_bits,
            weights_per_multiplier=self.each_holds,
            pipeline=self.pipeline,
            on_host=self.on_host,
        )

    def narrow_words(self, chosen: Mapping[str, Folding], times: Schedule, pipeline: Pipeline) -> dict[str, Folding]:
        """The same timing in the shapes whose rings take the least memory."""
        pixels = {
            (ring.value, reader): (depth, ring.bits)
            for ring in self.buffers
            for reader, depth in zip(ring.readers, rings(self.flow, chosen, times, ring.value)[0], strict=True)
        }
        return fit_words(self.graph, self.firings, chosen, pixels, pipeline)

    def choices(self, interval: int) -> dict[str, tuple[Folding, ...]]:
        """For each stage in order, the foldings with the fewest multipliers."""
        fewest = dict(zip(self.layers.names, self.layers.at(interval), strict=True))
        made: dict[str, tuple[Folding, ...]] = {}
        for node in _stages(self.graph):
            if self.pipeline is not None:
                firing = self.firings[node.name]
                least = next(f for f in hardware_foldings(firing) if f.interval <= interval)
                equal = hardware_equals(firing, least, interval)
                made[node.name] = equal if node.name in self.work else equal[:1]
            elif node.name in fewest:
                most = self.each_holds if has_weights(node.op) else None
                made[node.name] = equals(self.work[node.name], fewest[node.name].multipliers, interval, self.ceil, most)
            else:
                made[node.name] = (_keeping_pace(self.flow.fired_pixels(node), interval),)
        return made

    def stage(self, node: Node, folding: Folding, interval: int) -> PixelStage:
        """The record of one stage."""
        macs = op_macs(node.op, self.graph.input_shapes(node))
        columns = self.flow.columns.get(node.name)
        again = columns.made - node.shape.pixels if columns else 0
        return PixelStage(
            node=node.name,
            op=op_name(node.op),
            reads=streamed(self.graph, node),
            accumulates=self.flow.accumulates(node),
            folding=folding,
            macs=macs,
            recomputed_macs=macs // node.shape.pixels * again,
            weights=_weights(self.graph, node),
            weight_bits=_weight_bits(node.op, self.weight_bits),
            bias_bits=_bias_bits(node.op),
            elementwise=is_product(node.op),
            interval_cycles=interval,
            latency_cycles=self.flow.latency(node, folding),
        )

    def buffer(self, node: Node) -> PixelBuffer:
        """The ring of a value, but for its depth."""
        readers = self.graph.consumers[node.name]
        line = max(self.line(reader, node) for reader in readers)
        held = node.shape.pixels > 1 and any(_waits(self.graph, reader, node.name) for reader in readers)
        lag = 0 if held else max(self.lag(reader, node) for reader in readers)
        return PixelBuffer(
            value=node.name,
            readers=tuple(reader.name for reader in readers),
            channels=node.shape.channels,
            bits=_value_bits(node.type.dtype, self.weight_bits),
            image_pixels=self.flow.pixels(node.name),
            line_pixels=line,
            skip_pixels=max(0, lag - line) if lag > 1 else 0,
            hold_pixels=max(0, node.shape.pixels - line) if held else 0,
            depth_pixels=0,
        )

    def line(self, reader: Node, value: Node) -> int:
        """Depth of the line buffer for a reader's window, in pixels."""
        columns = self.flow.columns
        if reader.name in columns and value.name in columns:
            return 0
        if reader.name in columns or value.name in columns:
            return self.flow.reading(reader, value.name, 1).span
        return _line_pixels(self.flow, reader, value)

    def lag(self, reader: Node, value: Node) -> int:
        """Pixels buffered for the other input of a join, were all stages infinitely fast; 0 where nothing joins."""
        if not joins(reader.op) or len(streamed(self.graph, reader)) < 2:
            return 0
        return self.space.span(reader, value.name, self.first, self.graph.nodes[0].name)

    @cached_property
    def space(self) -> Space:
        """Distances between pixels where a stage makes one at a time, at once."""
        return Space(self.graph, Tile(1))

    @property
    def first(self) -> int:
        """Place of the first node that computes."""
        return next(i for i, n in enumerate(self.graph.nodes) if not is_given(n.op))

    def barriers(self, chosen: Mapping[str, Folding]) -> Iterator[Barrier]:
        """The products with a squeeze-and-excite's gate."""
        for node in _stages(self.graph):
            for name in streamed(self.graph, node):
                value = self.graph.by_name[name]
                if value.shape.pixels > 1 and _waits(self.graph, node, name):
                    yield self.barrier(node, value, chosen)

    def barrier(self, node: Node, value: Node, chosen: Mapping[str, Folding]) -> Barrier:
        """The cost of buffering `value` in full, and of recomputing it from the tensor of fewest channels before it."""
        source, macs, multipliers = value, 0, 0
        best = (value.shape.elements, value.name, 0, 0)
        while len(streamed(self.graph, source)) == 1 and not self.flow.accumulates(source):
            macs += op_macs(source.op, self.graph.input_shapes(source))
            multipliers += chosen[source.name].multipliers
            source = self.graph.by_name[streamed(self.graph, source)[0]]
            best = min(best, (source.shape.elements, source.name, macs, multipliers), key=lambda b: b[0])
        ring = next(ring for ring in self.buffers if ring.value == best[1])
        held = ring.line_pixels + ring.skip_pixels >= self.graph.by_name[best[1]].shape.pixels
        return Barrier(node.name, value.shape.elements, best[1], best[0], best[2], best[3], held)


def pipeline_graph(graph: Graph) -> Graph:
    """The network as a pipeline takes it: folded, inputs and constants first, nothing that no output needs.

    Raises Unsupported where a layer follows from constants alone, for several inputs, and where there is no layer.
    """
    folded = fold(graph)
    used = set(folded.outputs)
    for node in reversed(folded.nodes):
        if node.name in used:
            used.update(node.inputs)
    nodes = [node for node in folded.nodes if node.name in used]
    nodes.sort(key=lambda n: (not is_input(n.op), not is_constant(n.op)))
    params = {k: v for k, v in folded.arrays.items() if k.rpartition(".")[0] in used}
    out = remade(folded, tuple(nodes), folded.outputs, params, folded.image)
    layers = list(_stages(out))
    if len(out.input_nodes) > 1:
        names = " and ".join(node.name for node in out.input_nodes)
        raise Unsupported(f"{graph.name}: must have one input to be a pipeline, whose pixels set its pace, got {names}")
    if not layers:
        raise Unsupported(f"{graph.name}: must have a layer to be a pipeline")
    for node in layers:
        if not streamed(out, node):
            raise Unsupported(f"{graph.name}: {node.name}: must follow from the input; it follows from constants alone")
    pixels = sum(node.shape.pixels for node in nodes)
    if pixels > MOST_PIXELS:
        raise Unsupported(f"{graph.name}: maps must have at most {MOST_PIXELS} pixels to be a pipeline, got {pixels}")
    for name in out.outputs:
        if is_given(out.by_name[name].op):
            raise Unsupported(f"{graph.name}: {name}: output must be made by a layer")
    return out


def _stages(graph: Graph) -> Iterator[Node]:
    return (node for node in graph.nodes if not is_given(node.op))


def _works(flow: Flow) -> Iterator[tuple[str, Work]]:
    """The products of all layers that have some."""
    graph = flow.graph
    for node in _stages(graph):
        pixels = flow.fired_pixels(node)
        match node.op:
            case Conv(out_channels=outputs, groups=groups, window=window):
                taps = 1 if flow.accumulates(node) else window.taps
                yield node.name, Work(outputs, graph.input_shapes(node)[0].channels // groups * taps, taps, pixels)
            case Multiply():
                yield node.name, Work(node.shape.channels, 1, 1, pixels)
            case _:
                pass


def _keeping_pace(pixels: int, interval: int) -> Folding:
    """A stage without multipliers: one firing a cycle, with as many lanes as the interval needs."""
    lanes = next(n for n in divisors(pixels) if pixels // n <= interval)
    return Folding(0, 0, 0, lanes, 1, pixels // lanes)


def _waits(graph: Graph, reader: Node, name: str) -> bool:
    """True where `reader` takes `name` pixel by pixel with one value of the whole image that streams too."""
    if not is_pairwise(reader.op) or len(streamed(graph, reader)) < 2:
        return False
    return name == reader.inputs[0] and graph.by_name[reader.inputs[1]].shape.pixels == 1


def _line_pixels(flow: Flow, reader: Node, value: Node) -> int:
    """Pixels of the line buffer of a window: (K - 1) W + K, at most the map."""
    window = op_window(reader.op)
    if window is None or window.taps == 1 or flow.accumulates(reader):
        return 0
    rows, columns = window.extent
    return min((rows - 1) * value.shape.width + columns, value.shape.pixels)


def latency_of(graph: Graph, times: Schedule) -> int:
    """Cycles from the first input pixel to the last output value of one image in an idle machine."""
    started = min(int(times.arrives[node.name].rows[0, 0]) for node in graph.input_nodes)
    return max(int(times.arrives[name].rows[0, -1]) for name in graph.outputs) - started


def _weights(graph: Graph, node: Node) -> int:
    if not has_weights(node.op):
        return 0
    rows, high, wide, depth_ = node.op.weight_shape(graph.input_shapes(node)[0])
    return rows * high * wide * depth_


def _weight_bits(op: Op, bits: int) -> int:
    """Bits of a weight as planned; those of one or two bits stay so."""
    return min(bits, op.weights.bits) if has_weights(op) else bits


def _bias_bits(op: Op) -> int:
    return op.out_channels * BIAS_BITS if has_weights(op) and op.bias else 0


def _value_bits(dtype: DType, bits: int) -> int:
    return min(bits, dtype.bits)


def _resident_bits(graph: Graph, bits: int) -> int:
    """Bits of weights, biases and constants, each once."""
    total = 0
    for node in graph.nodes:
        total += _weights(graph, node) * _weight_bits(node.op, bits) + _bias_bits(node.op)
        if is_constant(node.op):
            total += node.shape.elements * _value_bits(node.op.dtype, bits)
    return total


def count_weights(graph: Graph) -> int:
    """Weights of all convolutions and dense layers, each once."""
    return sum(_weights(graph, node) for node in graph.nodes)
