"""Prints the rates of the portable C kernels on this machine, from which `plan/rows/planner.py` takes its ratios.

usage: python bench/kernels.py
"""

import numpy as np

from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Input, Op, Requantize, Window
from rillet.ir.types import DType, Quant, Shape, TensorType
from rillet.plan.rows.planner import TILES, plan_one_segment
from rillet.runtime.run import Program

SHAPE = Shape(56, 56, 96)
QUANT = Quant(0.1, 0)


def one_layer(op: Op, channels: int) -> Graph:
    rng = np.random.default_rng(0)
    kind = TensorType(SHAPE, DType.I8, QUANT)
    out = TensorType(Shape(SHAPE.height, SHAPE.width, channels), DType.I8, QUANT)
    params = {}
    if isinstance(op, Conv):
        params = {
            "layer.weight": rng.integers(-127, 128, op.weight_shape(SHAPE)).astype(np.int8),
            "layer.bias": np.zeros(channels, np.int32),
            "layer.weight_scale": np.full(channels, 0.01, np.float32),
        }
    nodes = (Node("input", Input(), (), kind), Node("layer", op, ("input",), out))
    return Graph("one", nodes, ("layer",), params)


def milliseconds(graph: Graph, tile: int) -> float:
    image = np.random.default_rng(1).integers(-128, 128, SHAPE.array).astype(np.int8)
    return Program(plan_one_segment(graph, tile)).latency(image, runs=20).minimum_ms


def main() -> None:
    dense = one_layer(Conv(96, weights=DType.I8), 96)
    depthwise = one_layer(Conv(96, Window((3, 3), padding=(1, 1, 1, 1)), 96, weights=DType.I8), 96)
    copy = one_layer(Requantize(), 96)
    print("tile  dense 1x1 ns/MAC  depthwise 3x3 ns/MAC  lookup ns/pixel")
    for tile in TILES:
        rates = [milliseconds(graph, tile) * 1e6 / graph.macs for graph in (dense, depthwise)]
        pixel = milliseconds(copy, tile) * 1e6 / SHAPE.pixels
        print(f"{tile:4}  {rates[0]:16.3f}  {rates[1]:20.3f}  {pixel:15.1f}")


if __name__ == "__main__":
    main()
