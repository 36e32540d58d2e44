"""Import of aten's pools and borders; and how much of a window lies on its map."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.importers.torch import patterns, views
from rillet.importers.torch.builder import Border, Builder, Call, Result, Value, added
from rillet.importers.torch.drafts import LowPad
from rillet.ir.moves import widened
from rillet.ir.ops import Pad, Pool, PoolKind, Resize, Window
from rillet.ir.types import Shape


def twice(value: Sequence[int] | int) -> tuple[int, int]:
    """Rows and columns, where one number may stand for both."""
    values = [value] if isinstance(value, int) else list(value)
    return values[0], values[-1]


def made_window(
    b: Builder,
    call: Call,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Border,
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    """A window; raises Unsupported about the call where a graph has none such."""
    try:
        return Window(kernel, stride, padding, dilation)
    except GraphError as error:
        raise b.refuse(call, f"has no place in a graph: {error}") from None


def shares_inside(window: Window, shape: Shape) -> npt.NDArray[np.float64]:
    """For each output row and column, the share of the window's values that are on the map and not in the padding."""
    top, bottom, left, right = window.padding
    rows = _along(shape.height, top, bottom, window.kernel[0], window.stride[0])
    columns = _along(shape.width, left, right, window.kernel[1], window.stride[1])
    return np.outer(rows, columns)


def _along(length: int, before: int, after: int, kernel: int, stride: int) -> npt.NDArray[np.float64]:
    inside = np.concatenate([np.zeros(before), np.ones(length), np.zeros(after)])
    return np.array([inside[at : at + kernel].mean() for at in range(0, len(inside) - kernel + 1, stride)])


# -- pools and sizes ---------------------------------------------------------------------------------------------------


def _max_pool(b: Builder, call: Call) -> Result:
    value = b.map(call, "self")
    shape = b.shape(value)
    source, border = b.unpadded(call, value, LowPad)
    kernel, stride, own, hanging = _pool_window(call, shape)
    if twice(call["dilation"]) != (1, 1):
        raise b.refuse(call, f"must not be dilated, got {call['dilation']}")
    padding = added(added(border, own), hanging)
    return b.add(call, Pool(PoolKind.MAX, made_window(b, call, kernel, stride, padding)), [source])


def _average_pool(b: Builder, call: Call) -> Result:
    value = b.map(call, "self")
    kernel, stride, own, hanging = _pool_window(call, b.shape(value))
    divisor, counted = call["divisor_override"], call["count_include_pad"] or call["divisor_override"] is not None
    if divisor is not None and any(hanging):
        raise b.refuse(call, "must not have windows that hang over the map where it has a divisor")
    if counted and any(own):
        # The zeros count, but what hangs over them in ceil_mode does not.
        value, own = b.add(call, Pad(own), [value.draft]), (0, 0, 0, 0)
    made = b.add(call, Pool(PoolKind.AVERAGE, made_window(b, call, kernel, stride, added(own, hanging))), [value.draft])
    return made if divisor is None else patterns.scale(b, call, made, kernel[0] * kernel[1] / divisor)


def _pool_window(call: Call, shape: Shape) -> tuple[tuple[int, int], tuple[int, int], Border, Border]:
    """Kernel, stride, padding, and how far the last windows of ceil_mode hang over the bottom and right."""
    kernel = twice(call["kernel_size"])
    stride = twice(call["stride"]) if call["stride"] else kernel
    rows, columns = twice(call["padding"])
    _, _, height, width = call.sizes
    below = max(0, (height - 1) * stride[0] + kernel[0] - shape.height - 2 * rows)
    right = max(0, (width - 1) * stride[1] + kernel[1] - shape.width - 2 * columns)
    return kernel, stride, (rows, rows, columns, columns), (0, below, 0, right)


