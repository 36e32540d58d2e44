"""Import of ONNX's Resize, and of a Gather of rows or columns, as tables of source indices."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx.builder import Builder
from rillet.importers.onnx.draft import Draft
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.layout import taken
from rillet.importers.onnx.views import View, of_map
from rillet.ir.graph import Node
from rillet.ir.linear import of_onnx as linear_of_onnx
from rillet.ir.nearest import COORDINATES, MAX_PLACES, ROUNDINGS, of_onnx
from rillet.ir.ops import Interpolate, Pad, Resize, Select

MAX_SCALE = 2**20


def _resize(b: Builder, op: Operator) -> View:
    source = b.view(op).need_map()
    mode = op.word("mode", "nearest")
    coordinates = op.word("coordinate_transformation_mode", "half_pixel")
    rounding = op.word("nearest_mode", "round_prefer_floor")
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"mode must be nearest or linear, got {mode[:20]!r}")
    if coordinates not in COORDINATES or rounding not in ROUNDINGS:
        raise GraphError(f"modes must be among those of ONNX, got {coordinates[:30]!r} and {rounding[:30]!r}")
    axes = [source.axis(axis) for axis in op.integers("axes") or range(4)]
    if len(set(axes)) != len(axes):
        raise GraphError(f"axes must be different, got {axes[:9]}")
    sizes, scales = _sizes(b, op, source, axes)
    if sizes[:2] != list(source.dims[:2]):
        raise Unsupported(f"must resize height and width alone, got {sizes} of {source}")
    if min(sizes) < 1:
        raise GraphError(f"size must be at least 1x1, got {sizes[2]}x{sizes[3]}")
    starts, ends = _region(b, op, axes) if coordinates == "tf_crop_and_resize" else ([0.0] * 4, [1.0] * 4)
    if sizes == list(source.dims):  # ONNX Runtime copies then, whatever the scales and the region are
        return source
    if mode == "linear":
        if coordinates == "tf_crop_and_resize" or op.integer("antialias", 0) or op.integer("exclude_outside", 0):
            raise Unsupported("linear resizing must be of all pixels, without antialias and exclude_outside")
        (down, below), (across, right) = (
            linear_of_onnx(source.dims[axis], sizes[axis], coordinates, scales[axis]) for axis in (2, 3)
        )
        return of_map(b.make(op.outputs[0], Interpolate(down, across, below, right), [b.node(source)]))
    rows, columns = (
        of_onnx(source.dims[axis], sizes[axis], coordinates, rounding, scales[axis], (starts[axis], ends[axis]))
        for axis in (2, 3)
    )
    return of_map(_made(b, op, b.node(source), rows, columns))


def _sizes(b: Builder, op: Operator, source: View, axes: list[int]) -> tuple[list[int], list[float | None]]:
    """Lengths of the four dimensions of the result, and the factors that coordinates are computed with."""
    dims: list[int] = list(source.dims)
    scales: list[float | None] = [None, None, None, None]
    policy = op.word("keep_aspect_ratio_policy", "stretch")
    wanted = b.integers(op, 3) if b.has(op, 3) else []
    if not wanted:
        factors = b.floats(op, 2).reshape(-1)
        if factors.size != len(axes) or not (factors > 0).all() or (factors > MAX_SCALE).any():
            raise GraphError(f"scales must be {len(axes)} positive numbers, got {factors.tolist()[:9]}")
        for axis, factor in zip(axes, factors, strict=True):
            # The product is one of float32, as in ONNX Runtime: 0.7 times 10 is 7.
            dims[axis], scales[axis] = int(factor * np.float32(dims[axis])), float(factor)
        return dims, scales
    if len(wanted) != len(axes) or min(wanted) < 1:
        raise GraphError(f"sizes must be {len(axes)} positive numbers, got {wanted[:9]}")
    if policy == "stretch":
        for axis, length in zip(axes, wanted, strict=True):
            dims[axis] = length
        return dims, scales
    if policy not in ("not_larger", "not_smaller"):
        raise GraphError(f"keep_aspect_ratio_policy must be one of ONNX's, got {policy[:20]!r}")
    ratios = [np.float32(length) / np.float32(dims[axis]) for axis, length in zip(axes, wanted, strict=True)]
    factor = min(ratios) if policy == "not_larger" else max(ratios)
    for axis in axes:
        dims[axis], scales[axis] = int(np.floor(factor * np.float32(dims[axis]) + np.float32(0.5))), float(factor)
    return dims, scales


def _region(b: Builder, op: Operator, axes: list[int]) -> tuple[list[float], list[float]]:
    """Where the part that is taken begins and ends along each dimension."""
    region = b.floats(op, 1).reshape(-1).tolist()
    if len(region) != 2 * len(axes):
        raise GraphError(f"roi must be {2 * len(axes)} numbers, got {len(region)}")
    starts, ends = [0.0] * 4, [1.0] * 4
    for i, axis in enumerate(axes):
        starts[axis], ends[axis] = region[i], region[len(axes) + i]
    return starts, ends


def _made(b: Builder, op: Operator, source: Node, rows: list[int], columns: list[int]) -> Node:
    """A resize, and a border of zeros where places lie outside of the map."""
    (top, down, bottom), (left, across, right) = _inside(rows), _inside(columns)
    padding = (top, bottom, left, right)
    if not any(padding):
        return b.make(op.outputs[0], Resize(down, across), [source])
    value, quant = op.real("extrapolation_value", 0.0), source.type.quant
    if value != (quant.zero_point if quant else 0):
        raise Unsupported(f"extrapolation_value must be 0 where the region leaves the map, got {value:g}")
    inner = b.make(f"{op.outputs[0]}/inside", Resize(down, across), [source])
    return b.make(op.outputs[0], Pad(padding), [inner])


def _inside(places: list[int]) -> tuple[int, tuple[int, ...], int]:
    """How many places lie before the map, those within it, and how many lie behind."""
    kept = [i for i, place in enumerate(places) if place >= 0]
    if not kept:
        raise Unsupported("region must have a row and a column within the map")
    inner = tuple(places[kept[0] : kept[-1] + 1])
    if any(before > after for before, after in pairwise(inner)):
        raise Unsupported("region must not run backwards")
    return kept[0], inner, len(places) - 1 - kept[-1]


def _gather(b: Builder, op: Operator) -> View:
    source = b.view(op)
    axis, indices = source.axis(op.integer("axis", 0)), b.known(op, 1).array
    if indices.ndim > 1 or not 0 < indices.size <= MAX_PLACES:
        raise Unsupported(f"must take a list of places, at most {MAX_PLACES}, got {list(indices.shape)}")
    length = source.dims[axis]
    if indices.dtype.kind != "i" or indices.min() < -length or indices.max() >= length:
        raise GraphError(f"indices must be integers within {length}, got {indices.reshape(-1).tolist()[:9]}")
    places = [int(i) % length for i in indices.reshape(-1)]
    if source.is_map and axis and indices.ndim:
        return _of_map(b, op, source, axis, places)
    made = taken(b, op.outputs[0], source, axis, places)
    return made if indices.ndim else made.laid((*made.axes[:axis], *made.axes[axis + 1 :]))


def _of_map(b: Builder, op: Operator, source: View, axis: int, places: list[int]) -> View:
    """Channels, rows or columns of a map, those of length 1 as often as they are named."""
    if axis == 1:
        return of_map(b.make(op.outputs[0], Select(tuple(places)), [b.node(source)]))
    if places != sorted(places):
        raise Unsupported("must take rows and columns in their order")
    whole = [tuple(range(source.shape.height)), tuple(range(source.shape.width))]
    whole[axis - 2] = tuple(places)
    return of_map(b.make(op.outputs[0], Resize(*whole), [b.node(source)]))


def join(draft: Draft) -> None:
    """Makes two resizes in a row one."""
    for node in list(draft.nodes.values()):
        if not isinstance(node.op, Resize):
            continue
        before = draft.source(node)
        if isinstance(before.op, Resize) and draft.alone(before.name) and before.type.quant == node.type.quant:
            rows, columns = _through(before.op.rows, node.op.rows), _through(before.op.columns, node.op.columns)
            draft.replace(node.name, Resize(rows, columns), before.inputs)


def _through(inner: Sequence[int], outer: Sequence[int]) -> tuple[int, ...]:
    return tuple(inner[place] for place in outer)


HANDLERS = {"Gather": _gather, "Resize": _resize}
NOTES = {
    "Gather": (
        "select or resize",
        "of channels or parts of them, of rows or columns in their order; of constants and shapes",
    ),
    "Resize": (
        "resize, or interpolate",
        "nearest: every coordinate mode and rounding, zeros alone outside of a region; linear: every mode but that one",
    ),
}
"""What each operator becomes in a graph, and its limits."""
