"""The data of an emitted program by name, and the files that hold it."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from rillet.arithmetic import tables, wide
from rillet.backends.c.constants import (
    C_TYPES,
    concat_table,
    conv_arrays,
    keeps_bytes,
    lookup_table,
    low_bit_arrays,
    quant,
    rescaled,
    wide_function_arrays,
)
from rillet.backends.c.core_data import core_arrays
from rillet.backends.c.lists import list_arrays
from rillet.backends.c.packing import tile_arrays
from rillet.backends.c.rows import vectors_of
from rillet.backends.c.storage import as_stored, moved_table, offset
from rillet.backends.c.words import WORD_MACROS, declare_numbers, define_numbers, in_words, word_lines
from rillet.errors import about
from rillet.ir.facts import has_weights, is_concat, is_constant, is_interpolation, is_select, is_softmax
from rillet.ir.graph import Array, Graph
from rillet.ir.linear import Interpolate, parts
from rillet.ir.ops import op_places
from rillet.ir.types import DType
from rillet.plan.host.tilings import VECTORS
from rillet.plan.rows.plan import Kernel, Packing, RowPlan, Stage
from rillet.targets.host import Host

SPARE_BYTES = 256
"""Behind an array that vectors read: they may read past its end, and use nothing of it."""
_BYTES_IN_A_LINE = 64
WEIGHTS_PLACE = " NET_WEIGHTS"
"""Behind what is declared: the section that a board's weights lie in."""
_SECTION = (
    '/* All of them lie in the section NET_WEIGHTS_SECTION where that is defined: a string, as ".external_flash". */',
    "#ifdef NET_WEIGHTS_SECTION",
    "#define NET_WEIGHTS __attribute__((section(NET_WEIGHTS_SECTION)))",
    "#else",
    "#define NET_WEIGHTS",
    "#endif",
)
_OTHER_ORDER = "#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__"
_ONE_ORDER = (
    _OTHER_ORDER,
    '#error "the constants lie here with the least significant byte first: use --target portable on this machine"',
    "#endif",
)


def program_arrays(plan: RowPlan, original: Graph) -> dict[str, Array]:
    """Every constant array of the program by its C name; `original` is the graph whose values the plan stores."""
    graph = plan.graph
    out: dict[str, Array] = {}
    for node in graph.nodes:
        if is_constant(node.op):
            out[f"net_{node.name}_value"] = np.asarray(graph.param(node, "value"))
    for segment in plan.segments:
        for stage in segment.stages:
            with about(graph.name, stage.node):
                made = stage_arrays(plan, original, stage)
            out |= {f"net_{stage.node}_{part}": array for part, array in made.items()}
    return out


def stage_arrays(plan: RowPlan, original: Graph, stage: Stage) -> dict[str, Array]:
    """Those of one stage by what they are; arguments as of `program_arrays`."""
    graph = plan.graph
    node = graph.by_name[stage.node]
    sources = [graph.by_name[name] for name in node.inputs]
    op = node.op
    if stage.kernel is Kernel.XNOR:
        return low_bit_arrays(graph, stage)
    if stage.packing is Packing.BLOCKS:
        return tile_arrays(graph, stage, vectors_of(plan))
    if stage.packing is Packing.CORE:
        assert plan.core is not None
        return core_arrays(graph, stage, plan.core)
    if stage.packing is Packing.PLACES:
        return list_arrays(graph, stage)
    if stage.packing in (Packing.PLANES, Packing.LISTS):
        return low_bit_arrays(graph, stage)
    if has_weights(op):
        return conv_arrays(graph, stage)
    if stage.kernel is Kernel.LOOKUP:
        return {} if keeps_bytes(plan, node) else {"table": lookup_table(graph, node)}
    if stage.kernel is Kernel.WIDE_FUNCTION:
        return wide_function_arrays(graph, node)
    if is_softmax(op) and node.type.dtype is DType.I16:
        return {"powers": wide.exponential_table(), "reciprocals": wide.reciprocal_table()}
    if is_softmax(op) and node.type.quant is not None:
        return {"table": tables.softmax_table(quant(graph, sources[0]), op.beta)}
    if is_concat(op):
        # Made of the original quantisations: they enter in float32, where moving them could round otherwise.
        parts = ((i, original.by_name[s.name]) for i, s in enumerate(sources) if rescaled(node, s))
        whole = original.by_name[node.name]
        return {
            f"table{i}": moved_table(concat_table(original, whole, part), offset(plan, part), offset(plan, node))
            for i, part in parts
        }
    if is_select(op):
        return {"channels": np.array(op.channels, np.int32)}
    if is_interpolation(op):
        return _between(op, node.type.quant is None)
    places = op_places(op)
    if places is not None:
        return {"rows": np.array(places.rows, np.int32), "columns": np.array(places.columns, np.int32)}
    return {}


def _between(op: Interpolate, real: bool) -> dict[str, Array]:
    """Tables of a linear resize; where rows and columns end, and shares, in 1024ths where values are of 8 bits."""
    places = {"rows": op.rows, "columns": op.columns, "bottom": op.last_rows, "end": op.last_columns}
    out: dict[str, Array] = {name: np.array(numbers, np.int32) for name, numbers in places.items()}
    for name, shares in (("down", op.row_shares), ("right", op.column_shares)):
        out[name] = np.array(shares, np.float32) if real else np.array(parts(shares), np.int32)
    return out