def _adaptive(kind: PoolKind) -> Callable[[Builder, Call], Result]:
    """A handler of pools to a size that is given."""

    def handle(b: Builder, call: Call) -> Result:
        source = b.map(call, "self")
        shape = b.shape(source)
        sizes = call["output_size"]
        height, width = (n or own for n, own in zip(twice(sizes), (shape.height, shape.width), strict=True))
        if (height, width) == (shape.height, shape.width) != (1, 1):
            return source if kind is PoolKind.AVERAGE else (source, None)
        if shape.height % height or shape.width % width:
            raise b.refuse(call, f"must divide its map into equal windows, got {shape} to {height}x{width}")
        kernel = shape.height // height, shape.width // width
        stride = (1, 1) if (height, width) == (1, 1) else kernel
        made = b.add(call, Pool(kind, Window(kernel, stride)), [source.draft])
        return made if kind is PoolKind.AVERAGE else (made, None)  # the places of the greatest values

    return handle


def _pad(b: Builder, call: Call) -> Result:
    source = b.map(call, "self")
    sides = list(call["pad" if "pad" in call.arguments else "padding"])
    if call.get("mode") == "replicate" or call.op.startswith("replication"):
        return _edges(b, call, source, sides)
    if call.get("mode") == "reflect" or call.op.startswith("reflection"):
        return _mirror(b, call, source, sides)
    fill = b.number(call["value"]) or 0.0
    if call.get("mode") not in (None, "constant") or fill not in (0.0, -math.inf):
        raise b.refuse(call, f"must be with zeros, or minus infinity before max_pool2d, got {call.get('mode')} {fill}")
    left, right, top, bottom, before, after, *others = [*sides, *(0,) * 6][: max(6, len(sides))]
    if any(others) or min(sides) < 0 or (fill and (before or after)):
        raise b.refuse(call, f"must widen height, width and channels alone, got {sides}")
    if not any(sides) and b.keep is None:
        return source
    border = (top, bottom, left, right)
    if before or after:
        inner = b.add(call, Pad(border), [source.draft]) if any(border) else source
        return b.add(call, widened(b.shape(source).channels, before, after), [inner.draft])
    return b.add(call, Pad(border) if fill == 0 else LowPad(border), [source.draft])


def _edges(b: Builder, call: Call, source: Value, sides: Sequence[int]) -> Value:
    """The first and last rows and columns repeated."""
    shape, (left, right, top, bottom) = b.shape(source), _sides(b, call, sides)
    before, after = (top, left), (bottom, right)
    rows, columns = (
        (0,) * first + tuple(range(n)) + (n - 1,) * last
        for first, n, last in zip(before, (shape.height, shape.width), after, strict=True)
    )
    return b.add(call, Resize(rows, columns), [source.draft])


def _mirror(b: Builder, call: Call, source: Value, sides: Sequence[int]) -> Value:
    """The rows and columns beside the first and the last ones mirrored."""
    left, right, top, bottom = _sides(b, call, sides)
    return views.mirrored(b, call, views.mirrored(b, call, source, 2, top, bottom), 3, left, right)


def _sides(b: Builder, call: Call, sides: Sequence[int]) -> Sequence[int]:
    if len(sides) != 4 or min(sides) < 0:
        raise b.refuse(call, f"must widen height and width, got {sides}")
    return sides


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {
    "adaptive_avg_pool2d": _adaptive(PoolKind.AVERAGE),
    "adaptive_max_pool2d": _adaptive(PoolKind.MAX),
    "avg_pool2d": _average_pool,
    "constant_pad_nd": _pad,
    "max_pool2d": _max_pool,
    "pad": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
}
NOTES: dict[str, tuple[str, str]] = {
    "adaptive_avg_pool2d": ("pool", "to one pixel, or to a size that divides the map"),
    "adaptive_max_pool2d": ("pool", "as adaptive_avg_pool2d"),
    "avg_pool2d": ("pool", "any padding, counted (a pad before it) or not, `ceil_mode`, any divisor"),
    "constant_pad_nd": ("pad", "as pad"),
    "max_pool2d": ("pool", "any padding and `ceil_mode`, no dilation; takes pads of minus infinity before it"),
    "pad": ("pad, select or resize", "height and width with zeros, their edges or mirrored, channels with zeros"),
    "reflection_pad2d": ("resizes, pads and adds", "of height and width, at most 8 rows or columns a side"),
    "replication_pad2d": ("resize", "of height and width"),
}
"""What each operator becomes in a graph, and its limits."""
