"""Conversion of a graph to a trainable PyTorch module, and of its weights back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rillet.errors import GraphError, Unsupported
from rillet.importers.torch.windows import shares_inside
from rillet.ir import ops
from rillet.ir.facts import is_argmax, is_input
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.ops import Activation, Op, PoolKind
from rillet.ir.sharing import remade
from rillet.ir.types import DType, Shape
from rillet.train.layouts import laid_as_graph, leaf, to_torch, torch_shape
from rillet.train.pieces import Activate, Apply, DepthToSpace, Interpolate, Pair, Select, SpaceToDepth, activated

DENSE_DEVIATION = 0.01


def to_module(graph: Graph) -> "TorchNetwork":
    """The network as a module of N x C x H x W (vectors out: N x C), its submodules under the names of the nodes.

    It has the graph's weights, or, where there are none, those that the zoo's authors start from: convolutions
    He-normal by their fan-out within a group (He et al., arXiv:1502.01852), dense layers normal with deviation 0.01,
    biases 0, batch norms 1 and 0. Layers that share an array have one nn.Parameter, whose gradient is the sum of what
    each gives it. Raises Unsupported for values that are not float32 and for ops that cannot be trained,
    GraphError for node names that cannot be attributes of a module.
    """
    network = TorchNetwork(graph)
    if graph.params:
        _load(network, graph)
    return network


def from_module(module: nn.Module, graph: Graph) -> Graph:
    """The graph with the weights of a module made of it (or one with the same state_dict, on any device).

    Raises GraphError where a weight is missing or has another shape.
    """
    return from_state(module.state_dict(), graph)


def from_state(state: Mapping[str, Tensor], graph: Graph) -> Graph:
    """The graph with the weights of such a module's state_dict; raises as `from_module`.

    Arrays that the graph's layers share stay shared where the state has the same tensor for them all.
    """
    arrays: dict[str, Array] = {}
    for node in graph.nodes:
        for param in graph.node_params(node):
            key = f"{node.name}.{leaf(node.op, param.name)}"
            first = graph.by_name[graph.key(node, param.name).rpartition(".")[0]]
            tensor = state.get(key, state.get(f"{first.name}.{leaf(node.op, param.name)}"))
            if tensor is None:
                raise GraphError(f"{graph.name}: module must have the weight {key}")
            wanted = torch_shape(node.op, param.shape)
            if tuple(tensor.shape) not in (wanted, torch_shape(first.op, param.shape)):
                raise GraphError(f"{graph.name}: {key} must have shape {wanted}, got {tuple(tensor.shape)}")
            array = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
            arrays[f"{node.name}.{param.name}"] = np.array(laid_as_graph(node.op, array, param.shape), order="C")
    return remade(graph, graph.nodes, graph.outputs, arrays, graph.image)


class Block(nn.Module):
    """Submodules whose names begin alike."""


class TorchNetwork(nn.Module):
    """A graph's nodes as submodules, run in the graph's order."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = replace(graph, params={})
        """The network without weights: the names, blocks and input contract that rillet.from_torch gives back."""
        for node in graph.nodes:
            _check(graph, node)
            if not is_input(node.op):
                source = next(iter(graph.input_shapes(node)), node.shape)
                _register(graph.name, self, node.name, _layer(node.op, source))
        self._tie()

    def _tie(self) -> None:
        """Gives layers that share an array the parameter or buffer of the first of them."""
        names = self.graph.by_name
        for key, first in self.graph.shared.items():
            (at, name), (other, _) = key.rpartition(".")[::2], first.rpartition(".")[::2]
            attribute = leaf(names[at].op, name)
            layer, owner = self.get_submodule(at), self.get_submodule(other)
            if not parametrize.is_parametrized(owner, attribute) and not parametrize.is_parametrized(layer, attribute):
                setattr(layer, attribute, getattr(owner, attribute))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TorchNetwork":
        # Moving to a device makes other buffers, one for each layer.
        super()._apply(fn, recurse)
        self._tie()
        return self

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs for images of N x C x H x W, one tensor an input: maps of the same layout, vectors as N x C."""
        return self.outputs(self.values(*images))

    def values(self, *images: Tensor) -> dict[str, Tensor]:
        """Every value, by node, as N x C x H x W."""
        inputs = self.graph.input_nodes
        if len(images) != len(inputs):
            raise GraphError(f"{self.graph.name}: inputs must be {len(inputs)} tensors, got {len(images)}")
        values = {node.name: image for node, image in zip(inputs, images, strict=True)}
        for node in self.graph.nodes:
            if is_input(node.op):
                continue
            values[node.name] = self.get_submodule(node.name)(*[values[name] for name in node.inputs])
        return values

    def outputs(self, values: Mapping[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """The outputs among values, as `forward` gives them."""
        by_name = self.graph.by_name
        outputs = [values[n].flatten(1) if by_name[n].shape.pixels == 1 else values[n] for n in self.graph.outputs]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def extra_repr(self) -> str:
        """Name and shapes of the network."""
        shapes = self.graph.by_name
        made = ", ".join(str(shapes[name].shape) for name in self.graph.outputs)
        taken = " and ".join(str(node.shape) for node in self.graph.input_nodes)
        return f"{self.graph.name}: {taken} to {made}"


# -- one class an op, where PyTorch has none that does just this -------------------------------------------------------


class Conv(nn.Conv2d):
    """A convolution with any padding and perhaps an activation."""

    def __init__(self, op: ops.Conv, source: Shape) -> None:
        window, (border, padding) = op.window, _split_padding(op.window.padding)
        super().__init__(
            source.channels,
            op.out_channels,
            window.kernel,
            window.stride,
            padding,
            window.dilation,
            op.groups,
            bias=op.bias,
        )
        self.border = border
        self.activation = op.activation
        self.shape = tuple(self.weight.shape)

    def reset_parameters(self) -> None:
        """He-normal by the fan-out within a group; biases 0."""
        fan_out = self.out_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]
        nn.init.normal_(self.weight, 0.0, (2.0 / fan_out) ** 0.5)
        _zero_bias(self)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of a map."""
        return activated(self.linear(input, self.weight, self.bias), self.activation)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution of a map with any weights of this shape, without the activation."""
        bordered = _bordered(input, self.border, 0.0)
        # Of the shape of a matrix where it is shared with a dense layer that comes first.
        return self._conv_forward(bordered, weight if weight.ndim == 4 else weight.reshape(self.shape), bias)

    def extra_repr(self) -> str:
        """As of nn.Conv2d, with what it lacks."""
        return super().extra_repr() + _also(self.border, self.activation)


class Dense(nn.Linear):
    """A dense layer over a full tensor, whose values it takes in the order channels, rows, columns."""

    def __init__(self, op: ops.Conv, source: Shape) -> None:
        super().__init__(source.elements, op.out_channels, bias=op.bias)
        self.activation = op.activation

    def reset_parameters(self) -> None:
        """Normal with a deviation of 0.01; biases 0."""
        nn.init.normal_(self.weight, 0.0, DENSE_DEVIATION)
        _zero_bias(self)

    def forward(self, input: Tensor) -> Tensor:
        """N x outputs x 1 x 1."""
        return activated(self.linear(input, self.weight, self.bias), self.activation)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with any weights of this shape, without the activation."""
        return F.linear(input.flatten(1), weight.flatten(1), bias)[:, :, None, None]

    def extra_repr(self) -> str:
        """As of nn.Linear, with what it lacks."""
        return super().extra_repr() + _also(None, self.activation)


