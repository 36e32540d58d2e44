"""A graph as PyTorch functions, node by node: an independent meaning of each op for the tests."""

from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Slice,
    Softmax,
)

FUNCTIONS = {
    Activation.NONE: lambda x: x,
    Activation.RELU: F.relu,
    Activation.RELU6: F.relu6,
    Activation.RELU_N1_TO_1: lambda x: F.hardtanh(x),
    Activation.SIGMOID: torch.sigmoid,
    Activation.HARD_SIGMOID: F.hardsigmoid,
    Activation.HARD_SWISH: F.hardswish,
    Activation.SILU: F.silu,
    Activation.SIGN: lambda x: torch.where(x >= 0, 1.0, -1.0),
}


def run_torch(graph: Graph, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every value for `image` (1 x C x H x W), with the graph's weights, or empty ones on a meta device."""
    values: dict[str, torch.Tensor] = {}
    for node in graph.nodes:
        values[node.name] = _run(graph, node, [values[name] for name in node.inputs], image)
    return values


def _run(graph: Graph, node: Node, inputs: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    def param(name: str) -> torch.Tensor:
        shape = {p.name: p.shape for p in graph.node_params(node)}[name]
        if not graph.params:
            return torch.empty(shape, device=image.device)
        return torch.tensor(np.asarray(graph.param(node, name)))

    op = node.op
    match op:
        case Input():
            return image
        case Constant():
            return param("value").permute(2, 0, 1)[None]
        case Conv():
            top, bottom, left, right = op.window.padding
            padded = F.pad(inputs[0], (left, right, top, bottom))
            weight, bias = param("weight").permute(0, 3, 1, 2), param("bias") if op.bias else None
            if op.dense:
                flat = F.linear(padded.flatten(1), weight.flatten(1), bias)
                return FUNCTIONS[op.activation](flat[:, :, None, None])
            made = F.conv2d(padded, weight, bias, op.window.stride, 0, op.window.dilation, op.groups)
            return FUNCTIONS[op.activation](made)
        case BatchNorm():
            names = ("mean", "variance", "gamma", "beta")
            return F.batch_norm(inputs[0], *map(param, names), training=False, eps=op.epsilon)
        case Activate():
            return FUNCTIONS[op.activation](inputs[0])
        case Pool():
            top, bottom, left, right = op.window.padding
            if op.kind is PoolKind.MAX:
                padded = F.pad(inputs[0], (left, right, top, bottom), value=float("-inf"))
                return FUNCTIONS[op.activation](F.max_pool2d(padded, op.window.kernel, op.window.stride))
            assert not any(op.window.padding)
            return FUNCTIONS[op.activation](F.avg_pool2d(inputs[0], op.window.kernel, op.window.stride))
        case Add():
            made = inputs[0] - inputs[1] if op.subtract else inputs[0] + inputs[1]
            return FUNCTIONS[op.activation](made)
        case Multiply():
            return FUNCTIONS[op.activation](inputs[0] * inputs[1])
        case Concat():
            return torch.cat(inputs, 1)
        case Slice():
            return inputs[0][:, op.start : op.stop]
        case Pad(padding=(top, bottom, left, right)):
            return F.pad(inputs[0], (left, right, top, bottom))
        case Softmax():
            return torch.softmax(op.beta * inputs[0], 1)
        case Requantize() | Resize():
            raise NotImplementedError
        case _:
            assert_never(op)
