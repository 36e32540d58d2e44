"""A page about a network: its layers, memory over time, machines, and the network itself at work; one file."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np

from rillet import web
from rillet.analyses.memory import precision
from rillet.backends.c.emit import emit
from rillet.costs.machines import Cost
from rillet.costs.roofline import Roofline
from rillet.ir.facts import has_weights, is_given
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import op_macs, op_name, op_window
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import BufferKind, RowPlan, Stage
from rillet.report import draw, roofline
from rillet.runtime.wasm.package import own

_BINS = 32
_STAGE = re.compile(r"^static int32_t fire_\w+\([^)]*\)\n\{\n.*?^\}\n", re.MULTILINE | re.DOTALL)


def page(
    plan: RowPlan,
    costs: Sequence[Cost],
    roofs: Sequence[Roofline],
    pipelines: Sequence[tuple[PixelPlan, str]],
    network: Sequence[str],
    why_not: str = "",
    picture: bytes | None = None,
) -> str:
    """The page as an HTML document that loads nothing.

    plan: whose memory is shown. pipelines: of chips, each with its picture, an SVG document. network: elements that
    have the program for WebAssembly, which shows its values; where there is none, `why_not` says why. picture: what it
    is run on first.
    """
    title = plan.graph.name
    shown = [_shown(f"{one.chip}: two images through the pipeline", svg, zoom=True) for one, svg in pipelines]
    shown += [_shown(found.machine, roofline.svg(plan.graph, found)) for found in roofs]
    folder = files(__name__)
    words = {"DRAWING": draw.svg(plan.graph), "PICTURES": "\n".join(shown)}
    blocks = [web.data_block("data", _facts(plan, costs, roofs, [one for one, _ in pipelines], why_not))]
    if plan.graph.params:
        blocks.append(web.packed_block("layers-c", web.as_json(_code(plan)).encode()))
    blocks += network
    if network and picture is not None:
        blocks.append(web.bytes_block("example-picture", picture))
    return web.one_file(
        title,
        web.filled(folder / "page.html", words),
        [own("net.js"), web.shared("parts.js"), web.shared("plot.js"), folder / "page.js"],
        styles=[web.shared("page.css"), web.shared("plot.css"), folder / "page.css"],
        blocks=blocks,
        policy=web.WITH_NETWORK,
    )


def _shown(title: str, svg: str, *, zoom: bool = False) -> str:
    """A picture under its title; `zoom`: it is too wide for a page."""
    place = (
        f'<div class="zoom" tabindex="0" role="region" aria-label="{web.escaped(title)}">{svg}</div>' if zoom else svg
    )
    opened = " open" if zoom else ""
    return f"<details{opened}><summary>{web.escaped(title)}</summary>{place}</details>"


def _facts(
    plan: RowPlan, costs: Sequence[Cost], roofs: Sequence[Roofline], pipelines: Sequence[PixelPlan], why_not: str
) -> dict[str, Any]:
    graph = plan.graph
    by_node = {stage.node: stage for stage in _stages(plan)}
    times: dict[str, dict[str, float]] = {}
    for found in roofs:
        for point in found.layers:
            times.setdefault(point.name, {})[found.machine] = point.seconds
    for made in pipelines:
        for stage in made.stages:
            times.setdefault(stage.node, {})[f"{made.chip}, beside the others"] = stage.busy_cycles / made.clock_hz
    layers = [node for node in graph.nodes if not is_given(node.op)]
    return {
        "name": graph.name,
        "macs": graph.macs,
        "weightBytes": graph.weight_bytes,
        "precision": precision(graph),
        "layers": [_layer(plan, node, by_node.get(node.name), times.get(node.name, {})) for node in layers],
        "plan": {
            "arenaBytes": plan.arena_bytes,
            "kind": plan.kind,
            "segments": [
                {"bytes": segment.peak_bytes, "layers": [stage.node for stage in segment.stages]}
                for segment in plan.segments
            ],
            "buffers": [
                {
                    "name": buffer.name,
                    "kind": buffer.kind.value,
                    "offset": buffer.offset,
                    "bytes": buffer.bytes,
                    "first": buffer.first,
                    "last": buffer.last,
                }
                for buffer in plan.buffers.values()
            ],
        },
        "machines": [asdict(cost) for cost in costs],
        "noRun": why_not,
    }


def _stages(plan: RowPlan) -> list[Stage]:
    return [stage for segment in plan.segments for stage in segment.stages]


def _code(plan: RowPlan) -> dict[str, str]:
    """The C of each layer that has a stage."""
    texts = _STAGE.findall(emit(plan)["net.c"])
    return dict(zip((stage.node for stage in _stages(plan)), texts, strict=True))


def _layer(plan: RowPlan, node: Node, stage: Stage | None, times: dict[str, float]) -> dict[str, Any]:
    graph, quant, window = plan.graph, node.type.quant, op_window(node.op)
    sources = [graph.by_name[name] for name in node.inputs]
    buffer = plan.buffers.get(node.name)
    kept = ""
    if buffer is not None:
        ring = f"{buffer.pixels:,} of {node.shape.pixels:,} pixels, " if buffer.kind is BufferKind.RING else ""
        kept = f"{buffer.kind.value}, {ring}{buffer.bytes:,} bytes from {buffer.offset:,}"
    looks = ""
    if window is not None and window.kernel != (1, 1):
        looks = f"{window.kernel[0]}x{window.kernel[1]}, stride {window.stride[0]}x{window.stride[1]}"
    return {
        "name": node.name,
        "op": op_name(node.op),
        "shape": str(node.shape),
        "type": node.type.dtype.value,
        "inputs": [{"name": one.name, "shape": str(one.shape)} for one in sources],
        "macs": op_macs(node.op, graph.input_shapes(node)),
        "scale": None if quant is None else quant.scale,
        "zeroPoint": 0 if quant is None else quant.zero_point,
        "window": looks,
        "kernel": "" if stage is None else stage.kernel.value,
        "buffer": kept,
        "weights": _histogram(graph, node),
        "costs": times,
    }


def _histogram(graph: Graph, node: Node) -> dict[str, Any] | None:
    if not has_weights(node.op) or f"{node.name}.weight" not in graph.arrays:
        return None
    weight: Array = graph.param(node, "weight")
    counts, edges = np.histogram(weight.astype(np.float64), bins=_BINS)
    return {
        "count": int(weight.size),
        "type": node.op.weights.value,
        "low": float(f"{edges[0]:.4g}"),
        "high": float(f"{edges[-1]:.4g}"),
        "bins": counts.tolist(),
    }
