"""An int8 network as a C program that calls CMSIS-NN layer by layer, with the interface of an emitted one.

Input and output are the caller's, as they are of Rillet's programs. All other values lie in one arena, with what each
layer's own buffer-size function asks for beside them, while that layer runs.
"""

import math
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic.convolution import multipliers
from rillet.errors import BuildError, Unsupported
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activation, Add, Conv, Input, Pool, PoolKind, Rounding, Softmax, op_name
from rillet.ir.types import DType, Quant

ALIGN = 16
LEVELS = ("-O2", "-O3", "-Ofast")
"""Of which CMSIS-NN is given the one that takes the fewest instructions."""
FLAGS = ("-std=gnu99", "-w")
FOLDERS = (
    *("ActivationFunctions", "BasicMathFunctions", "ConvolutionFunctions", "FullyConnectedFunctions"),
    *("NNSupportFunctions", "PoolingFunctions", "SoftmaxFunctions", "TransposeFunctions"),
)
_TRIES = 200


@dataclass
class Layer:
    """The C of one layer; `size` is an expression of the bytes of its scratch buffer."""

    name: str
    records: str
    call: str
    size: str = "0"
    init: str = ""
    globals: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Item:
    """Bytes that must lie in the arena from layer `first` to layer `last`."""

    name: str
    bytes: int
    first: int
    last: int


def library(checkout: Path) -> dict[str, str]:
    """CMSIS-NN's sources and headers, by their names in the folder that they are built in."""
    if not (checkout / "Include" / "arm_nnfunctions.h").is_file():
        raise BuildError(f"{checkout}: must be a checkout of CMSIS-NN, got a folder without Include/arm_nnfunctions.h")
    headers = {
        path.relative_to(checkout / "Include").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((checkout / "Include").rglob("*.h"))
    }
    tag = f"/* headers {zlib.crc32(repr(headers).encode()):08x} */\n"  # what is kept of a build follows the headers
    sources = {
        path.name: tag + path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((checkout / "Source" / folder).glob("*.c"))
        if not any(word in path.name for word in ("_f16", "_f32", "flt"))
    }
    return {**headers, **sources}


def sizes_program(graph: Graph) -> dict[str, str]:
    """A program whose outputs are the bytes of scratch that each layer asks for on the core that it runs on."""
    layers = _layers(graph, dict.fromkeys(graph.by_name, "0"))
    body = [f"{{ {layer.records} out[{i}] = (int32_t)({layer.size}); }}" for i, layer in enumerate(layers)]
    run = f"{{ (void)net; (void)input; {' '.join(body)} }}"
    return _files(graph, layers, run, "int32_t", len(layers), ALIGN)


def program(graph: Graph, scratch: Sequence[int]) -> dict[str, str]:
    """The program, for layers that take so many bytes of scratch."""
    items = _items(graph, scratch)
    places = best_places(items)
    at = {item.name: f"net->arena + {places[item.name]}" for item in items}
    at[graph.nodes[0].name], at[graph.outputs[0]] = "input", "out"
    layers = _layers(graph, at)
    calls: list[str] = []
    functions: list[str] = []
    for layer, size in zip(layers, scratch, strict=True):
        buffer = at.get(f"scratch of {layer.name}", "(void *)0")
        functions.append(
            f"static __attribute__((noinline)) void run_{layer.name}(const net_context *net, const int8_t *input, "
            f"int8_t *out)\n{{\n  cmsis_nn_context ctx = {{{buffer}, {size}}};\n"
            f"  (void)net; (void)input; (void)out; (void)ctx;\n  {layer.records}\n  {layer.call}\n}}\n"
        )
        calls.append(f"run_{layer.name}(net, input, out);")
    output = graph.by_name[graph.outputs[0]].type
    count = output.shape.pixels * output.shape.channels
    body = "{ " + " ".join(calls) + " }"
    return _files(graph, layers, body, "int8_t", count, max(extent(items, places), ALIGN), functions)


def arena_bytes(graph: Graph, whole: bool = True) -> int:
    """Bytes of one arena with a map for every layer's output, the largest placed first at the lowest free place:
    what TensorFlow Lite Micro documents of its planner; `whole`: with the input and the output in it.
    """
    items = _items(graph, [0] * len(graph.nodes), whole)
    return extent(items, _placed(sorted(items, key=lambda item: -item.bytes)))


def best_places(items: Sequence[Item]) -> dict[str, int]:
    """Where each item lies, of several orders in which they are placed the one that takes the least."""
    floor = max((sum(_aligned(i.bytes) for i in items if i.first <= t <= i.last) for t in _times(items)), default=0)
    rng = random.Random(0)
    orders = [sorted(items, key=lambda item: -item.bytes), sorted(items, key=lambda item: item.first)]
    orders += [rng.sample(list(items), len(items)) for _ in range(_TRIES)]
    best = _placed(orders[0])
    for order in orders[1:]:
        if extent(items, best) == floor:
            break
        best = min(best, _placed(order), key=lambda places: extent(items, places))
    return best


