"""What a page knows of a network, as JSON in the module that it loads."""

import json
from typing import Any

from rillet.analyses.classify import is_classifier
from rillet.backends.c.pixels import is_picture
from rillet.ir.facts import is_given, is_requantization, is_softmax
from rillet.ir.graph import Graph, ImageSpec, Node
from rillet.ir.types import DType
from rillet.plan.rows.plan import RowPlan
from rillet.system.version import VERSION
from rillet.targets.host import RELAXED, WASM

SECTION = "rillet"
"""The custom section of the module."""
_TYPES = {
    DType.I8: "int8",
    DType.U8: "uint8",
    DType.I16: "int16",
    DType.I32: "int32",
    DType.F32: "float32",
    DType.BINARY: "uint8",
}


def facts(plan: RowPlan, traced: bool) -> dict[str, Any]:
    """The names, shapes and types that net.js needs, and the plan as a page shows it; `traced` where the module shows
    its values.
    """
    graph = plan.graph
    places = {node.name: i for i, node in enumerate(graph.nodes)}
    outputs = [graph.by_name[name] for name in dict.fromkeys(graph.outputs)]
    return {
        "rillet": VERSION,
        "name": graph.name,
        "macs": graph.macs,
        "weightBytes": graph.weight_bytes,
        "arenaBytes": plan.arena_bytes,
        "traced": traced,
        "simd": plan.kernels == WASM,
        "relaxed": plan.host is not None and RELAXED in plan.host.extras,
        "inputs": [_value(node) for node in graph.input_nodes],
        "picture": _picture(graph.image),
        "classifier": _classifier(graph),
        "outputs": [_value(node) for node in outputs],
        "values": [_value(node) | {"given": is_given(node.op)} if traced else _place(node) for node in graph.nodes],
        "segments": [
            {"bytes": segment.peak_bytes, "values": [places[stage.node] for stage in segment.stages]}
            for segment in plan.segments
        ],
    }


def section(plan: RowPlan, traced: bool) -> bytes:
    """The facts as a custom section of a WebAssembly module."""
    name = SECTION.encode()
    text = json.dumps(facts(plan, traced), separators=(",", ":"), allow_nan=False).encode()
    body = bytes([len(name)]) + name + text
    return b"\x00" + _leb128(len(body)) + body


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _place(node: Node) -> dict[str, Any]:
    """What a page needs to show how much of a value is computed."""
    return {"name": node.name, "height": node.shape.height, "width": node.shape.width}


def _value(node: Node) -> dict[str, Any]:
    quant, binary = node.type.quant, node.type.dtype is DType.BINARY
    return {
        **_place(node),
        "channels": node.shape.channels,
        "type": _TYPES[node.type.dtype],
        "bytes": node.type.bytes,
        "count": node.type.bytes // node.type.dtype.numpy.itemsize,
        "scale": None if quant is None else quant.scale,
        "zeroPoint": 0 if quant is None else quant.zero_point,
        **({"bits": True} if binary else {}),
    }


def _picture(image: ImageSpec | None) -> dict[str, Any] | None:
    if image is None or not is_picture(image):
        return None
    return {"resize": image.resize, "detail": image.detail, "labels": list(image.labels)}


def _classifier(graph: Graph) -> str | None:
    """`probabilities` or `logits`; None for a network that is no classifier."""
    if not is_classifier(graph):
        return None
    node = graph.by_name[graph.outputs[0]]
    while is_requantization(node.op):
        node = graph.by_name[node.inputs[0]]
    return "probabilities" if is_softmax(node.op) else "logits"
