"""Addresses of a stage's inputs, and the waits until they are computed."""

from rillet.backends.c.constants import outside_name, outside_value
from rillet.backends.c.image import borrowed, borrows_image, input_of
from rillet.backends.c.records import record
from rillet.ir.facts import is_constant
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_reads, op_window
from rillet.plan.board.kernels import gathers_windows
from rillet.plan.rows.plan import Kernel, RowPlan, Stage

_WINDOWED = (
    Kernel.WINOGRAD,
    Kernel.DEPTHWISE,
    Kernel.DEPTHWISE_TILES,
    Kernel.LOW_BIT_DEPTHWISE,
    Kernel.CORE_DEPTHWISE,
    Kernel.CORE_PLANES,
    Kernel.POOL,
)


def windowed(plan: RowPlan, node: Node, stage: Stage) -> bool:
    """True where the stage reads a window around each pixel, and so needs its row and column."""
    if stage.kernel in (Kernel.DENSE, Kernel.TILES, Kernel.LISTS, Kernel.LOW_BIT, Kernel.CORE_LISTS, Kernel.XNOR):
        window, twice = op_window(node.op), stage.tiling is not None and stage.tiling.parts > 1
        return window is not None and (twice or not window.pointwise)
    if stage.kernel is Kernel.CORE_DENSE:
        assert plan.core is not None
        return gathers_windows(plan.graph, node, plan.core)
    if stage.kernel in (Kernel.COPY, Kernel.INTERPOLATE):
        return op_reads(node.op) is not None
    return stage.kernel in _WINDOWED


def source_at(graph: Graph, source: str, node: Node, pixel: str) -> str:
    """Pointer to the pixel of a source that goes with a pixel of `node`; one pixel alone goes with all."""
    single = graph.by_name[source].shape.pixels == 1 and node.shape.pixels > 1
    return f"at_{source}(self, {'0' if single else f'self->made.of_{node.name} + {pixel}'})"


def await_pixels(graph: Graph, node: Node) -> list[str]:
    """C code that returns 0 unless every input pixel of the tile is computed, for elementwise ops."""
    missing: list[str] = []
    for source in dict.fromkeys(node.inputs):
        value = graph.by_name[source]
        if is_constant(value.op):
            continue
        single = value.shape.pixels == 1 and node.shape.pixels > 1
        missing.append(f"self->made.of_{source} < {'1' if single else f'self->made.of_{node.name} + n'}")
    return [f"    if ({' || '.join(missing)}) return 0;"]


def place_of(plan: RowPlan, node: Node, pixel: str) -> str:
    """Row and column of a pixel of the tile, which lies in one row, or is some whole rows."""
    if not plan.by_rows:
        return f"row, column + {pixel}"
    return f"row + ({pixel}) / {node.shape.width}, ({pixel}) % {node.shape.width}"


def await_window(plan: RowPlan, node: Node) -> str:
    """C code that returns 0 unless the last pixel under the tile's windows is computed."""
    source = node.inputs[0]
    return f"    if (self->made.of_{source} <= rillet_window_needs(window, {place_of(plan, node, 'n - 1')})) return 0;"


def window_record(plan: RowPlan, node: Node) -> str:
    """The constants of a stage's window over its input."""
    window, source = op_window(node.op), plan.graph.by_name[node.inputs[0]]
    assert window is not None
    buffer = plan.buffers.get(source.name)
    slots = str(buffer.pixels if buffer else source.shape.width)
    if borrows_image(plan) and source.name == input_of(plan).name:
        slots = f"{borrowed(plan)} ? {source.shape.pixels} : {slots}"
    numbers = (
        *window.kernel,
        *window.stride,
        window.padding[0],
        window.padding[2],
        *window.dilation,
        source.shape.height,
        source.shape.width,
        slots,
        source.type.pixel_bytes,
    )
    return record("rillet_window", "window", numbers)


def needs_outside(node: Node, stage: Stage) -> bool:
    """True where a stage reads the constant pixel that stands for padding."""
    window = op_window(node.op)
    without = (Kernel.POOL, Kernel.TILES, Kernel.WINOGRAD, Kernel.LISTS, Kernel.DEPTHWISE_TILES, Kernel.XNOR)
    return window is not None and any(window.padding) and stage.kernel not in without


def outside_pixel(graph: Graph, node: Node) -> str:
    """The constant pixel that stands for padding; any pixel where there is none."""
    window = op_window(node.op)
    if window is None or not any(window.padding):
        return f"at_{node.inputs[0]}(self, 0)"  # no tap lies outside
    return outside_name(outside_value(graph, node), graph.by_name[node.inputs[0]].type.dtype)
