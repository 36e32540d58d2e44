"""A graph as PyTorch functions, node by node: an independent meaning of each op for the tests."""

import functools
import json
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from conftest import shared_file
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Multiply,
    Pad,
    Pair,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)
from rillet.train.pieces import Pair as PairModule
from rillet.train.pieces import applied

torch.set_num_threads(1)  # tests already run beside each other


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
    """Every value for `image` (N x C x H x W), with the graph's weights, or empty ones on a meta device."""
    values: dict[str, torch.Tensor] = {}
    for node in graph.nodes:
        values[node.name] = _run(graph, node, [values[name] for name in node.inputs], image)
    return values


def _run(graph: Graph, node: Node, inputs: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    def param(name: str) -> torch.Tensor:
        shape = {p.name: p.shape for p in graph.node_params(node)}[name]
        if not graph.params:
            return torch.empty(shape, device=image.device)
        return torch.from_numpy(graph.param(node, name).copy()).to(image.dtype)

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
        case Apply():
            return applied(inputs[0], op)
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
        case ArgMax():
            return torch.argmax(inputs[0], 1, keepdim=True)
        case Pair():
            return PairModule(op)(*inputs)
        case Select():
            return inputs[0][:, list(op.channels)]
        case Requantize() | Resize() | DepthToSpace() | SpaceToDepth():
            raise NotImplementedError
        case _:
            assert_never(op)


def run(graph: Graph, images: Array, dtype: torch.dtype = torch.float32) -> Array:
    """The graph's output for images of N x height x width x channels, as N x values in channels-last order."""
    with torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(dtype)
        out = run_torch(graph, batch)[graph.outputs[0]]
        return out.permute(0, 2, 3, 1).reshape(len(images), -1).numpy()


def top1(graph: Graph, pixels: Array, labels: Array, batch: int = 500) -> int:
    """How many images of N x height x width x channels, 0 to 255, are classified as labelled."""
    right = 0
    for start in range(0, len(pixels), batch):
        scores = run(graph, normalised(graph, pixels[start : start + batch]))
        right += int((scores.argmax(1) == labels[start : start + batch]).sum())
    return right


def normalised(graph: Graph, pixels: Array) -> Array:
    """Pixels as the graph's image contract has them."""
    assert graph.image is not None
    mean, deviation = np.array(graph.image.mean), np.array(graph.image.deviation)
    return ((pixels - mean) / deviation).astype(np.float32)


@functools.cache
def cifar10_test() -> tuple[Array, Array]:
    """The pixels of CIFAR-10's test set as N x 32 x 32 x 3, and their labels."""
    with Image.open(shared_file("cifar10/test_batch.png")) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 32, 32, 3)
    return pixels, np.array(json.loads(shared_file("cifar10/test_lables.json").read_text()))
