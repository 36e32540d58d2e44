"""Assigns the tensors of a checkpoint to a network's layers: by known names, or else in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.names import Modules, candidates
from rillet.importers.checkpoints.records import Checkpoint, Layout, dimensions, listed, shown
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Conv, Param
from rillet.ir.sharing import remade
from rillet.ir.types import DType

IN_ORDER = "in order"
LEAVES: Mapping[Layout, Mapping[str, tuple[str, ...]]] = {
    "torch": {
        "weight": ("weight",),
        "bias": ("bias",),
        "gamma": ("weight",),
        "beta": ("bias",),
        "mean": ("running_mean",),
        "variance": ("running_var",),
    },
    "keras": {
        "weight": ("kernel", "depthwise_kernel"),
        "bias": ("bias",),
        "gamma": ("gamma",),
        "beta": ("beta",),
        "mean": ("moving_mean",),
        "variance": ("moving_variance",),
    },
}
"""What each of our arrays is called within a module."""
BATCHES = "num_batches_tracked"
COUNTERS = (BATCHES, "total_ops", "total_params")
"""Tensors that are no weights: batches seen in training, and what the profiler `thop` leaves behind."""


@dataclass(frozen=True, slots=True)
class Laid:
    """A network with weights, how its tensors were found, and those of the file that it has no use for."""

    graph: Graph
    naming: str
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Want:
    """One array that the network needs."""

    node: Node
    param: Param
    names: tuple[str, ...]
    """Leaves of the key it may have."""

    @property
    def key(self) -> str:
        return f"{self.node.name}.{self.param.name}"


def lay(graph: Graph, checkpoint: Checkpoint) -> Laid:
    """The graph with the weights of a checkpoint, converted to float32 and channels last.

    Tensors are found by the naming of which the file has most; where none of them is complete and the file keeps an
    order, by order, each one's shape and kind compared. Raises GraphError listing missing and unexpected tensors,
    Unsupported for networks that are not float.
    """
    wants = list(_wants(graph, checkpoint.layout))
    keys = [key for key in checkpoint.tensors if key.rpartition(".")[2] not in COUNTERS]
    tried = [(naming, modules, _found(wants, modules, checkpoint)) for naming, modules in candidates(graph)]
    naming, modules, found = max(tried, key=lambda item: len(item[2]))
    disorder = ""
    if len(found) < len(wants) and checkpoint.ordered:
        disorder = _disorder(wants, keys, checkpoint)
        if not disorder:
            naming, found = IN_ORDER, {want.key: key for want, key in zip(wants, keys, strict=True)}
    for key, first in graph.shared.items():  # a file may have a shared tensor once, under any of its names
        for one, other in ((key, first), (first, key)):
            if one not in found and other in found:
                found[one] = found[other]
    missing = [f"{modules[want.node.name][0]}.{want.names[0]}" for want in wants if want.key not in found]
    used = set(found.values())
    unexpected = [shown(key) for key in keys if key not in used]
    wrong = [text for want in wants if want.key in found and (text := _misfit(want, found[want.key], checkpoint))]
    if missing or unexpected or wrong:
        parts = ((missing, "missing"), (unexpected, "unexpected"), (wrong, "of another shape"))
        problems = "; ".join(f"{len(texts)} {what}: {listed(texts)}" for texts, what in parts if texts)
        how = f"by {naming}, or in order ({disorder})" if disorder else f"by {naming}"
        raise GraphError(f"{checkpoint.name}: tensors must fit {graph.name} {how}; {problems}")
    params = {want.key: _converted(want, found[want.key], checkpoint) for want in wants}
    unused = tuple(key for key in checkpoint.tensors if key not in used and not key.endswith(BATCHES))
    return Laid(remade(graph, graph.nodes, graph.outputs, params, graph.image), naming, unused)


def _wants(graph: Graph, layout: Layout) -> Iterator[_Want]:
    for node in graph.nodes:
        for param in graph.node_params(node):
            if param.dtype is not DType.F32 or param.name not in LEAVES[layout]:
                raise Unsupported(
                    f"{graph.name}: {node.name}: {param.name} must be float32 weights of a layer to be read from a "
                    f"checkpoint, got {param.dtype.value}"
                )
            yield _Want(node, param, LEAVES[layout][param.name])


def _found(wants: list[_Want], modules: Modules, checkpoint: Checkpoint) -> dict[str, str]:
    """The keys of the file by ours, as far as they are there."""
    found: dict[str, str] = {}
    for want in wants:
        names = (f"{module}.{leaf}" for module in modules[want.node.name] for leaf in want.names)
        key = next((name for name in names if name in checkpoint.tensors), None)
        if key is not None:
            found[want.key] = key
    return found


def _disorder(wants: list[_Want], keys: list[str], checkpoint: Checkpoint) -> str:
    """What speaks against taking the tensors in order; empty where nothing does."""
    for number, (want, key) in enumerate(zip(wants, keys, strict=False), 1):
        if key.rpartition(".")[2] not in want.names:
            return f"tensor {number} must be the {want.names[0]} of {want.node.name}, got {shown(key)}"
        misfit = _misfit(want, key, checkpoint)
        if misfit:
            return f"tensor {number}, {misfit}"
    return "" if len(wants) == len(keys) else f"there must be {len(wants)} tensors, got {len(keys)}"


def _misfit(want: _Want, key: str, checkpoint: Checkpoint) -> str:
    """What is wrong with a tensor's shape; empty where nothing is."""
    shape = checkpoint.tensors[key].shape
    fitting = _shapes(want, checkpoint.layout)
    if shape in fitting:
        return ""
    return f"{shown(key)} must be {' or '.join(map(dimensions, fitting))}, got {dimensions(shape)}"