def weight_files(arrays: dict[str, Array], host: Host | None) -> dict[str, str]:
    """net_weights.h and net_weights.c: for a host as bytes, which compile fastest, with room behind them for vectors;
    where its kernels are portable, values of several bytes are there as numbers, too, for machines of the other byte
    order. A board's arrays are numbers alone, which take less text (words.py).

    Arrays of one type and content are one, under several names: those that layers share and that are packed alike, and
    any others.
    """
    vectors = host is not None and host.kernels in VECTORS
    as_bytes = {name for name, array in arrays.items() if vectors or (host is not None and array.itemsize == 1)}
    as_both = {name for name, a in arrays.items() if host is not None and in_words(a)} - as_bytes
    same = same_arrays(arrays)
    own = own_arrays(arrays, same)

    def declare(name: str, array: Array) -> str:
        if name in as_bytes | as_both:
            return compact_declaration(name, array)
        return declare_numbers(name, array, WEIGHTS_PLACE if host is None else "")

    def define(name: str, array: Array) -> str:
        if name in as_both:
            words = "\n".join([f"const union {name}_bytes {name}_data = {{.words = {{", *word_lines(array), "}};"])
            return f"{_OTHER_ORDER}\n{words}\n#else\n{compact_definition(name, array)}\n#endif"
        return compact_definition(name, array) if name in as_bytes else define_numbers(name, array)

    guards = [*(_ONE_ORDER if vectors else []), *(_SECTION if host is None else [])]
    header = weights_header([declare(name, array) for name, array in own.items()], same, guards)
    macros = [WORD_MACROS] if any(name not in as_bytes and in_words(array) for name, array in own.items()) else [""]
    source = ['#include "net_weights.h"', *macros, *(define(name, array) + "\n" for name, array in own.items())]
    return {"net_weights.h": header, "net_weights.c": "\n".join(source)}


def weights_header(declared: Sequence[str], same: Mapping[str, str], before: Sequence[str] = ()) -> str:
    """net_weights.h: what must stand before, each array as it is declared, and names of those that are equal to one."""
    lines = [
        "/* Weights and other constants. */",
        "#ifndef NET_WEIGHTS_H",
        "#define NET_WEIGHTS_H",
        "#include <stdint.h>",
        *before,
        "",
        *declared,
        *(f"#define {name} {first}" for name, first in same.items()),
        "#endif",
        "",
    ]
    return "\n".join(lines)


def own_arrays(arrays: Mapping[str, Array], same: Mapping[str, str]) -> dict[str, Array]:
    """Those that the program keeps: of equal ones, which `same_arrays` found, the first."""
    return {name: array for name, array in arrays.items() if name not in same}


def same_arrays(arrays: Mapping[str, Array]) -> dict[str, str]:
    """For arrays that are equal to an earlier one, which."""
    first: dict[tuple[str, bytes], str] = {}
    found = {name: first.setdefault((a.dtype.name, _digest(a)), name) for name, a in arrays.items()}
    return {name: one for name, one in found.items() if one != name}


def constant_bytes(plan: RowPlan) -> int:
    """Bytes of net_weights.c of a board's program, or of one for any machine."""
    arrays = program_arrays(as_stored(plan), plan.graph)
    same = same_arrays(arrays)
    return sum(-(-a.nbytes // 8) * 8 if in_words(a) else a.nbytes for name, a in arrays.items() if name not in same)


def _digest(array: Array) -> bytes:
    """A hash of an array's values in their order."""
    return hashlib.sha256(bytes_of(array)).digest()


def bytes_of(array: Array) -> memoryview:
    """An array's values in their order, as they lie in memory; a copy only where they do not lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def compact_declaration(name: str, array: Array) -> str:
    """Lines of a header for an array that is kept as bytes: its type, itself, and the name of its values."""
    values = f"{C_TYPES[array.dtype.name]} values[{array.size}]; uint64_t words[{-(-array.nbytes // 8)}]"
    kind = f"union {name}_bytes {{ char bytes[{array.nbytes + SPARE_BYTES}]; {values}; }}"
    place = "__attribute__((aligned(64)))"
    return f"{kind};\nextern const union {name}_bytes {name}_data {place};\n#define {name} ({name}_data.values)"


def compact_definition(name: str, array: Array) -> str:
    """An array as the bytes of its values, least significant first, in a string: compilers read these fast."""
    data = np.frombuffer(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), np.uint8)
    # An octal number ends where no octal digit follows, and after three.
    before_digit = np.append((data[1:] >= ord("0")) & (data[1:] <= ord("7")), False)
    words = np.where(before_digit, _ESCAPED[data], _SHORT[data])
    rows = (words[at : at + _BYTES_IN_A_LINE].tobytes() for at in range(0, len(words), _BYTES_IN_A_LINE))
    lines = [f'  "{row.replace(bytes(1), b"").decode("ascii")}"' for row in rows]
    return "\n".join([f"const union {name}_bytes {name}_data = {{", *lines, "};"])


def _escaped(byte: int, octal: bytes) -> bytes:
    """A byte within a string: itself where it is plain text."""
    plain = 32 <= byte < 127 and byte not in b'"\\?'
    return bytes([byte]) if plain else octal % byte


_ESCAPED = np.array([_escaped(i, b"\\%03o") for i in range(256)])
_SHORT = np.array([_escaped(i, b"\\%o") for i in range(256)])
