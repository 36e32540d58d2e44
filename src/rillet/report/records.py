"""The same results as plain dictionaries, for --json."""

from typing import Any

from rillet.analyses.count import parameters
from rillet.ir.graph import Graph
from rillet.ir.ops import op_macs, op_name
from rillet.plan.rows.plan import RowPlan
from rillet.report import board


def plan_record(made: RowPlan) -> dict[str, Any]:
    """A plan's segments, buffers and numbers."""
    return {
        "kind": made.kind,
        "graph": made.graph.name,
        "kernels": made.kernels,
        "threads": made.threads,
        "bf16_nodes": len(made.bf16_nodes),
        "arena_bytes": made.arena_bytes,
        "resident": made.resident,
        "macs": made.macs,
        "map_bytes": made.map_bytes,
        "segments": [
            {
                "driver": segment.driver,
                "tile_pixels": segment.tile_pixels,
                "tile_rows": segment.tile_rows,
                "peak_bytes": segment.peak_bytes,
                "stages": [
                    {
                        "node": stage.node,
                        "kernel": stage.kernel.value,
                        "packing": stage.packing.value,
                        "tile_pixels": stage.tile_pixels,
                        "scratch": stage.scratch,
                        "tiling": [stage.tiling.pixels, stage.tiling.vectors] if stage.tiling else None,
                        "split": stage.split.value,
                    }
                    for stage in segment.stages
                ],
            }
            for segment in made.segments
        ],
        "buffers": [
            {
                "name": buffer.name,
                "kind": buffer.kind.value,
                "pixels": buffer.pixels,
                "pixel_bytes": buffer.pixel_bytes,
                "bytes": buffer.bytes,
                "offset": buffer.offset,
                "first_segment": buffer.first,
                "last_segment": buffer.last,
            }
            for buffer in made.buffers.values()
        ],
        **board.record(made),
    }


def graph_record(graph: Graph) -> dict[str, Any]:
    """A graph's nodes with shapes, MACs, parameters and quantisation."""
    return {
        "name": graph.name,
        "macs": graph.macs,
        "params": sum(parameters(graph, node) for node in graph.nodes),
        "weight_bytes": graph.weight_bytes,
        "outputs": list(graph.outputs),
        "nodes": [
            {
                "name": node.name,
                "op": op_name(node.op),
                "block": node.block,
                "inputs": list(node.inputs),
                "shape": list(node.shape.array),
                "dtype": node.type.dtype.value,
                "scale": node.type.quant.scale if node.type.quant else None,
                "zero_point": node.type.quant.zero_point if node.type.quant else None,
                "macs": op_macs(node.op, graph.input_shapes(node)),
                "params": parameters(graph, node),
            }
            for node in graph.nodes
        ],
    }
