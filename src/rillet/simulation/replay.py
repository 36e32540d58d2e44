"""Values through a pipeline: the simulated machine's firings once more, with FIFOs of exactly the planned depth.

A firing reads what the FIFO holds at that cycle, right or wrong: a FIFO that is too shallow gives wrong values.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from rillet.backends.reference import node_value
from rillet.errors import GraphError, TargetError
from rillet.ir.facts import is_constant, is_interpolation
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Conv,
    Input,
    Interpolate,
    Pad,
    Pool,
    Resize,
    Window,
    op_places,
    op_window,
    output_shape,
)
from rillet.ir.types import Shape, TensorType
from rillet.plan.pipeline.plan import PixelPlan
from rillet.simulation.orders import wide_orders
from rillet.simulation.pipeline import simulate

Places = npt.NDArray[np.int64]


def simulate_values(
    plan: PixelPlan, *images: Array, depths: Mapping[str, int] | None = None
) -> tuple[dict[str, Array], ...]:
    """Every value that the machine makes of each image, by node name, the images back to back.

    A pixel that is never computed is zero: under bottleneck buffering, one of the expanded map under no window.

    Each pixel is computed by the reference's own arithmetic from what its window reads in the FIFOs; float values are
    float64. `depths` overrides FIFO depths, in pixels, under the planned schedule.
    Raises GraphError for a wrong image or a network without weights, TargetError where the machine stalls.
    """
    for node in plan.graph.input_nodes:
        for image in images:
            if image.shape != node.shape.array or image.dtype != node.type.dtype.numpy:
                expected = f"{node.type.dtype.value} of {node.shape}"
                raise GraphError(f"{plan.graph.name}: input must be {expected}, got {image.dtype} of {image.shape}")
    if not images:
        raise TargetError("images must be at least 1, got 0")
    run = simulate(plan, len(images), events=True)
    if not run.passed or run.stalled_cycles:
        raise TargetError(f"{plan.graph.name}: machine must run without stalls to be replayed")
    machine = _Machine(plan, images, depths or {})
    for event in run.events.tolist():
        which, write = divmod(event, 2)
        if write:
            machine.write(which)
        else:
            machine.fire(which)
    return machine.values


class _Ring:
    """The slots of one ring."""

    def __init__(self, node: Node, depth: int, pixels: int) -> None:
        self.pixels = pixels
        self.slots = np.zeros((depth, node.shape.channels), _dtype(node))

    def put(self, token: int, pixel: Array) -> None:
        self.slots[token % len(self.slots)] = pixel

    def at(self, frame: int, places: Places) -> Array:
        """What lies where these pixels of an image should be."""
        return self.slots[(frame * self.pixels + places) % len(self.slots)]


class _Machine:
    """Rings, and the result registers of all stages."""

    def __init__(self, plan: PixelPlan, images: tuple[Array, ...], depths: Mapping[str, int]) -> None:
        graph = plan.graph
        self.graph = graph
        self.images = images
        self.stages = plan.stages
        self.sources = [node for node in graph.input_nodes if graph.consumers[node.name]]
        self.orders = wide_orders(plan)
        self.rings: dict[str, dict[str, _Ring]] = {}
        """Of each value the ring that each reader reads, which may be one."""
        for buffer in plan.buffers:
            node = graph.by_name[buffer.value]
            own = [_Ring(node, depths.get(name, deep), self.pixels(node)) for name, deep in buffer.depths.items()]
            self.rings[buffer.value] = dict(zip(buffer.readers, own * (len(buffer.readers) // len(own)), strict=True))
        self.fired = [0] * len(self.stages)
        self.written = [0] * (len(self.stages) + len(self.sources))
        self.results: list[deque[list[Array]]] = [deque() for _ in self.stages]
        # What an accumulating stage has taken in of an image stands for its sums.
        self.taken: list[list[Array]] = [[] for _ in self.stages]
        self.constants = {node.name: node_value(graph, node, {}) for node in graph.nodes if is_constant(node.op)}
        self.values: tuple[dict[str, Array], ...] = tuple(
            {s.node: np.zeros(graph.by_name[s.node].shape.array, _dtype(graph.by_name[s.node])) for s in self.stages}
            for _ in images
        )
        self.alone = cache(self._alone)

    def pixels(self, node: Node) -> int:
        """Pixels of a value that come for one image."""
        return len(self.orders[node.name].places) if node.name in self.orders else node.shape.pixels

    def fire(self, which: int) -> None:
        """One firing: all its pixels, from what lies in the rings now."""
        stage, node = self.stages[which], self.graph.by_name[self.stages[which].node]
        frame, number = divmod(self.fired[which], stage.folding.firings)
        self.fired[which] += 1
        pixels = range(number * stage.folding.lanes, (number + 1) * stage.folding.lanes)
        if not stage.accumulates:
            self.results[which].append([self.pixel(node, frame, pixel) for pixel in pixels])
            return
        self.taken[which].append(self.rings[node.inputs[0]][node.name].at(frame, np.arange(pixels.start, pixels.stop)))
        if number == stage.folding.firings - 1:
            shape = self.graph.input_shapes(node)[0]
            whole = np.concatenate(self.taken[which]).reshape(shape.array)
            self.results[which].append([self.compute(node, {node.inputs[0]: whole}, op_window(node.op))])
            self.taken[which] = []

    def pixel(self, node: Node, frame: int, pixel: int) -> Array:
        """One pixel of a node; zeros for a place in the padding, where nothing is made."""
        row, column = divmod(pixel, node.shape.width)
        if node.name in self.orders:
            _, row, column = self.orders[node.name].places[pixel]
            if not 0 <= row < node.shape.height:
                return np.zeros(node.shape.channels, _dtype(node))
        window: Window | Interpolate | None = op_window(node.op)
        patches: dict[str, Array] = {}
        for name in dict.fromkeys(node.inputs):
            source = self.graph.by_name[name].shape
            places, window = _patch(node, source, row, column)
            if name in self.constants:
                patches[name] = self.constants[name].reshape(-1, source.channels)[places]
            elif places.size:
                patches[name] = self.rings[name][node.name].at(frame, self.tokens(node, name, pixel, row, places))
            else:
                # The padding alone: one pixel that the window does not see.
                patches[name] = np.zeros((1, 1, source.channels), self.rings[name][node.name].slots.dtype)
        return self.compute(node, patches, window)

    def tokens(self, node: Node, source: str, pixel: int, row: int, places: Places) -> Places:
        """Where these pixels of a source come, of those that come for one image."""
        order = self.orders.get(source)
        if order is None:
            return places
        if node.name in self.orders:
            return np.array([[pixel]])
        width = self.graph.by_name[source].shape.width
        # Rows and columns between the taps of a dilated window have no places, and no window looks at them.
        found = [order.number.get((row, *divmod(place, width)), 0) for place in places.reshape(-1).tolist()]
        return np.array(found).reshape(places.shape)

    def compute(self, node: Node, patches: Mapping[str, Array], window: Window | Interpolate | None) -> Array:
        """What the reference makes of these patches: the first pixel of it."""
        shapes = tuple((name, Shape(*patch.shape)) for name, patch in patches.items())
        small = self.alone(node.name, shapes, window)
        return node_value(small, small.nodes[-1], patches)[0, 0]

    def _alone(self, name: str, shapes: tuple[tuple[str, Shape], ...], window: Window | Interpolate | None) -> Graph:
        return _alone(self.graph, self.graph.by_name[name], shapes, window)

    def write(self, which: int) -> None:
        """Puts what a stage made, or the next pixel of an image, into its ring."""
        if which >= len(self.stages):
            node = self.sources[which - len(self.stages)]
            frame, place = divmod(self.written[which], node.shape.pixels)
            made = [self.images[frame].reshape(-1, node.shape.channels)[place]]
        else:
            node = self.graph.by_name[self.stages[which].node]
            # An accumulating stage of the ideal also writes nothing, behind each firing but the last.
            made = self.results[which].popleft() if self.results[which] else []
        for pixel in made:
            token = self.written[which]
            self.written[which] += 1
            for ring in dict.fromkeys(self.rings.get(node.name, {}).values()):
                ring.put(token, pixel)
            if which < len(self.stages):
                frame, place = divmod(token, self.pixels(node))
                if node.name in self.orders:
                    _, row, column = self.orders[node.name].places[place]
                    if not 0 <= row < node.shape.height:
                        continue
                    place = row * node.shape.width + column
                self.values[frame][node.name].reshape(-1, node.shape.channels)[place] = pixel


def _dtype(node: Node) -> np.dtype[np.generic]:
    return node.type.dtype.numpy if node.type.quant is not None else np.dtype(np.float64)


def _patch(node: Node, source: Shape, row: int, column: int) -> tuple[Places, Window | Interpolate | None]:
    """The pixels that one pixel of a node sees, as rows x columns, and what looks at them; none for padding alone."""
    window = op_window(node.op)
    if is_interpolation(node.op):
        op = node.op
        rows = np.arange(op.rows[row], op.rows[row] + 1 + (op.row_shares[row] > 0))
        columns = np.arange(op.columns[column], op.columns[column] + 1 + (op.column_shares[column] > 0))
        alone = Interpolate((0,), (0,), (op.row_shares[row],), (op.column_shares[column],))
        return rows[:, None] * source.width + columns, alone
    if window is None:
        copied = op_places(node.op)
        if copied is not None:
            row, column = copied.rows[row], copied.columns[column]
        at = row * source.width + column if source.pixels > 1 else 0
        return np.array([[at]]), None
    (high, wide), (top, _, left, _) = window.extent, window.padding
    y, x = row * window.stride[0] - top, column * window.stride[1] - left
    rows = np.arange(max(y, 0), min(y + high, source.height))
    columns = np.arange(max(x, 0), min(x + wide, source.width))
    if not (rows.size and columns.size):
        return np.zeros((0, 0), np.int64), Window(window.kernel, (1, 1), (high, 0, wide, 0), window.dilation)
    sides = (rows[0] - y, y + high - 1 - rows[-1], columns[0] - x, x + wide - 1 - columns[-1])
    padding = tuple(int(side) for side in sides)
    assert len(padding) == 4
    return rows[:, None] * source.width + columns, Window(window.kernel, (1, 1), padding, window.dilation)


def _alone(
    graph: Graph, node: Node, shapes: tuple[tuple[str, Shape], ...], window: Window | Interpolate | None
) -> Graph:
    """A graph of one node over patches of these shapes."""
    op = node.op
    match op:
        case Conv() | Pool():
            assert isinstance(window, Window)
            op = replace(op, window=window)
        case Pad():
            assert isinstance(window, Window)
            op = replace(op, padding=window.padding)
        case Resize():
            op = Resize((0,), (0,))
        case Interpolate():
            assert window is not None and not isinstance(window, Window)
            op = window
        case _:
            pass
    sources = tuple(_source(graph, name, shape) for name, shape in shapes)
    shape = output_shape(op, tuple(dict(shapes)[name] for name in node.inputs), node.shape)
    small = replace(node, op=op, type=TensorType(shape, node.type.dtype, node.type.quant))
    params = {f"{node.name}.{p.name}": graph.param(node, p.name) for p in graph.node_params(node)}
    return Graph(graph.name, (*sources, small), (node.name,), params)


def _source(graph: Graph, name: str, shape: Shape) -> Node:
    value = graph.by_name[name]
    return Node(name, Input(), (), replace(value.type, shape=shape))
