"""The header of an emitted program: sizes, the input contract, the context and the functions that take it."""

import hashlib

import numpy as np

from rillet.backends.c.calls import c_type
from rillet.backends.c.context import context_lines, stages_of
from rillet.backends.c.entry import batch_arguments, outputs_of, run_arguments
from rillet.backends.c.image import input_of, other_inputs
from rillet.backends.c.names import Named, shown
from rillet.backends.c.pixels import pixel_functions
from rillet.ir.facts import is_given
from rillet.ir.graph import Graph, ImageSpec, Node
from rillet.plan.host.pieces import HOST_ALIGNMENT
from rillet.plan.rows.plan import RowPlan
from rillet.system.version import VERSION

_STOP = (
    "/* Joins the threads that net_start created; the next net_start creates them again. Call it before the context's",
    "   memory goes. */",
    "void net_stop(net_context *net);",
)
_ARENA = (
    '/* Defines a static arena, in the section NET_ARENA_SECTION where that is defined: a string, as ".dtcm". */',
    "#ifdef NET_ARENA_SECTION",
    "#define NET_ARENA_PLACE section(NET_ARENA_SECTION), aligned(NET_ARENA_ALIGN)",
    "#else",
    "#define NET_ARENA_PLACE aligned(NET_ARENA_ALIGN)",
    "#endif",
    "#define NET_ARENA(name) static uint8_t name[NET_ARENA_BYTES] __attribute__((NET_ARENA_PLACE))",
)
_ARENA_ALIGN = 4
_ARENA_SPARE_BYTES = 256
"""Behind the arena of a host plan: vectors may read past the end of what they need, and use nothing of it."""


def provenance(plan: RowPlan) -> list[str]:
    """A comment that tells where a program comes from: nothing of the machine or of the day."""
    machine = "" if plan.host is None else f" for {shown(plan.host.kernels)}"

    return [
        f"/* Written by Rillet {VERSION}, planned as {shown(plan.kind)}{machine}. SHA-256 of graph and weights:",
        f"   {checksum(plan.graph)}. */",
    ]


def checksum(graph: Graph) -> str:
    """SHA-256 of what a graph computes, as digits: ops, types, wiring and arrays, whatever its nodes are called."""
    numbers = {node.name: i for i, node in enumerate(graph.nodes)}
    found = hashlib.sha256()
    for node in graph.nodes:
        found.update(repr((node.op, node.type, [numbers[name] for name in node.inputs])).encode())
        for param in graph.node_params(node):
            array = np.ascontiguousarray(graph.param(node, param.name))
            found.update(repr((param.name, array.dtype.name, array.shape)).encode())
            stored = array.astype(array.dtype.newbyteorder("<"), copy=False)
            found.update(stored.reshape(-1).view(np.uint8).data)
    found.update(repr([numbers[name] for name in graph.outputs]).encode())
    return found.hexdigest()


def _float(value: float) -> str:
    """A float32 as decimal digits that give it back."""
    return f"{np.float32(value)!s}f"


def _contract(plan: RowPlan, image: ImageSpec | None) -> list[str]:
    """How values are stored, how a picture becomes the input, and what the outputs are called."""
    others = [(f"INPUT{end.upper()}", node) for end, node in other_inputs(plan)]
    outputs = [(f"OUTPUT{end.upper()}", node) for end, node in outputs_of(plan)]
    ends = [("INPUT", input_of(plan)), *others, *outputs]
    lines: list[str] = []
    for word, node in ends:
        if node.type.quant is not None:
            scale, zero = _float(node.type.quant.scale), node.type.quant.zero_point
            lines += [f"#define NET_{word}_SCALE {scale}", f"#define NET_{word}_ZERO_POINT ({zero})"]
    if lines:
        lines.insert(0, "/* Dequantised: (stored - ZERO_POINT) * SCALE. */")
    if image is None:
        return lines
    size = f"{image.width} x {image.height}"
    middle = "its middle square is resized" if image.resize == "crop" else "it is resized"
    lines += [
        f"/* Of a picture with values from 0 to 255 {middle} to {size} (width x height);",
        "   the real input is (value - MEAN) / DEVIATION, each one number or one a channel. */",
        f"#define NET_INPUT_MEAN {{{', '.join(map(_float, image.mean))}}}",
        f"#define NET_INPUT_DEVIATION {{{', '.join(map(_float, image.deviation))}}}",
    ]
    if image.labels:
        lines += ["/* What the outputs are called:"]
        lines += [f"   {i} {shown(label)}" for i, label in enumerate(image.labels)]
        lines += ["*/"]
    return lines


def _batch_declaration(plan: RowPlan) -> list[str]:
    return [
        "/* The same for several images, contiguous in memory as are their outputs, in the same arena. */",
        f"void net_run_batch({batch_arguments(plan)});",
    ]


def _size_of(end: str, node: Node) -> list[str]:
    shape, word = node.shape, f"NET_INPUT{end.upper()}"
    return [
        f"#define {word}_HEIGHT {shape.height}",
        f"#define {word}_WIDTH {shape.width}",
        f"#define {word}_CHANNELS {shape.channels}",
        f"#define {word}_SIZE {_values(node)}",
    ]


def _other_declarations(plan: RowPlan) -> list[str]:
    """The functions that take the inputs which are given whole."""
    others = other_inputs(plan)
    if not others:
        return []
    return [
        "/* Copies another input, whole: NET_INPUT_2_SIZE values; call these after net_start and before row 0. */",
        *(f"void net_set_input{end}(net_context *net, const net_input{end}_t *values);" for end, _ in others),
    ]