def extent(items: Sequence[Item], places: Mapping[str, int]) -> int:
    """Bytes from the arena's begin to the end of the last item."""
    return max((places[item.name] + _aligned(item.bytes) for item in items), default=0)


def _times(items: Sequence[Item]) -> set[int]:
    return {item.first for item in items}


def _placed(order: Sequence[Item]) -> dict[str, int]:
    """Each item at the lowest place that none of the items before it has in its time."""
    places: dict[str, int] = {}
    known: list[Item] = []
    for item in order:
        at = 0
        beside = [other for other in known if other.first <= item.last and item.first <= other.last]
        for other in sorted(beside, key=lambda other: places[other.name]):
            if at + _aligned(item.bytes) <= places[other.name]:
                break
            at = max(at, places[other.name] + _aligned(other.bytes))
        places[item.name] = at
        known.append(item)
    return places


def _aligned(count: int) -> int:
    return -(-count // ALIGN) * ALIGN


def _items(graph: Graph, scratch: Sequence[int], whole: bool = False) -> list[Item]:
    """Maps and scratch buffers; input and output are the caller's, unless `whole`."""
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    last = {
        name: max([order[name], *(order[reader.name] for reader in readers)])
        for name, readers in graph.consumers.items()
    }
    callers = () if whole else (graph.nodes[0].name, *graph.outputs)
    maps = [
        Item(node.name, node.type.bytes, order[node.name], last[node.name])
        for node in graph.nodes
        if node.name not in callers
    ]
    layers = [node for node in graph.nodes if not isinstance(node.op, Input)]
    buffers = [
        Item(f"scratch of {_c(node)}", count, order[node.name], order[node.name])
        for node, count in zip(layers, scratch, strict=False)
        if count
    ]
    return [*maps, *buffers]


# -- C -----------------------------------------------------------------------------------------------------------------


def _files(
    graph: Graph,
    layers: Sequence[Layer],
    run: str,
    output: str,
    outputs: int,
    arena: int,
    functions: Sequence[str] = (),
) -> dict[str, str]:
    shape = graph.nodes[0].shape
    header = f"""#ifndef NET_H
#define NET_H
#include <stdint.h>
#define NET_INPUT_HEIGHT {shape.height}
#define NET_INPUT_WIDTH {shape.width}
#define NET_INPUT_CHANNELS {shape.channels}
#define NET_OUTPUT_SIZE {outputs}
#define NET_ARENA_BYTES {arena}
#define NET_ARENA_ALIGN {ALIGN}
typedef int8_t net_input_t;
typedef {output} net_output_t;
typedef struct {{ int8_t *arena; }} net_context;
void net_init(net_context *net, void *arena);
void net_run(net_context *net, const net_input_t *input, net_output_t *out);
#endif
"""
    arrays = _arrays(graph)
    declared = "".join(f"extern const {kind} {name}[{values.size}];\n" for name, (kind, values) in arrays.items())
    stored = "".join(
        f"const {kind} {name}[{values.size}] = {{{','.join(map(str, values.ravel().tolist()))}}};\n"
        for name, (kind, values) in arrays.items()
    )
    text = [
        '#include "net.h"',
        '#include "arm_nnfunctions.h"',
        '#include "arm_nnsupportfunctions.h"',
        '#include "net_weights.h"',
        *(line for layer in layers for line in layer.globals),
        f"void net_init(net_context *net, void *arena) {{ net->arena = arena; {''.join(s.init for s in layers)} }}",
        *functions,
        f"void net_run(net_context *net, const net_input_t *input, net_output_t *out)\n{run}",
    ]
    return {
        "net.h": header,
        "net.c": "\n".join(text) + "\n",
        "net_weights.h": "#include <stdint.h>\n" + declared,
        "net_weights.c": "#include <stdint.h>\n" + stored,
    }


def _c(node: Node) -> str:
    return node.name.replace(".", "_")


def _quant(node: Node) -> Quant:
    if node.type.dtype is not DType.I8 or node.type.quant is None:
        raise Unsupported(f"{node.name}: CMSIS-NN takes int8 values, got {node.type.dtype.value}")
    return node.type.quant


def _arrays(graph: Graph) -> dict[str, tuple[str, Array]]:
    """Weights, biases, multipliers and shifts as CMSIS-NN takes them."""
    out: dict[str, tuple[str, Array]] = {}
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Conv):
            continue
        source = graph.by_name[node.inputs[0]]
        if op.weights is not DType.I8 or (op.groups > 1 and not op.depthwise(source.shape)):
            raise Unsupported(f"{node.name}: CMSIS-NN is called for int8 convolutions without groups here")
        weight = graph.param(node, "weight")
        if op.depthwise(source.shape):
            weight = np.ascontiguousarray(weight.reshape(weight.shape[0], -1).T)
        mantissa, exponent = multipliers(graph, node, op, _quant(source), _quant(node))
        exponent = exponent.astype(np.int32)
        if op.rounding is Rounding.SHIFT:
            mantissa, exponent = np.full(len(exponent), 1 << 30, np.int32), 1 - exponent
        bias = graph.param(node, "bias") if op.bias else np.zeros(op.out_channels, np.int32)
        name = _c(node)
        out |= {f"{name}_w": ("int8_t", weight), f"{name}_b": ("int32_t", bias)}
        out |= {f"{name}_m": ("int32_t", mantissa), f"{name}_s": ("int32_t", exponent)}
    return out