class Constant(nn.Module):
    """A value that never changes, one pixel or a map; not trained."""

    value: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(1, shape.channels, shape.height, shape.width))

    def forward(self) -> Tensor:
        """1 x C x H x W."""
        return self.value

    def extra_repr(self) -> str:
        """Its shape."""
        return "x".join(map(str, self.value.shape[1:]))


class Pool(nn.Module):
    """Maximum, average or mean over windows; padding never counts."""

    shares: Tensor

    def __init__(self, op: ops.Pool, source: Shape) -> None:
        super().__init__()
        self.op = op
        self.covers = op.window.covers(source) and op.window.stride == (1, 1)
        self.border, self.padding = _split_padding(op.window.padding, op.window.kernel)
        if self.border and op.kind is not PoolKind.MAX:
            shares = torch.tensor(shares_inside(op.window, source), dtype=torch.float32)
            self.register_buffer("shares", shares[None, None], persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """The pool of a map."""
        return activated(self.pooled(input), self.op.activation)

    def pooled(self, input: Tensor) -> Tensor:
        """The pool without the activation."""
        kernel, stride = self.op.window.kernel, self.op.window.stride
        if self.op.kind is PoolKind.MAX:
            return F.max_pool2d(_bordered(input, self.border, float("-inf")), kernel, stride, self.padding)
        if self.border:
            return F.avg_pool2d(_bordered(input, self.border, 0.0), kernel, stride) / self.shares
        if not self.covers:
            return F.avg_pool2d(input, kernel, stride, self.padding, count_include_pad=False)
        if self.op.kind is PoolKind.MEAN:
            return input.mean((2, 3), keepdim=True)
        return F.adaptive_avg_pool2d(input, 1)

    def extra_repr(self) -> str:
        """Kind, window and activation."""
        window = self.op.window
        padding = f", padding={window.padding}" if any(window.padding) else ""
        size = "full tensor" if self.covers else f"kernel_size={window.kernel}, stride={window.stride}{padding}"
        return f"{self.op.kind.value}, {size}{_also(None, self.op.activation)}"


class Add(nn.Module):
    """Sum or difference of two values."""

    def __init__(self, op: ops.Add) -> None:
        super().__init__()
        self.op = op

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """The sum of two maps, or of a map and a pixel."""
        return activated(left - right if self.op.subtract else left + right, self.op.activation)

    def extra_repr(self) -> str:
        """What is not plain."""
        return (("subtract" if self.op.subtract else "") + _also(None, self.op.activation)).removeprefix(", ")


class Multiply(nn.Module):
    """Product of two values."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """The product of two maps, or of a map and a pixel."""
        return activated(left * right, self.activation)

    def extra_repr(self) -> str:
        """What is not plain."""
        return _also(None, self.activation).removeprefix(", ")


class Concat(nn.Module):
    """Values side by side along the channels."""

    def forward(self, *parts: Tensor) -> Tensor:
        """All parts in one map."""
        return torch.cat(parts, 1)


class Slice(nn.Module):
    """Channels start to stop of a value."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, input: Tensor) -> Tensor:
        """The part."""
        return input.narrow(1, self.start, self.stop - self.start)

    def extra_repr(self) -> str:
        """Which channels."""
        return f"{self.start}:{self.stop}"


class Resize(nn.Module):
    """Nearest-neighbour resizing to a fixed size."""

    def __init__(self, op: ops.Resize, source: Shape) -> None:
        super().__init__()
        self.op = op
        size = (len(op.rows), len(op.columns))
        same = [exact for exact in (False, True) if ops.resize(source, *size, half_pixel_centers=exact) == op]
        self.mode = ("nearest-exact" if same[0] else "nearest") if same else ""
        """PyTorch's word for it, if it has one."""

    def forward(self, input: Tensor) -> Tensor:
        """The resized map."""
        if not self.mode:
            return input[:, :, list(self.op.rows)][:, :, :, list(self.op.columns)]
        return F.interpolate(input, (len(self.op.rows), len(self.op.columns)), mode=self.mode)

    def extra_repr(self) -> str:
        """The size."""
        return f"{len(self.op.rows)}x{len(self.op.columns)}"


class Softmax(nn.Module):
    """Softmax over the channels of each pixel."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, input: Tensor) -> Tensor:
        """The shares of the channels, in each pixel 1 together."""
        return torch.softmax(input if self.beta == 1 else self.beta * input, 1)

    def extra_repr(self) -> str:
        """Its sharpness, where it is not plain."""
        return "" if self.beta == 1 else f"beta={self.beta:g}"


def _layer(op: Op, source: Shape) -> nn.Module:
    """The module of an op that reads a map of `source` (a Constant: has that shape)."""
    match op:
        case ops.Constant():
            return Constant(source)
        case ops.Conv():
            return Dense(op, source) if op.dense else Conv(op, source)
        case ops.BatchNorm(epsilon=epsilon):
            return nn.BatchNorm2d(source.channels, epsilon)
        case ops.Activate(activation=activation):
            return Activate(activation)
        case ops.Apply():
            return Apply(op)
        case ops.Pool():
            return Pool(op, source)
        case ops.Add():
            return Add(op)
        case ops.Multiply(activation=activation):
            return Multiply(activation)
        case ops.Concat():
            return Concat()
        case ops.Slice(start=start, stop=stop):
            return Slice(start, stop)
        case ops.Pair():
            return Pair(op)
        case ops.Select(channels=channels):
            return Select(channels)
        case ops.DepthToSpace(block=block):
            return DepthToSpace(block)
        case ops.SpaceToDepth(block=block):
            return SpaceToDepth(block)
        case ops.Pad(padding=(top, bottom, left, right)):
            return nn.ZeroPad2d((left, right, top, bottom))
        case ops.Resize():
            return Resize(op, source)
        case ops.Interpolate():
            return Interpolate(op)
        case ops.Softmax(beta=beta):
            return Softmax(beta)
        case ops.ArgMax():
            raise AssertionError("argmax has no gradient")
        case ops.Input() | ops.Requantize():
            return nn.Identity()  # between float32 values, as all here are, nothing changes
        case _:
            assert_never(op)


# -- what they share ---------------------------------------------------------------------------------------------------

Border = tuple[int, int, int, int]
"""Left, right, top, bottom, as F.pad takes them."""


def _split_padding(
    padding: tuple[int, int, int, int], kernel: tuple[int, int] | None = None
) -> tuple[Border | None, tuple[int, int]]:
    """A border to lay around the map first, and the padding that the layer itself can take.

    A layer takes the same on both sides; a pool, whose `kernel` is given, at most half a window.
    """
    top, bottom, left, right = padding
    half = (top, left) if kernel is None else (kernel[0] // 2, kernel[1] // 2)
    if (top, left) == (bottom, right) and top <= half[0] and left <= half[1]:
        return None, (top, left)
    return (left, right, top, bottom), (0, 0)


def _bordered(value: Tensor, border: Border | None, fill: float) -> Tensor:
    return value if border is None else F.pad(value, border, value=fill)


def _also(border: Border | None, activation: Activation) -> str:
    words = "" if border is None else f", border={border}"
    return words if activation is Activation.NONE else f"{words}, {activation.value}"


def _zero_bias(layer: nn.Module) -> None:
    for name, parameter in layer.named_parameters():
        if name == "bias":
            nn.init.zeros_(parameter)


def _check(graph: Graph, node: Node) -> None:
    """Raises Unsupported for what has no gradient."""
    dtypes = [node.type.dtype, *(param.dtype for param in graph.node_params(node))]
    where = f"{graph.name}: {node.name}"
    if is_argmax(node.op):
        raise Unsupported(f"{where}: argmax has no gradient: a module must end before it")
    if any(dtype is not DType.F32 for dtype in dtypes) or node.type.quant is not None:
        other = next((d.value for d in dtypes if d is not DType.F32), "quantised")
        raise Unsupported(f"{where}: must be float32 (f32) to become a module, got {other}")
    if getattr(node.op, "activation", None) is Activation.SIGN:
        raise Unsupported(f"{where}: activation must have a gradient, got sign")


def _register(network: str, root: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts a layer where its name says: `block1.expand` is `expand` of `block1`."""
    at, (*outer, last) = root, name.split(".")
    try:
        for part in outer:
            if part not in dict(at.named_children()):
                at.add_module(part, Block())
            at = at.get_submodule(part)
        if not isinstance(at, Block | TorchNetwork) or last in dict(at.named_children()):
            raise KeyError("one node lies within another")
        at.add_module(last, layer)
    except KeyError as error:
        raise GraphError(f"{network}: {name}: name must do for a submodule: {error.args[0]}") from None


# -- weights -----------------------------------------------------------------------------------------------------------


def _load(network: TorchNetwork, graph: Graph) -> None:
    """Copies a graph's weights into its module."""
    state: dict[str, Tensor] = {}
    shared: set[str] = set()
    for node in graph.nodes:
        for param in graph.node_params(node):
            own, key = f"{node.name}.{param.name}", f"{node.name}.{leaf(node.op, param.name)}"
            if own in graph.shared:
                shared.add(key)
            else:
                state[key] = torch.from_numpy(np.array(to_torch(node.op, graph.params[own])))
    missing, _ = network.load_state_dict(state, strict=False)
    assert all(key.endswith("num_batches_tracked") or key in shared for key in missing)