def _values(node: Node) -> int:
    """Elements of a value as C has them: those of binary ones are bytes of eight."""
    return node.type.bytes // node.type.dtype.numpy.itemsize


def _values_traced(known: Named) -> list[str]:
    """What a traced program shows, value by value."""
    nodes = known.plan.graph.nodes
    return [
        "#ifdef NET_TRACE",
        "/* Compiled so, wherever this is included, the program copies every value that it makes:",
        *(
            f"   {i} {known.nodes[node.name]}: {node.shape}, {node.type.bytes} bytes"
            for i, node in enumerate(nodes)
            if not is_given(node.op)
        ),
        "*/",
        f"#define NET_VALUES {len(nodes)}",
        "#endif",
    ]


def header(known: Named, image: ImageSpec | None, made_by: list[str], profile: bool) -> str:
    """net.h; `image` says how a picture becomes the input, `made_by` where the program comes from; with `profile`, the
    program counts its time.
    """
    plan = known.plan
    source, outputs = input_of(plan), outputs_of(plan)
    spare = 0 if plan.host is None else _ARENA_SPARE_BYTES
    lines = [
        f"/* {known.graph}: {plan.graph.macs} multiply-accumulates an image,"
        f" {plan.arena_bytes} bytes of activations. */",
        *made_by,
        "#ifndef NET_H",
        "#define NET_H",
        "#include <stdint.h>",
        *(['#include "kernels/crew.h"'] if plan.threads > 1 else []),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define NET_INPUT_HEIGHT {source.shape.height}",
        f"#define NET_INPUT_WIDTH {source.shape.width}",
        f"#define NET_INPUT_CHANNELS {source.shape.channels}",
        *(line for end, node in other_inputs(plan) for line in _size_of(end, node)),
        *(f"#define NET_OUTPUT{end.upper()}_SIZE {_values(node)}" for end, node in outputs),
        *([f"#define NET_THREADS {plan.threads}"] if plan.threads > 1 else []),
        "/* The arena holds all activations{}. */".format(
            f", and {spare} bytes behind them that vectors may read past" if spare else ""
        ),
        f"#define NET_ARENA_BYTES {plan.arena_bytes + spare}",
        f"#define NET_ARENA_ALIGN {_ARENA_ALIGN if plan.host is None else HOST_ALIGNMENT}",
        *_ARENA,
        "",
        f"typedef {c_type(source.type)} net_input_t;",
        *(f"typedef {c_type(node.type)} net_input{end}_t;" for end, node in other_inputs(plan)),
        *(f"typedef {c_type(node.type)} net_output{end}_t;" for end, node in outputs),
        "",
        *_contract(plan, image),
        "",
        *([f"#define NET_STAGES {stages_of(plan)}"] if profile else []),
        *_values_traced(known),
        *context_lines(plan, profile),
        "",
        "/* sizeof(net_context) and NET_ARENA_BYTES, for callers in other languages. */",
        "extern const int32_t net_context_bytes, net_arena_bytes;",
        "",
        "/* Initialises a context with an arena of its own: NET_ARENA_BYTES bytes aligned to",
        "   NET_ARENA_ALIGN. With net.c compiled under NET_STATIC_ARENA, 0 selects its static arena.",
        "   Returns 0; or 1 for an arena that is null or not so aligned: the context is of no use then. */",
        *(
            ["/* Or 2 where the system gives this process no registers of AMX: it would end at their first use. */"]
            if plan.has_matrices
            else []
        ),
        "int32_t net_init(net_context *net, void *arena);",
        "/* Resets the stream; call before row 0. */",
        "void net_start(net_context *net);",
        *_other_declarations(plan),
        "/* Takes the next row of the image, NET_INPUT_WIDTH x NET_INPUT_CHANNELS values; the last completes it. */",
        "void net_push_row(net_context *net, const net_input_t *row);",
        "/* NET_OUTPUT_SIZE values, valid after an image's last net_push_row() until the next one. */",
        *(f"const net_output{end}_t *net_output{end}(const net_context *net);" for end, _ in outputs),
        "/* Runs one image in memory: net_start and every row. */",
        f"void net_run({run_arguments(plan)});",
        *(_batch_declaration(plan) if plan.host is not None else []),
        *(_STOP if plan.threads > 1 else []),
        "/* The context's arena. */",
        "uint8_t *net_arena(const net_context *net);",
    ]
    lines += [
        "#ifdef NET_TRACE",
        "/* Destinations of the full tensors of all values, NET_VALUES of them; null after net_init. */",
        "uint8_t **net_trace(net_context *net);",
        "#endif",
    ]
    if profile:
        lines += [
            "/* Ticks of the clock and calls of each stage, in the order of the schedule, and of what is between them;",
            "   they add up from net_init on. */",
            "uint64_t *net_profile_ticks(net_context *net);",
            "uint64_t *net_profile_calls(net_context *net);",
            "/* The clock, now. */",
            "uint64_t net_profile_clock(void);",
        ]
    if plan.resident:
        lines += [
            "/* The image within the arena; a run overwrites it. */",
            "net_input_t *net_input(const net_context *net);",
        ]
    lines += pixel_functions(plan, image)
    return "\n".join([*lines, "", "#ifdef __cplusplus", "}", "#endif", "#endif", ""])
