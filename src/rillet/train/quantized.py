"""Quantisation-aware training: a float network that computes exactly as its int8 form, with straight-through gradients.

Jacob et al. 2018, arXiv:1712.05877. Between the layers flow stored integers less their zero points, as floating-point
numbers, rounded and clamped as the rule says; gradients pass the rounding as if it were not there (Bengio et al. 2013,
arXiv:1308.3432), and stop at values that a clamp changes.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor, nn

from rillet.arithmetic import fixed_point, tables
from rillet.arithmetic.fixed_point import Multiplier
from rillet.errors import GraphError
from rillet.ir import ops
from rillet.ir.facts import is_activation, is_function, is_input, is_softmax
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activation, PoolKind, Rounding
from rillet.ir.types import DType, Quant
from rillet.train import modules
from rillet.train.layouts import laid_as_graph
from rillet.train.modules import TorchNetwork
from rillet.train.pieces import activated, applied
from rillet.train.recipe import Quantize
from rillet.transforms.quantize import (
    WEIGHT_MAX,
    Quantization,
    Rule,
    Scales,
    choose_scales,
    quantized_nodes,
    shared_scales,
    weight_scales,
)
from rillet.transforms.statistics import Calibration, Statistics, observe, together

LOW, HIGH = DType.I8.integers
Scale = float | Tensor


class QuantizedNetwork(TorchNetwork):
    """A folded network's module whose outputs are those of the network that `quantize_under` makes of it.

    Values are exactly those of the integers while sums stay below 2**24, but for averages over windows whose padding
    is lopsided, and a softmax within the network, which may be a step off.

    learn: scales of values are trained as well (Esser et al., arXiv:1902.08153), those of the image and of shares
    excluded. A parameter is the logarithm of what its scale has grown by, so that a step is a share of the scale.
    Where nothing clamps, the gradient of a scale is that of rounding, rounded less exact; where the value is clamped,
    the bound that it has in steps: both follow from values that are whole steps times a scale.
    """

    def __init__(self, graph: Graph, learn: bool = False) -> None:
        super().__init__(graph)
        self._made: Graph | None = None
        self._rule = Rule.SHIFT
        self._first: Scales | None = None
        self._groups = scale_groups(graph) if learn else {}
        """The place among the parameters of each value's scale."""
        if learn:
            self.scale_growth = nn.Parameter(torch.zeros(max(self._groups.values(), default=0) + 1))
        self._tables: dict[str, Tensor] = {}
        self._weights: dict[str, _Rounded] = {}

    def use(self, scales: Scales) -> None:
        """Computes under these scales from now on, or where they are learnt, under what they have grown to."""
        self._first = scales
        self._settle()

    def scale_rates(self) -> dict[nn.Parameter, float]:
        """The parameters of scales, and their learning rates as factors of the recipe's."""
        return {self.scale_growth: 1.0} if self._groups else {}

    @property
    def scales(self) -> Scales:
        """The scales as they are now."""
        assert self._first is not None, "scales must be chosen first"
        if not self._groups:
            return self._first
        growth = self.scale_growth.detach().double().exp().tolist()
        quants = {
            name: replace(quant, scale=float(np.float32(quant.scale * growth[self._groups[name]])))
            if name in self._groups
            else quant
            for name, quant in self._first.quants.items()
        }
        return replace(self._first, quants=quants)

    def _settle(self) -> None:
        """Makes the integer network of the scales as they are."""
        scales = self.scales
        self._made, self._rule = quantized_nodes(self.graph, scales), scales.rule
        self._weights = {}
        self._tables = {node.name: _table(self._made, node) for node in self._made.nodes if is_function(node.op)}

    def train(self, mode: bool = True) -> "QuantizedNetwork":
        """As of nn.Module; weights are rounded once for an evaluation, and at each step of training."""
        self._weights = {}
        super().train(mode)
        if self._groups and self._first is not None:
            self._settle()
        return self

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs, as float32 values, for images of N x C x H x W, of a network of one input."""
        if self.training and self._groups:
            self._settle()
        (image,) = images
        values = self.stored(image)
        return self.outputs({name: values[name] * self._scale(name) for name in self.made.outputs})

    def stored(self, image: Tensor) -> dict[str, Tensor]:
        """Every value as its stored integers less their zero point, N x C x H x W."""
        values: dict[str, Tensor] = {}
        for node in self.made.nodes:
            values[node.name] = self._value(node, [values[name] for name in node.inputs] or [image])
        return values

    @property
    def made(self) -> Graph:
        """The integer network, without its arrays."""
        assert self._made is not None, "scales must be chosen first"
        return self._made

    def _scale(self, name: str) -> Scale:
        """The scale of a value: a number, or where it is learnt, a tensor that passes gradients."""
        scale = _quant(self.made.by_name[name]).scale
        if name not in self._groups or not self.training:
            return scale
        grown = self.scale_growth[self._groups[name]].exp()
        return grown * (scale / grown.item())

    def _value(self, node: Node, sources: list[Tensor]) -> Tensor:
        op, out, first = node.op, _quant(node), sources[0]
        quants = [_quant(self.made.by_name[name]) for name in node.inputs]
        step, steps = self._scale(node.name), [self._scale(name) for name in node.inputs]
        match op:
            case ops.Input():
                return _settled(first / step, out, _away)
            case ops.Constant():
                return _settled(self.get_submodule(node.name)() / step, out, torch.round)
            case ops.Conv():
                return self._convolved(node, op, first, quants[0], out)
            case ops.Pool():
                return self._pooled(node, op, first, quants[0], out)
            case ops.Add():
                return _added(op, first, sources[1], quants, out, [one / step for one in steps])
            case ops.Multiply():
                factor = steps[0] * steps[1] / step
                constants = fixed_point.product_multiplier(quants[0], quants[1], out)
                return _scaled(first * sources[1], factor, constants, op.rounding, out, op.activation)
            case ops.Activate():
                return self._looked_up(node, activated(first * steps[0], op.activation), first, quants[0], out)
            case ops.Apply():
                return self._looked_up(node, applied(first * steps[0], op), first, quants[0], out)
            case ops.Softmax(beta=beta):
                return _settled(torch.softmax(first * (beta * steps[0]), 1) / step, out, _away)
            case ops.Pair(kind=ops.PairKind.MAXIMUM | ops.PairKind.MINIMUM) | ops.Requantize():
                return self.get_submodule(node.name)(*sources)  # all of one scale
            case ops.Pair(kind=kind):
                raise GraphError(f"{self.graph.name}: {node.name}: {kind.value} cannot be trained in integers")
            case ops.Select() | ops.DepthToSpace() | ops.SpaceToDepth():
                return self.get_submodule(node.name)(*sources)
            case ops.Concat() | ops.Slice() | ops.Pad() | ops.Resize():
                # Scale and zero point are shared, and padding is a real zero.
                return self.get_submodule(node.name)(*sources)
            case ops.Interpolate():
                raise GraphError(f"{self.graph.name}: {node.name}: interpolate cannot be trained in integers")
            case ops.ArgMax():
                raise GraphError(f"{self.graph.name}: {node.name}: argmax cannot be trained")
            case ops.BatchNorm():
                raise GraphError(f"{self.graph.name}: {node.name}: batch norms must be folded before, got one")
            case _:
                assert_never(op)

    def _looked_up(self, node: Node, smooth: Tensor, source: Tensor, quant: Quant, out: Quant) -> Tensor:
        """A function's value out of its table, with the gradient of the function."""
        table = self._tables[node.name].to(source.device)
        places = (source.detach() + (quant.zero_point - LOW)).to(torch.int32)
        return _settled(smooth / self._scale(node.name), out, lambda _: table[places])

    def _convolved(self, node: Node, op: ops.Conv, source: Tensor, quant: Quant, out: Quant) -> Tensor:
        layer = self.get_submodule(node.name)
        assert isinstance(layer, modules.Conv | modules.Dense)
        rounded = self._weights.get(node.name)
        if rounded is None:
            rounded = self._rounded(node, op, layer, quant, out)
            if not self.training:
                self._weights[node.name] = rounded
        sums = layer.linear(source, rounded.weight, rounded.bias)
        if rounded.factors is None:
            return _settled(sums, out, torch.round, op.activation)
        factor, mantissa, shift = rounded.factors
        if self._groups:
            factor = factor * (self._growth(node.inputs[0]) / self._growth(node.name))
        rule = _single if op.rounding is Rounding.SINGLE else _double
        return _settled(sums * factor, out, lambda _: rule(sums, mantissa, shift), op.activation)

    def _growth(self, name: str) -> Scale:
        """1, with the gradient of a scale that is learnt as a share of it."""
        scale = self._scale(name)
        return scale / scale.item() if isinstance(scale, Tensor) else 1.0

    def _rounded(
        self, node: Node, op: ops.Conv, layer: "modules.Conv | modules.Dense", source: Quant, out: Quant
    ) -> "_Rounded":
        weight, bias = layer.weight, layer.bias
        shape = op.weight_shape(self.graph.input_shapes(node)[0])
        plain = laid_as_graph(self.graph.by_name[node.name].op, weight.detach().cpu().numpy(), shape)
        real = np.zeros(op.out_channels) if bias is None else bias.detach().cpu().double().numpy()
        scale = weight_scales(plain.astype(np.float64), real, source, out, self._rule)
        shifts = op.rounding is Rounding.SHIFT
        factor = source.scale * scale / out.scale
        if shifts:
            factor = np.exp2(np.rint(np.log2(factor)))
        column = (-1, *(1,) * (weight.ndim - 1))
        step, by = (torch.from_numpy(array).to(weight.device) for array in (scale, factor))
        # Divided in float64, as the transform divides them.
        stored = (weight.detach().double() / step.view(column)).round().clamp(-WEIGHT_MAX, WEIGHT_MAX).float()
        weight = _Straight.apply(weight / step.view(column).float(), stored)
        if bias is not None:
            stored = (bias.detach().double() / (source.scale * step)).round().float()
            bias = _Straight.apply(bias / (source.scale * step).float() / self._growth(node.inputs[0]), stored)
        if shifts:
            # Exact, and one pass over the result less.
            return _Rounded(weight * by.view(column).float(), None if bias is None else bias * by.float())
        scale_f32 = scale.astype(np.float32)
        single = op.rounding is Rounding.SINGLE
        constants = fixed_point.conv_multipliers(source, scale_f32, out, single)
        mantissa, shift = (
            torch.from_numpy(array.astype(np.float64)).to(by.device).view(-1, 1, 1) for array in constants
        )
        return _Rounded(weight, bias, (by.float().view(-1, 1, 1), mantissa, shift))

    def _pooled(self, node: Node, op: ops.Pool, source: Tensor, quant: Quant, out: Quant) -> Tensor:
        layer = self.get_submodule(node.name)
        assert isinstance(layer, modules.Pool)
        match op.kind:
            case PoolKind.MAX:
                return _settled(layer.pooled(source), out, torch.round, op.activation)
            case PoolKind.AVERAGE:
                # What is rounded is the mean of stored values.
                zero = out.zero_point
                return _settled(layer.pooled(source), out, lambda mean: _away(mean + zero) - zero, op.activation)
            case PoolKind.MEAN:
                pixels = op.window.taps
                constants = fixed_point.mean_multiplier(quant, out, pixels)
                covers = op.window.kernel == (source.shape[2], source.shape[3])
                sums = source.sum((2, 3), keepdim=True) if covers else torch.round(layer.pooled(source) * pixels)
                factor = self._scale(node.inputs[0]) / (pixels * self._scale(node.name))
                return _scaled(sums, factor, constants, op.rounding, out, op.activation)
            case _:
                assert_never(op.kind)


