"""Stages by sparse index lists on a host: convolutions with sparse ternary weights, many pixels at once."""

import numpy as np

from rillet.backends.c.constants import folded_bias, outside_value
from rillet.backends.c.packing import channel_rounding, factor_arrays, integer_factors
from rillet.backends.c.records import record
from rillet.backends.c.rows import channels_record
from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph
from rillet.plan.host.tilings import VECTORS, dense_depth
from rillet.plan.rows.plan import RowPlan, Stage

_FOUR = 4
"""Places that are added up without a look at the end of the list."""


def list_arrays(graph: Graph, stage: Stage) -> dict[str, Array]:
    """Indices, list lengths and levels of the output channels, their biases and multipliers."""
    node = graph.by_name[stage.node]
    op = node.op
    assert has_weights(op)
    assert stage.tiling is not None
    rows = graph.param(node, "weight").reshape(op.out_channels, -1)
    levels = np.ones((len(rows), 2), np.int64) if op.levels is None else graph.param(node, "levels").astype(np.int64)
    zeros, step = -(-rows.shape[1] // 16) * 16, stage.tiling.pixels // _FOUR
    lists = [[np.flatnonzero(row == sign) for sign in (1, -1)] for row in rows]
    fours = np.array([[-(-len(places) // _FOUR) for places in pair] for pair in lists])
    # Loops that are as long as the one before end where the processor expects it.
    order = np.lexsort((fours[:, 1], fours[:, 0]))
    padded = [
        np.pad(places, (0, _FOUR * int(n) - len(places)), constant_values=zeros)
        for channel in order
        for places, n in zip(lists[channel], fours[channel], strict=True)
    ]
    rounding, bias = channel_rounding(graph, node), folded_bias(graph, node)[1]
    table = np.column_stack((order, fours[order], levels[order, 0], -levels[order, 1]))
    arrays: dict[str, Array] = {
        "places": (np.concatenate([*padded, np.zeros(1, np.int64)]) * step).astype(np.uint16),
        "outputs": table.astype(np.int16),
        "bias": (bias.astype(np.int64) + rounding.origin).astype(np.int32),
        **factor_arrays(rounding, VECTORS["avx512"]),
    }
    if rounding.shown.all():
        return arrays
    arrays |= dict(zip(("mantissa", "left", "right"), integer_factors(graph, node), strict=True))
    return arrays | {"by_integers": (~rounding.shown).astype(np.int32)}


def lists(plan: RowPlan, stage: Stage, window: str) -> tuple[list[str], list[str]]:
    """Constants and lines of a stage by lists; `window` declares its window."""
    graph, node = plan.graph, plan.graph.by_name[stage.node]
    op, source = node.op, graph.by_name[node.inputs[0]]
    assert has_weights(op)
    assert stage.tiling is not None
    assert stage.scratch is not None
    name, abreast, channels = node.name, stage.tiling.pixels, op.out_channels
    depth, values = dense_depth(graph, node, stage.tiling), op.window.taps * source.shape.channels
    places = abreast * 2 * (-(-values // 16) * 16 + 1)
    scratch = f"self->arena + {plan.buffers[stage.scratch].offset}"
    constants = [
        channels_record(plan, node),
        record("rillet_lists", "lists", (f"net_{name}_places", f"net_{name}_outputs", channels, values), static=True),
        f"  uint16_t *const values = (uint16_t *)(void *)({scratch});",
        f"  uint8_t *const channelwise = {scratch} + {places};",
    ]
    step, lines = source.shape.channels, list[str]()
    if op.window.pointwise:
        lines.append(f"    const uint8_t *const in = at_{source.name}(self, self->made.of_{name});")
    else:
        step, gathered = depth, places + abreast * -(-channels // 16) * 16
        constants += [window, f"  uint8_t *const in = {scratch} + {gathered};"]
        lines += [
            f"    for (int32_t y = 0; y < n / {node.shape.width}; y++)",
            f"      rillet_gather_row(window, at_{source.name}(self, 0), {outside_value(graph, node)}, row + y,",
            f"                        {node.shape.width}, in + y * {node.shape.width * depth}, {depth});",
        ]
    lines += [
        f"    uint8_t *const out = at_{name}(self, self->made.of_{name});",
        f"    for (int32_t p = 0; p < n; p += {abreast})",
        f"      rillet_lists_abreast(in + p * {step}, {step}, n - p < {abreast} ? n - p : {abreast}, {abreast},",
        f"                           &lists, out + p * {channels}, {channels}, values, channelwise, &channels);",
    ]
    return constants, lines
