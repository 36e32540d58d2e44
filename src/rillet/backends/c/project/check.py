"""An image within a program, with the outputs that the reference computes of it, and a function that compares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rillet.backends.c.constants import definition, real
from rillet.backends.c.entry import outputs_of
from rillet.backends.c.image import input_of
from rillet.backends.c.names import shown
from rillet.errors import Unsupported
from rillet.ir.graph import Array, Node
from rillet.ir.types import DType
from rillet.plan.rows.plan import RowPlan

REAL_TOLERANCE = 1e-5
"""Float32 outputs agree where they differ by at most this share of their greatest: sums may be reordered."""


@dataclass(frozen=True, slots=True)
class Example:
    """What a program checks itself against."""

    name: str
    """What the picture is called."""
    image: Array
    """As the input is stored."""
    outputs: tuple[Array, ...]
    """As the network stores them."""


def image_files(plan: RowPlan, example: Example) -> dict[str, str]:
    """net_image.h and net_image.c; raises Unsupported for binary outputs."""
    expected = dict(zip(plan.graph.outputs, example.outputs, strict=True))
    outputs = [(end, node, _stored(plan, node, expected[node.name])) for end, node in outputs_of(plan)]
    header = [
        f"/* {shown(example.name)} as an input, and the outputs that the reference computes of it. */",
        "#ifndef NET_IMAGE_H",
        "#define NET_IMAGE_H",
        '#include "net.h"',
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "extern const net_input_t net_image[NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS];",
        *(f"extern const net_output{end}_t net_expected{end}[NET_OUTPUT{end.upper()}_SIZE];" for end, _, _ in outputs),
        f"#define NET_EXPECTED_VALUES {sum(values.size for _, _, values in outputs)}",
        "",
        "/* Shows the image to the net: how many output values differ from the expected ones. */",
        "int32_t net_check(net_context *net);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
        "",
    ]
    source = [
        '#include "net_image.h"',
        "",
        _kept("net_image", _stored(plan, input_of(plan), example.image)),
        *(_kept(f"net_expected{end}", values) for end, _, values in outputs),
        "int32_t net_check(net_context *net)",
        "{",
        "  int32_t wrong = 0;",
        "  net_start(net);",
        "  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++)",
        "    net_push_row(net, net_image + y * NET_INPUT_WIDTH * NET_INPUT_CHANNELS);",
        *_compared(outputs),
        "  return wrong;",
        "}",
        "",
    ]
    return {"net_image.h": "\n".join(header), "net_image.c": "\n".join(source)}


def _stored(plan: RowPlan, node: Node, array: Array) -> Array:
    if node.type.dtype is DType.BINARY:
        raise Unsupported(f"{plan.graph.name}: {node.name}: output must not be binary to come with an image")
    return np.ascontiguousarray(array, node.type.dtype.numpy).reshape(-1)


def _kept(name: str, array: Array) -> str:
    return definition(name, array) + "\n"


def _compared(outputs: Sequence[tuple[str, Node, Array]]) -> list[str]:
    lines: list[str] = []
    for end, node, values in outputs:
        lines.append(f"  for (int32_t i = 0; i < NET_OUTPUT{end.upper()}_SIZE; i++)")
        if node.type.quant is None and values.dtype.kind == "f":
            most = real(REAL_TOLERANCE * float(np.abs(values).max(initial=0)))
            lines[-1] += " {"
            lines += [
                f"    const float off = net_output{end}(net)[i] - net_expected{end}[i];",
                f"    wrong += !(off >= -{most} && off <= {most});",
                "  }",
            ]
        else:
            lines.append(f"    wrong += net_output{end}(net)[i] != net_expected{end}[i];")
    return lines
