"""The data of an emitted program by name, and the files that hold it."""

import numpy as np

from rillet.arithmetic import tables
from rillet.backends.c.constants import (
    C_TYPES,
    concat_table,
    conv_arrays,
    declaration,
    definition,
    identifier,
    keeps_bytes,
    lookup_table,
    low_bit_arrays,
    quant,
    rescaled,
)
from rillet.backends.c.lists import list_arrays
from rillet.backends.c.packing import tile_arrays
from rillet.backends.c.rows import lanes
from rillet.backends.c.storage import moved_table, offset
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Concat, Constant, Conv, Resize, Softmax
from rillet.plan.plan import Kernel, Packing, Plan, Stage

_SPARE_BYTES = 256
"""Behind an array that vectors read: they may read past its end, and use nothing of it."""
_BYTES_IN_A_LINE = 64


def program_arrays(plan: Plan, original: Graph) -> dict[str, Array]:
    """Every constant array of the program by its C name; `original` is the graph whose values the plan stores."""
    graph = plan.graph
    out: dict[str, Array] = {}
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            out[f"net_{identifier(node.name)}_value"] = np.asarray(graph.param(node, "value"))
    for segment in plan.segments:
        for stage in segment.stages:
            for part, array in _stage_arrays(plan, original, stage).items():
                out[f"net_{identifier(stage.node)}_{part}"] = array
    return out


def _stage_arrays(plan: Plan, original: Graph, stage: Stage) -> dict[str, Array]:
    graph = plan.graph
    node = graph.by_name[stage.node]
    sources = [graph.by_name[name] for name in node.inputs]
    op = node.op
    if stage.kernel is Kernel.XNOR:
        return low_bit_arrays(graph, stage)
    if stage.packing is Packing.BLOCKS:
        return tile_arrays(graph, stage, lanes(plan))
    if stage.packing is Packing.PLACES:
        return list_arrays(graph, stage)
    if stage.packing in (Packing.PLANES, Packing.LISTS):
        return low_bit_arrays(graph, stage)
    if isinstance(op, Conv):
        return conv_arrays(graph, stage)
    if stage.kernel is Kernel.LOOKUP:
        return {} if keeps_bytes(plan, node) else {"table": lookup_table(graph, node)}
    if isinstance(op, Softmax) and node.type.quant is not None:
        return {"table": tables.softmax_table(quant(graph, sources[0]), op.beta)}
    if isinstance(op, Concat):
        # Made of the original quantisations: they enter in float32, where moving them could round otherwise.
        parts = ((i, original.by_name[s.name]) for i, s in enumerate(sources) if rescaled(node, s))
        whole = original.by_name[node.name]
        return {
            f"table{i}": moved_table(concat_table(original, whole, part), offset(plan, part), offset(plan, node))
            for i, part in parts
        }
    if isinstance(op, Resize):
        return {"rows": np.array(op.rows, np.int32), "columns": np.array(op.columns, np.int32)}
    return {}


def weight_files(arrays: dict[str, Array], compact: bool) -> dict[str, str]:
    """net_weights.h and net_weights.c; `compact` where vectors read them, and text must be short to compile fast."""
    declare, define = (compact_declaration, compact_definition) if compact else (declaration, definition)
    header = [
        "/* Weights and other constants. */",
        "#ifndef NET_WEIGHTS_H",
        "#define NET_WEIGHTS_H",
        "#include <stdint.h>",
        "",
        *(declare(name, array) for name, array in arrays.items()),
        "#endif",
        "",
    ]
    source = ['#include "net_weights.h"\n', *(define(name, array) + "\n" for name, array in arrays.items())]
    return {"net_weights.h": "\n".join(header), "net_weights.c": "\n".join(source)}


def compact_declaration(name: str, array: Array) -> str:
    """Lines of a header for an array that is kept as bytes: its type, itself, and the name of its values."""
    values = f"{C_TYPES[array.dtype.name]} values[{array.size}]"
    kind = f"union {name}_bytes {{ char bytes[{array.nbytes + _SPARE_BYTES}]; {values}; }}"
    place = "__attribute__((aligned(64)))"
    return f"{kind};\nextern const union {name}_bytes {name}_data {place};\n#define {name} ({name}_data.values)"


def compact_definition(name: str, array: Array) -> str:
    """An array as the bytes of its values, least significant first, in a string: compilers read these fast."""
    data = np.frombuffer(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), np.uint8)
    text = _OCTAL[data].tobytes().decode("ascii")
    step = _OCTAL.itemsize * _BYTES_IN_A_LINE
    lines = [f'  "{text[at : at + step]}"' for at in range(0, len(text), step)]
    return "\n".join([f"const union {name}_bytes {name}_data = {{", *lines, "};"])


_OCTAL = np.array([b"\\%03o" % i for i in range(256)])
