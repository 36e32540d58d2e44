"""The binary CIFAR-10 network of a 28 nm processor: 2x2x256 filters throughout, weights and activations of one bit."""

from dataclasses import replace

from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Conv, Pool, PoolKind, Window
from rillet.ir.types import DType, Quant
from rillet.zoo.layers import Layers, square

FILTERS = 256
POOLED = (2, 4, 6)
"""The layers behind which the map is halved. Not published: chosen so that the dense layer sees 4x4 pixels."""


def binarynet_cifar10() -> Graph:
    """Eight 2x2 convolutions of 256 filters and one dense layer, binary; batch norm and sign are a threshold each.

    The spatial sizes are not published, nor how a 7-bit pixel becomes 256 bits: here, maps of 32, 16, 8 and 4 pixels a
    side, and a thermometer code (`encode.conv` selects a channel for each of 256 planes and compares it). So its count
    of MACs is this network's, not the chip's. The weights of the eight layers are 256 KiB, as published.
    """
    net = Layers("binarynet_cifar10", square(32))
    net.block = "encode"
    encode = Conv(FILTERS, activation=Activation.SIGN, weights=DType.TERNARY)
    net.add("conv", encode, dtype=DType.BINARY)
    for number in range(1, 9):
        net.block = f"block{number}"
        window = Window((2, 2), padding=(0, 1, 0, 1))
        net.add("conv", Conv(FILTERS, window, activation=Activation.SIGN, weights=DType.BINARY), dtype=DType.BINARY)
        if number in POOLED:
            net.add("pool", Pool(PoolKind.MAX, Window((2, 2), (2, 2))), dtype=DType.BINARY)
    net.block = "head"
    window = Window((net.shape.height, net.shape.width))
    net.add("logits", Conv(10, window, weights=DType.BINARY, dense=True), dtype=DType.I32)
    graph = net.graph()
    pixels = replace(graph.nodes[0], type=replace(graph.nodes[0].type, dtype=DType.I8, quant=Quant(1 / 127.5, 0)))
    ones = (replace(node, type=replace(node.type, quant=Quant(1.0, 0))) for node in graph.nodes[1:])
    return replace(graph, nodes=(pixels, *ones))
