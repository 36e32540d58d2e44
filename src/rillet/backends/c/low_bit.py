"""Stages with packed weights of one and two bits: their constants, and convolutions of binary values."""

from collections.abc import Callable

from rillet.backends.c.bounds import bounds
from rillet.backends.c.constants import ROUNDINGS, quant
from rillet.backends.c.records import record
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.ir.ops import Rounding
from rillet.ir.types import DType
from rillet.plan.host.tilings import XNOR_PIXELS
from rillet.plan.rows.kernels import xnor_bytes
from rillet.plan.rows.plan import Packing, RowPlan, Stage


def channels(graph: Graph, stage: Stage) -> tuple[str, str]:
    """The constants of a convolution with packed weights, and what its kernels are told: of results, and of weights."""
    node = graph.by_name[stage.node]
    op, name = node.op, node.name
    assert has_weights(op)
    planes = "RILLET_BINARY_PLANES" if op.weights is DType.BINARY else "RILLET_TERNARY_PLANES"
    how = "RILLET_LISTS" if stage.packing is Packing.LISTS else planes
    levels = "0" if op.levels is None else f"net_{name}_levels"
    if node.type.quant is None:
        low, high = bounds(graph, node, op.activation)
        values = f"net_{name}_weights", levels, f"net_{name}_bias", low, high
        return record("rillet_low_bit_f32", "channels", values), f"0, {how}"
    arrays = f"net_{name}_weights", levels, f"net_{name}_bias"
    if node.type.dtype in (DType.BINARY, DType.I32):
        what = "RILLET_SIGNS" if node.type.dtype is DType.BINARY else "RILLET_SUMS"
        return record("rillet_low_bit", "channels", (*arrays, 0, 0, 0, 0, 0)), f"{what}, {how}"
    low, high = bounds(graph, node, op.activation)
    mantissa = "0" if op.rounding is Rounding.SHIFT else f"net_{name}_mantissa"
    numbers = mantissa, f"net_{name}_shift", quant(graph, node).zero_point, low, high
    return record("rillet_low_bit", "channels", (*arrays, *numbers)), f"{ROUNDINGS[op.rounding]}, {how}"


def xnor(plan: RowPlan, stage: Stage, window: str, place: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """Constants and lines of a convolution of binary values; `window` declares its window, `place` places pixels.

    Windows of bits are copied by im2col; where padding is read, a mask selects the taps inside the tensor.
    """
    graph, node = plan.graph, plan.graph.by_name[stage.node]
    op = node.op
    assert has_weights(op)
    assert stage.scratch is not None
    name, source, taps = node.name, graph.by_name[node.inputs[0]], op.window.taps
    depth, size = source.shape.channels, xnor_bytes(op, source.shape.channels)
    constants, told = channels(graph, stage)
    what = told.split(",")[0]
    at_once = XNOR_PIXELS if stage.packing is Packing.BLOCKS else 1
    scratch = f"self->arena + {plan.buffers[stage.scratch].offset}"
    padded = any(op.window.padding)
    head = [constants, *([] if op.window.pointwise else [window]), f"  uint8_t *const bits = {scratch};"]
    head += [f"  uint8_t *const mask = bits + {at_once * size};"] if padded else []

    def gather(pixel: str, at: str) -> list[str]:
        fetch = [f"const void *tap[1] = {{at_{source.name}(self, self->made.of_{name} + {pixel})}};"]
        if not op.window.pointwise:
            buffer = f"at_{source.name}(self, 0)"
            fetch = [f"const void *tap[{taps}];", f"rillet_window_taps(window, {buffer}, 0, {place(pixel)}, tap);"]
        into = f"bits{at}, {f'mask{at}' if padded else '0'}"
        return [*fetch, f"inside = rillet_gather_bits(tap, {taps}, {source.type.pixel_bytes}, {size}, {into});"]

    if at_once == 1:
        masked = f"inside < {taps} ? mask : 0" if padded else "0"
        return head, [
            "    for (int32_t p = 0; p < n; p++) {",
            "      int32_t inside;",
            *(f"      {line}" for line in gather("p", "")),
            f"      rillet_xnor(bits, {masked}, inside * {depth}, {size}, at_{name}(self, self->made.of_{name} + p),"
            f" {op.out_channels}, channels, {what});",
            "    }",
        ]
    head.append(f"  int32_t *const differ = (int32_t *)(void *)(bits + {at_once * size * (2 if padded else 1)});")
    masked = f"least < {taps} ? mask : 0" if padded else "0"
    return head, [
        f"    for (int32_t p = 0; p < n; p += {at_once}) {{",
        f"      void *out[{at_once}];",
        f"      int32_t all[{at_once}], least = {taps};",
        f"      for (int32_t q = 0; q < {at_once}; q++) {{",
        "        const int32_t at = p + q < n ? p + q : n - 1;",
        "        int32_t inside;",
        *(f"        {line}" for line in gather("at", f" + q * {size}")),
        f"        out[q] = at_{name}(self, self->made.of_{name} + at);",
        "        all[q] = inside;",
        "        least = inside < least ? inside : least;",
        "      }",
        "      (void)least;",
        f"      rillet_xnor_four(bits, {masked}, all, {depth}, {size}, out, {op.out_channels}, differ, channels,"
        f" {what});",
        "    }",
    ]