def _shapes(want: _Want, layout: Layout) -> list[tuple[int, ...]]:
    """The shapes in which a file may hold an array: as a convolution or, of a dense or pointwise one, as a matrix."""
    if len(want.param.shape) != 4 or not isinstance(want.node.op, Conv):
        return [want.param.shape]
    outputs, rows, columns, inputs = want.param.shape
    matrix = want.node.op.dense or (rows, columns) == (1, 1)
    taps = rows * columns * inputs
    if layout == "torch":
        return [(outputs, inputs, rows, columns), *([(outputs, taps)] if matrix else [])]
    if inputs == 1 and want.node.op.groups > 1:
        groups = want.node.op.groups  # A depthwise layer has its own form; the values lie as in the other.
        return [(rows, columns, groups, outputs // groups), (rows, columns, inputs, outputs)]
    return [(rows, columns, inputs, outputs), *([(taps, outputs)] if matrix else [])]


def _converted(want: _Want, key: str, checkpoint: Checkpoint) -> Array:
    """The array as the graph has it."""
    array, shape = checkpoint.tensors[key], want.param.shape
    if array.dtype.kind != "f":
        raise Unsupported(f"{checkpoint.name}: {shown(key)} must be floating point, got {array.dtype}")
    if len(shape) == 4:
        array = _channels_last(array, shape, checkpoint.layout)
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(floats).all():
        raise GraphError(f"{checkpoint.name}: {shown(key)} must be finite in float32")
    if want.param.name == "variance" and (floats < 0).any():
        raise GraphError(f"{checkpoint.name}: {shown(key)} must not be negative")
    return floats


def _channels_last(array: Array, shape: tuple[int, ...], layout: Layout) -> Array:
    outputs, rows, columns, inputs = shape
    if layout == "torch":
        # A dense layer reads PyTorch's flattened map, whose channels come first.
        return array.reshape(outputs, inputs, rows, columns).transpose(0, 2, 3, 1)
    return array.reshape(rows, columns, inputs, outputs).transpose(3, 0, 1, 2)
