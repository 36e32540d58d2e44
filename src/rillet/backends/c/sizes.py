"""Bytes of a board's constant arrays where a network has no weights: those that its layers would have with weights.

The arrays of `program_arrays` by their names, as long as they are where every rounding fits the core's instructions and
no weight is too large for a byte, as the plan of a network without weights takes for granted too.
"""

from math import prod
from typing import assert_never

from rillet.backends.c.data import stage_arrays
from rillet.ir.facts import has_weights, is_constant, is_function
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType
from rillet.plan.board.kernels import dense_depth, dense_words, finish, list_lengths, together
from rillet.plan.rows.kernels import xnor_bytes
from rillet.plan.rows.plan import CoreKernels, Kernel, Packing, RowPlan, Stage

_WORD = 4
_CHANNEL_WORDS = 4
"""Bias, mantissa, nudge and shift."""
_VECTOR_CHANNELS = 4
_TABLE = 256


def array_sizes(plan: RowPlan, original: Graph) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes of each array by its C name, and of those that the program keeps: what layers share is there once.

    original: the graph whose values the plan stores.
    """
    graph = plan.graph
    every = {f"net_{node.name}_value": node.type.bytes for node in graph.nodes if is_constant(node.op)}
    own, tables = dict(every), set[bytes]()
    for segment in plan.segments:
        for stage in segment.stages:
            node = graph.by_name[stage.node]
            if has_weights(node.op):
                sizes = {f"net_{node.name}_{part}": size for part, size in _sizes(plan, node, node.op, stage).items()}
                first = graph.key(node, "weight") == f"{node.name}.weight"
                own |= {name: size for name, size in sizes.items() if first or not name.endswith("_weights")}
            elif stage.kernel is Kernel.LOOKUP and is_function(node.op):
                # Not made: a quantisation that nobody calibrated may have no table of the function.
                sizes = {f"net_{node.name}_table": _TABLE}
                own |= sizes
            else:  # tables are known without weights, and equal ones are one
                made = stage_arrays(plan, original, stage).items()
                sizes = {f"net_{node.name}_{part}": array.nbytes for part, array in made}
                own |= {f"net_{node.name}_{part}": a.nbytes for part, a in made if a.tobytes() not in tables}
                tables |= {array.tobytes() for _, array in made}
            every |= sizes
    return every, own


def _sizes(plan: RowPlan, node: Node, op: Conv, stage: Stage) -> dict[str, int]:
    if stage.packing is Packing.CORE:
        assert plan.core is not None
        return _core(plan.graph, node, op, stage.kernel, plan.core)
    return _portable(plan.graph, node, op, stage)


def _core(graph: Graph, node: Node, op: Conv, kernel: Kernel, core: CoreKernels) -> dict[str, int]:
    """As `core_data.py` lays them."""
    channels, taps = op.out_channels, op.window.taps
    eight = 2 * _CHANNEL_WORDS * _WORD
    match kernel, core:
        case Kernel.CORE_LISTS, _:
            places = sum(len(row) + sum(row) for row in list_lengths(graph, node))
            out = {"weights": places, "channels": (_CHANNEL_WORDS + 2) * _WORD * channels}
        case Kernel.CORE_PLANES, CoreKernels.DSP:
            out = {"channels": eight * channels}
        case Kernel.CORE_PLANES, _:
            out = {"channels": 6 * _WORD * channels}
        case Kernel.CORE_DENSE, CoreKernels.HELIUM:
            groups = _VECTOR_CHANNELS * -(-channels // _VECTOR_CHANNELS)
            out = {"weights": groups * dense_depth(graph, node), "channels": _CHANNEL_WORDS * _WORD * groups}
        case Kernel.CORE_DENSE, _:
            groups = together(core) * -(-channels // together(core))
            out = {"weights": groups * _WORD * dense_words(graph, node), "channels": _CHANNEL_WORDS * _WORD * groups}
        case _, CoreKernels.DSP:
            out = {"weights": 2 * channels * taps, "channels": _CHANNEL_WORDS * _WORD * channels}
        case _, CoreKernels.ARMV6M:
            out = {"weights": channels * taps, "channels": _CHANNEL_WORDS * _WORD * channels}
        case _, CoreKernels.HELIUM:
            groups = _VECTOR_CHANNELS * -(-channels // _VECTOR_CHANNELS)
            out = {"weights": groups * taps, "channels": _CHANNEL_WORDS * _WORD * groups}
        case _:
            assert_never(core)
    known = finish(graph, node, CoreKernels.ARMV6M if kernel is Kernel.CORE_LISTS else core)
    return out if known.by_words else out | _rescaling(op)


def _rescaling(op: Conv) -> dict[str, int]:
    shift = {"shift": op.out_channels}
    return shift if op.rounding is Rounding.SHIFT else {"mantissa": _WORD * op.out_channels, **shift}


def _portable(graph: Graph, node: Node, op: Conv, stage: Stage) -> dict[str, int]:
    """As `constants.py` lays them."""
    (source,) = graph.input_types(node)
    shape = op.weight_shape(source.shape)
    channels, depth = shape[0], prod(shape[1:])
    planes = 1 if op.weights is DType.BINARY else 2
    if stage.kernel is Kernel.XNOR:
        weights = channels * xnor_bytes(op, source.shape.channels)
    elif stage.kernel is Kernel.LOW_BIT_DEPTHWISE:
        weights = depth * planes * -(-channels // 8)
    elif stage.packing in (Packing.PLANES, Packing.LISTS):
        weights = channels * planes * -(-depth // 8)
    else:
        weights = channels * depth * (1 if source.quant is not None else _WORD)
    out = {"weights": weights, "bias": _WORD * channels}
    if op.levels is not None:
        out["levels"] = 2 * channels * (1 if op.levels is DType.I8 else _WORD)
    rescales = source.quant is not None and node.type.dtype not in (DType.BINARY, DType.I32)
    return out | (_rescaling(op) if rescales else {})