def _layers(graph: Graph, at: Mapping[str, str]) -> list[Layer]:
    return list(_each(graph, at))


def _each(graph: Graph, at: Mapping[str, str]) -> Iterator[Layer]:
    for node in graph.nodes:
        sources = [graph.by_name[name] for name in node.inputs]
        match node.op:
            case Input():
                _quant(node)
            case Conv() as op:
                yield _conv(graph, node, op, sources[0], at)
            case Add(subtract=False) as op if sources[0].shape == sources[1].shape:
                yield _add(node, op, sources, at)
            case Pool(kind=PoolKind.AVERAGE | PoolKind.MEAN) as op:
                yield _pool(node, op, sources[0], at)
            case Softmax() as op:
                yield _softmax(node, op, sources[0], at)
            case op:
                raise Unsupported(f"{node.name}: this program has no call of CMSIS-NN for {op_name(op)}")


def _clamp(node: Node, activation: Activation) -> tuple[int, int]:
    found = fp.activation_clamp(activation, _quant(node), node.type.dtype)
    return max(found.low, -128), min(found.high, 127)


def _dims(name: str, *sides: int) -> str:
    return f"const cmsis_nn_dims {name} = {{{', '.join(map(str, sides))}}};"


def _conv(graph: Graph, node: Node, op: Conv, source: Node, at: Mapping[str, str]) -> Layer:
    c, shape, out = _c(node), source.shape, node.shape
    depthwise = op.depthwise(shape)
    low, high = _clamp(node, op.activation)
    zero, result = _quant(source).zero_point, _quant(node).zero_point
    if op.window.covers(shape) and out.pixels == 1 and not depthwise:
        return _fully_connected(graph, node, source, at, (low, high))
    top, _, left, _ = op.window.padding
    high_side, wide = op.window.kernel
    stride, dilation = op.window.stride, op.window.dilation
    kind = "cmsis_nn_dw_conv_params" if depthwise else "cmsis_nn_conv_params"
    records = [
        f"const {kind} p = {{{-zero}, {result}, {f'{out.channels // shape.channels}, ' if depthwise else ''}"
        f"{{{stride[1]}, {stride[0]}}}, {{{left}, {top}}}, {{{dilation[1]}, {dilation[0]}}}, {{{low}, {high}}}}};",
        f"const cmsis_nn_per_channel_quant_params qp = {{(int32_t *){c}_m, (int32_t *){c}_s}}; (void)qp;",
        _dims("in", 1, shape.height, shape.width, shape.channels),
        _dims("f", 1, high_side, wide, out.channels)
        if depthwise
        else _dims("f", out.channels, high_side, wide, shape.channels),
        _dims("b", 1, 1, 1, out.channels) + " (void)b;",
        _dims("od", 1, out.height, out.width, out.channels),
    ]
    function = "arm_depthwise_conv_wrapper_s8" if depthwise else "arm_convolve_wrapper_s8"
    call = f"{function}(&ctx, &p, &qp, &in, {at[source.name]}, &f, {c}_w, &b, {c}_b, &od, {at[node.name]});"
    return Layer(c, " ".join(records), call, f"{function}_get_buffer_size(&p, &in, &f, &od)")