@dataclass(frozen=True)
class _Rounded:
    """Stored weights and bias of a convolution; under `shift` times the factors that make steps of the result."""

    weight: Tensor
    bias: Tensor | None
    factors: tuple[Tensor, Tensor, Tensor] | None = None
    """Else these factors, and their mantissas and shifts; channels x 1 x 1."""


class _Straight(torch.autograd.Function):
    """One value forward, the gradient of another back."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:  # noqa: ARG004
        """The second."""
        return args[1].view_as(args[1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:  # noqa: ARG004
        """To the first."""
        return grads[0], None


def _settled(
    smooth: Tensor, out: Quant, rounded: Callable[[Tensor], Tensor], activation: Activation = Activation.NONE
) -> Tensor:
    """A value in steps of the result, rounded and clamped; where the clamp changes it, no gradient passes."""
    clamp = fixed_point.activation_clamp(activation, out, DType.I8)
    low, high = clamp.low - out.zero_point, clamp.high - out.zero_point
    with torch.no_grad():
        exact = rounded(smooth.detach()).clamp(low, high)
    return _Straight.apply(smooth.clamp(low, high), exact)


def _scaled(
    whole: Tensor, factor: Scale, constants: Multiplier, rounding: Rounding, out: Quant, activation: Activation
) -> Tensor:
    """Whole numbers times a factor, rounded by the rule; `constants` are the factor of `fixed_point`."""
    if rounding is Rounding.SHIFT:
        # Scales are float32: the factor is meant to be the power of two that it is near to.
        near = 2.0 ** round(math.log2(float(factor)))
        return _settled(whole * near, out, torch.round, activation)
    mantissa, shift = (torch.tensor(float(part), device=whole.device) for part in (constants.mantissa, constants.shift))
    return _settled(whole * factor, out, lambda _: _double(whole, mantissa, shift), activation)


def _added(
    op: ops.Add, left: Tensor, right: Tensor, quants: Sequence[Quant], out: Quant, factors: Sequence[Scale]
) -> Tensor:
    """The sum of two values; factors: their scales by that of the result."""
    if all(quant == out for quant in quants):
        return _settled(left - right if op.subtract else left + right, out, torch.round, op.activation)
    smooth = [value * factor for value, factor in zip((left, right), factors, strict=True)]
    constants = fixed_point.add_constants(quants[0], quants[1], out)

    def rounded(_: Tensor) -> Tensor:
        parts = [
            _multiplied(value * 2.0**fixed_point.ADD_SHIFT, part)
            for value, part in ((left, constants.left), (right, constants.right))
        ]
        return _multiplied(parts[0] - parts[1] if op.subtract else parts[0] + parts[1], constants.out).float()

    total = smooth[0] - smooth[1] if op.subtract else smooth[0] + smooth[1]
    return _settled(total, out, rounded, op.activation)


def _multiplied(value: Tensor, by: Multiplier) -> Tensor:
    """`fixed_point.multiply_double`, in float64."""
    mantissa, shift = (torch.tensor(float(part), device=value.device) for part in (by.mantissa, by.shift))
    return _wide_double(value.double(), mantissa, shift)


def _double(whole: Tensor, mantissa: Tensor, shift: Tensor) -> Tensor:
    return _wide_double(whole.detach().double(), mantissa, shift).float()


def _wide_double(whole: Tensor, mantissa: Tensor, shift: Tensor) -> Tensor:
    """Rounded half up to so many bits, then half away from zero, as `fixed_point.multiply_double`.

    The product may have more bits than float64; what it lacks is less than 2**-20 of what is rounded.
    """
    high = (whole * (mantissa.double() * 2.0**-31 * torch.exp2(shift.clamp(min=0).double())) + 0.5).floor()
    return _away(high * torch.exp2(shift.clamp(max=0).double()))


def _single(whole: Tensor, mantissa: Tensor, shift: Tensor) -> Tensor:
    """Rounded once, half up, as `fixed_point.multiply_single`."""
    factor = mantissa.double() * torch.exp2(shift.double() - 31)
    return (whole.detach().double() * factor + 0.5).floor().float()


def _away(value: Tensor) -> Tensor:
    """Rounded to whole numbers, halves away from zero."""
    return (value.abs() + 0.5).floor().copysign(value)


def _quant(node: Node) -> Quant:
    assert node.type.quant is not None
    return node.type.quant


def _table(made: Graph, node: Node) -> Tensor:
    """Results, less their zero point, of the stored values from the least to the greatest."""
    assert is_function(node.op)
    stored = np.arange(LOW, HIGH + 1, dtype=np.int64)
    out = _quant(node)
    results = tables.activate(stored, node.op, _quant(made.by_name[node.inputs[0]]), out, DType.I8)
    return torch.from_numpy((results - out.zero_point).astype(np.float32))


# -- scales ------------------------------------------------------------------------------------------------------------


def scale_groups(graph: Graph) -> dict[str, int]:
    """The values whose scales may be learnt under the rule `fixed_point`, those of one scale with one number."""
    found = shared_scales(graph, Rule.FIXED_POINT)
    kept = {found[node.name] for node in graph.nodes if is_input(node.op) or is_softmax(node.op) or _is_sigmoid(node)}
    numbers = {root: i for i, root in enumerate(dict.fromkeys(root for root in found.values() if root not in kept))}
    return {name: numbers[root] for name, root in found.items() if root in numbers}


def _is_sigmoid(node: Node) -> bool:
    """Its shares have the scale that LiteRT gives them."""
    return is_activation(node.op) and node.op.activation is Activation.SIGMOID


@torch.inference_mode()
def observed(network: TorchNetwork, batches: Iterable[Tensor]) -> dict[str, Statistics]:
    """Statistics of every value of the network in float32, over batches of N x C x H x W."""
    seen: dict[str, Statistics] = {}
    for batch in batches:
        for name, values in network.values(batch).items():
            one = observe(values.permute(0, 2, 3, 1).cpu().numpy())
            seen[name] = together((seen[name], one)) if name in seen else one
    return seen


def scales_of(graph: Graph, network: TorchNetwork, batches: Iterable[Tensor], said: Quantize) -> Scales:
    """The scales that `quantize` would choose for `graph` now, calibrated on `batches`.

    `network` is the module of `graph`, perhaps without the softmax at its end. Raises as `choose_scales`.
    """
    seen = observed(network, batches)
    for node in graph.nodes:
        if node.name not in seen:
            seen[node.name] = observe(np.array([[[0.0, 1.0]]]))  # shares of a softmax, whose scale is fixed
    return choose_scales(graph, seen, Quantization(Rule(said.rounding), Calibration(said.calibration)))


def to_state(scales: Scales) -> dict[str, Any]:
    """Scales as a checkpoint keeps them."""
    values = {name: [quant.scale, quant.zero_point] for name, quant in scales.quants.items()}
    return {"rule": scales.rule.value, "values": values, "double": sorted(scales.double)}


def from_state(state: dict[str, Any]) -> Scales:
    """Scales out of a checkpoint; raises KeyError, ValueError or TypeError for what are none."""
    quants = {name: Quant(float(scale), int(zero)) for name, (scale, zero) in state["values"].items()}
    return Scales(Rule(state["rule"]), quants, frozenset(state["double"]))