def _fully_connected(graph: Graph, node: Node, source: Node, at: Mapping[str, str], clamp: tuple[int, int]) -> Layer:
    """With vectors, the sums of the weights are made before, and must have the bias in them."""
    c, channels = _c(node), node.shape.channels
    depth = source.shape.pixels * source.shape.channels
    op = node.op
    assert isinstance(op, Conv)
    mantissa, exponent = multipliers(graph, node, op, _quant(source), _quant(node))
    by_channel = int(not ((mantissa == mantissa[0]).all() and (exponent == exponent[0]).all()))
    zero = -_quant(source).zero_point
    records = [
        f"const cmsis_nn_fc_params p = {{{zero}, 0, {_quant(node).zero_point}, {{{clamp[0]}, {clamp[1]}}}}}; (void)p;",
        f"const cmsis_nn_quant_params qp = {{(int32_t *){c}_m, (int32_t *){c}_s, {by_channel}}}; (void)qp;",
        _dims("in", 1, 1, 1, depth) + " (void)in;",
        _dims("f", depth, 1, 1, channels) + " (void)f;",
        _dims("od", 1, 1, 1, channels) + " (void)od;",
    ]
    call = (
        f"ctx.buf = {c}_sums; ctx.size = (int32_t)sizeof {c}_sums; arm_fully_connected_wrapper_s8(&ctx, &p, &qp, &in, "
        f"{at[source.name]}, &f, {c}_w, &od, {c}_b, &od, {at[node.name]});"
    )
    sums = f"arm_vector_sum_s8({c}_sums, {depth}, {channels}, {c}_w, {zero}, 0, {c}_b);"
    made = [
        f"#ifdef ARM_MATH_MVEI\nstatic int32_t {c}_sums[{channels}];\nstatic void init_{c}(void) {{ {sums} }}",
        f"#else\nstatic int32_t {c}_sums[1];\nstatic void init_{c}(void) {{}}\n#endif",
    ]
    return Layer(c, " ".join(records), call, init=f"init_{c}();", globals=made)


def _add(node: Node, op: Add, sources: Sequence[Node], at: Mapping[str, str]) -> Layer:
    left, right = (_quant(source) for source in sources)
    out = _quant(node)
    known = fp.add_constants(left, right, out)
    low, high = _clamp(node, op.activation)
    sides = [
        f"{-quant.zero_point}, {one.mantissa}, {one.shift}" for quant, one in ((left, known.left), (right, known.right))
    ]
    call = (
        f"arm_elementwise_add_s8({at[sources[0].name]}, {at[sources[1].name]}, {', '.join(sides)}, {fp.ADD_SHIFT}, "
        f"{at[node.name]}, {out.zero_point}, {known.out.mantissa}, {known.out.shift}, {low}, {high}, "
        f"{node.type.bytes});"
    )
    return Layer(_c(node), "", call)


def _pool(node: Node, op: Pool, source: Node, at: Mapping[str, str]) -> Layer:
    shape, out, zero = source.shape, node.shape, _quant(source).zero_point
    low, high = _clamp(node, op.activation)
    if op.kind is PoolKind.MEAN:
        if not op.window.covers(shape):
            raise Unsupported(f"{node.name}: a mean must be of all pixels here")
        known = fp.mean_multiplier(_quant(source), _quant(node), shape.pixels)
        # CMSIS-NN has no mean that changes the scale: plain C, as a user would write it.
        call = (
            f"for (int c = 0; c < {shape.channels}; c++) {{ int32_t a = 0; for (int i = 0; i < {shape.pixels}; i++) "
            f"a += ({at[source.name]})[i * {shape.channels} + c] - ({zero}); "
            f"a = arm_nn_requantize(a, {known.mantissa}, {known.shift}) + {_quant(node).zero_point}; "
            f"({at[node.name]})[c] = (int8_t)(a < {low} ? {low} : a > {high} ? {high} : a); }}"
        )
        return Layer(_c(node), "", call)
    top, _, left, _ = op.window.padding
    stride, kernel = op.window.stride, op.window.kernel
    records = [
        f"const cmsis_nn_pool_params p = {{{{{stride[1]}, {stride[0]}}}, {{{left}, {top}}}, {{{low}, {high}}}}};",
        "(void)p;",
        _dims("in", 1, shape.height, shape.width, shape.channels) + " (void)in;",
        _dims("f", 1, *kernel, 1) + " (void)f;",
        _dims("od", 1, out.height, out.width, out.channels) + " (void)od;",
    ]
    call = f"arm_avgpool_s8(&ctx, &p, &in, {at[source.name]}, &f, &od, {at[node.name]});"
    return Layer(_c(node), " ".join(records), call, f"arm_avgpool_s8_get_buffer_size({out.width}, {shape.channels})")


def _softmax(node: Node, op: Softmax, source: Node, at: Mapping[str, str]) -> Layer:
    _quant(node)
    known = fp.multiplier(op.beta * _quant(source).scale * (1 << 26))
    least = -math.floor(((1 << 5) - 1) * (1 << 26) / (1 << known.shift)) if known.shift >= 0 else 0
    call = (
        f"arm_softmax_s8({at[source.name]}, {node.shape.pixels}, {node.shape.channels}, {known.mantissa}, "
        f"{known.shift}, {least}, {at[node.name]});"
    )
    return Layer(_c(node), "", call)
