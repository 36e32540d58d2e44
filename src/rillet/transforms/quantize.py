"""Post-training quantisation: a float network and what calibration saw of it become a network of 8-bit integers.

Scales are chosen group by group: values that must share one quantisation (the inputs of a concatenation; under the rule
`shift` also those of an addition, so whole chains of residual blocks) are a group.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

import numpy as np
import numpy.typing as npt

from rillet.arithmetic.affine import FLOAT_SHIFT
from rillet.arithmetic.shift import MAX_SHIFT
from rillet.errors import GraphError, Unsupported
from rillet.ir.facts import (
    has_activation,
    has_weights,
    is_activation,
    is_argmax,
    is_batch_norm,
    is_constant,
    is_pair,
    is_pool,
    is_product,
    is_softmax,
)
from rillet.ir.graph import Array, Graph, ImageSpec, Node
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
    Interpolate,
    Multiply,
    Op,
    Pad,
    Pair,
    PairKind,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
    op_name,
)
from rillet.ir.sharing import each_once
from rillet.ir.types import DType, Quant, TensorType
from rillet.transforms.statistics import Calibration, Floats, Statistics, chosen_range, together

LOW, HIGH = DType.I8.integers
WEIGHT_MAX = 127
MAX_BIAS = 2**30
"""So that a bias leaves room for the sum in 32 bits."""
UNIT = Quant(1 / 256, LOW)
"""Of a softmax's result, and of a sigmoid's under `fixed_point`."""


class Rule(Enum):
    """The two rounding rules of docs/arithmetic.md."""

    SHIFT = "shift"
    FIXED_POINT = "fixed_point"


@dataclass(frozen=True, slots=True)
class Quantization:
    """How to quantise."""

    rule: Rule = Rule.SHIFT
    calibration: Calibration = Calibration.PERCENTILE
    correct_bias: bool = False
    """Moves each bias by the mean error that rounded weights make on the mean input (Nagel et al. 2019)."""


@dataclass(frozen=True)
class Scales:
    """The quantisations chosen for a network's activations; its weights may still be trained under them."""

    rule: Rule
    quants: Mapping[str, Quant]
    """Of every value, by node."""
    double: frozenset[str] = frozenset()
    """Multiplications and means whose scales are all bound by others: under `shift` they keep the rounding `double`."""


def quantize(graph: Graph, seen: Mapping[str, Statistics], how: Quantization | None = None) -> Graph:
    """`graph` in int8, weights with a scale a channel; `graph` must be folded (`transforms.fold`).

    `seen` has the statistics of every value. Raises GraphError for a network that is quantised already or without
    weights, Unsupported for an op that cannot be quantised.
    """
    how = how or Quantization()
    return _Maker(graph, choose_scales(graph, seen, how), seen if how.correct_bias else None).graph()


def choose_scales(graph: Graph, seen: Mapping[str, Statistics], how: Quantization | None = None) -> Scales:
    """The quantisation of every value, as `quantize` chooses it; raises as it does."""
    return _Chooser(graph, seen, how or Quantization()).scales()


def shared_scales(graph: Graph, rule: Rule) -> dict[str, str]:
    """For every value the name that stands for those that share its quantisation."""
    found = _grouped(graph, rule)
    return {node.name: found.of(node.name) for node in graph.nodes}


def quantize_under(graph: Graph, scales: Scales) -> Graph:
    """`graph` in int8 under scales chosen before; scales of weights follow from the weights. Raises as `quantize`."""
    check_float(graph)
    return _Maker(graph, scales, None).graph()


def was_quantized(graph: Graph) -> bool:
    """True where the weights of each channel of every convolution are whole multiples of a 127th of their greatest.

    So are those of a network made float again; the rule `shift`, which needs other steps, would round them once more.
    """
    weights = [graph.param(node, "weight") for node in graph.nodes if has_weights(node.op)]
    return bool(weights) and all(_whole_steps(weight) for weight in weights)


def _whole_steps(weight: Array) -> bool:
    rows = weight.reshape(weight.shape[0], -1).astype(np.float64)
    steps = rows / np.maximum(np.abs(rows).max(1, keepdims=True), 1e-30) * WEIGHT_MAX
    return rows.shape[1] > 1 and bool((np.abs(steps - np.rint(steps)) < 1e-3).all())


def quantized_nodes(graph: Graph, scales: Scales) -> Graph:
    """`graph` in int8 without its arrays: types, element types and roundings."""
    made = _Maker(graph, scales, None)
    return Graph(graph.name, made.nodes(), graph.outputs, {}, graph.image)


class _Groups:
    """Values that share a quantisation, by union and find."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The name that stands for a value's group."""
        while name in self._above:
            name = self._above[name]
        return name

    def join(self, *names: str) -> None:
        first, *others = (self.of(name) for name in names)
        for other in others:
            if self.of(other) != first:
                self._above[self.of(other)] = first


def _grouped(graph: Graph, rule: Rule) -> "_Groups":
    """Values that must share a quantisation."""
    made = _Groups()
    for node in graph.nodes:
        match node.op:
            case Slice() | Select() | DepthToSpace() | SpaceToDepth() | Pad() | Resize() | Requantize() | Concat():
                made.join(node.name, *node.inputs)
            case Interpolate():
                made.join(node.name, *node.inputs)
            case Pair(kind=PairKind.MAXIMUM | PairKind.MINIMUM):
                made.join(node.name, *node.inputs)
            case Pool():
                if pool_kind(graph, node) is not PoolKind.MEAN:
                    made.join(node.name, *node.inputs)
            case Add():
                if rule is Rule.SHIFT:
                    made.join(node.name, *node.inputs)
            case Input() | Constant() | Conv() | Activate() | Apply() | Multiply() | Pair() | Softmax():
                pass
            case ArgMax() | BatchNorm():
                pass
            case _:
                assert_never(node.op)
    return made


class _Chooser:
    """Chooses the scales of values."""

    def __init__(self, graph: Graph, seen: Mapping[str, Statistics], how: Quantization) -> None:
        check_float(graph)
        for node in graph.nodes:
            if node.name not in seen:
                raise GraphError(f"{graph.name}: {node.name}: calibration must have seen it, got nothing of it")
        self.source = graph
        self.seen = seen
        self.how = how
        self.shifts = how.rule is Rule.SHIFT
        self.groups = _grouped(graph, how.rule)
        self.low: dict[str, float] = {}
        self.scale: dict[str, float] = {}
        self.fixed: dict[str, Quant] = {}
        self.unshifted: set[str] = set()

    def scales(self) -> Scales:
        self.choose_scales()
        if self.shifts:
            self.snap()
            self.grow()
        quants = {node.name: self.quant(node.name) for node in self.source.nodes}
        return Scales(self.how.rule, quants, frozenset(self.unshifted))

    def choose_scales(self) -> None:
        members: dict[str, list[Node]] = defaultdict(list)
        for node in self.source.nodes:
            if node.type.quant is not None:
                self.fixed[node.name] = node.type.quant  # of places, which no group has
            else:
                members[self.groups.of(node.name)].append(node)
        for root, nodes in members.items():
            low, high = chosen_range(together(self.seen[node.name] for node in nodes), self.how.calibration)
            for node in nodes:
                if node == self.source.input_nodes[0] and self.source.image is not None:
                    bounds = _image_range(self.source.image)
                    low, high = min(low, bounds[0]), max(high, bounds[1])
                if is_softmax(node.op) or (len(nodes) == 1 and self.litert_sigmoid(node)):
                    self.fixed[root] = UNIT
            if root in self.fixed and not (low >= 0.0 and high <= 1.0):
                raise Unsupported(f"{_where(self.source, nodes[0])}: values beside a softmax must be within 0 and 1")
            self.low[root] = low
            # A value that was always zero may be anything of any scale.
            self.scale[root] = (high - low) / (HIGH - LOW) or 1.0

    def litert_sigmoid(self, node: Node) -> bool:
        return not self.shifts and is_activation(node.op) and node.op.activation is Activation.SIGMOID

    def quant(self, name: str) -> Quant:
        root = self.groups.of(name)
        if root in self.fixed:
            return self.fixed[root]
        with np.errstate(over="ignore", under="ignore"):
            scale = float(np.float32(self.scale[root]))
        if not 0 < scale < math.inf:
            where, got = f"{self.source.name}: {name}", self.scale[root]
            raise Unsupported(f"{where}: scale of its values must be a number of float32 above 0, got {got:.3g}")
        return Quant(scale, min(max(round(LOW - self.low[root] / scale), LOW), HIGH))

    def snap(self) -> None:
        """Makes the scales of means and products fit a shift, by enlarging the one that nothing else binds."""
        bound = set(self.fixed)
        for node in self.source.nodes:
            factor = self.factor(node)
            if factor is None:
                continue
            out, *sources = (self.groups.of(name) for name in (node.name, *node.inputs))
            # Enlarging the result divides the factor, enlarging an operand multiplies it.
            if out not in bound and out not in sources:
                self.scale[out] *= factor / 2.0 ** math.floor(math.log2(factor))
            elif len(sources) == 2 and sources[1] not in bound and sources[1] not in (out, sources[0]):
                self.scale[sources[1]] *= 2.0 ** math.ceil(math.log2(factor)) / factor
            else:
                self.unshifted.add(node.name)
                continue
            bound |= {out, *sources}

    def factor(self, node: Node) -> float | None:
        return _factor(self.source, node, self.quant)

    def grow(self) -> None:
        """Doubles the scales of results that are finer than their accumulators, which gain no precision by it."""
        grown: Node | None = None
        for _ in range(len(self.source.nodes)):
            grown = None
            for node in self.source.nodes:
                factor = None if node.name in self.unshifted else self.factor(node)
                if has_weights(node.op):
                    source, (weight, bias) = self.quant(node.inputs[0]).scale, _weight_and_bias(self.source, node)
                    unit = source / self.quant(node.name).scale
                    factor = float(_natural_scales(weight, bias, source, unit, Rule.SHIFT).max()) * unit
                if factor is not None and factor > 1 + 1e-6:
                    root = self.groups.of(node.name)
                    if root in self.fixed:
                        where = _where(self.source, node)
                        raise Unsupported(f"{where}: scale of the result must be that of its sums or more")
                    self.scale[root] *= 2.0 ** math.ceil(math.log2(factor) - 1e-6)
                    grown = node
            if grown is None:
                return
        assert grown is not None
        raise Unsupported(
            f"{_where(self.source, grown)}: values of a residual chain must not grow without end under the rule shift, "
            "and its sums always outgrow its result"
        )


class _Maker:
    """Makes the nodes and arrays of a network under chosen scales."""

    def __init__(self, graph: Graph, scales: Scales, correct: Mapping[str, Statistics] | None) -> None:
        self.source = graph
        self.scales = scales
        self.correct = correct
        """What was seen of the values, where biases are to be corrected by it."""
        self.shifts = scales.rule is Rule.SHIFT

    def graph(self) -> Graph:
        arrays: dict[str, Array] = {}
        made_of: dict[str, Hashable] = {}
        for node in self.source.nodes:
            made = self.params(node)
            arrays |= made
            for key in made:
                name = key.removeprefix(f"{node.name}.")
                made_of[key] = (name, self.source.key(node, "weight" if name == "weight_scale" else name))
        # Weights that were one array are one again unless a layer's own scales made other integers of them.
        params, shared = each_once(arrays, made_of)
        return Graph(self.source.name, self.nodes(), self.source.outputs, params, self.source.image, shared)

    def nodes(self) -> tuple[Node, ...]:
        return tuple(replace(node, op=self.op(node), type=self.type(node)) for node in self.source.nodes)

    def type(self, node: Node) -> TensorType:
        return node.type if is_argmax(node.op) else TensorType(node.shape, DType.I8, self.quant(node.name))

    def quant(self, name: str) -> Quant:
        return self.scales.quants[name]

    # -- nodes -----------------------------------------------------------------------------------------------------

    def op(self, node: Node) -> Op:
        op = node.op
        match op:
            case Conv():
                bias = op.bias or self.correct is not None
                return replace(op, weights=DType.I8, bias=bias, rounding=self.conv_rounding(op))
            case Pool():
                return replace(op, kind=pool_kind(self.source, node), rounding=self.rounding(node))
            case Multiply():
                return replace(op, rounding=self.rounding(node))
            case Activate():
                return replace(op, rounding=self.function_rounding(node, op))
            case Apply():
                return replace(op, rounding=Rounding.SHIFT)
            case Constant():
                return Constant(DType.I8)
            case _:
                return op

    def conv_rounding(self, op: Conv) -> Rounding:
        if self.shifts:
            return Rounding.SHIFT
        return Rounding.SINGLE if op.dense else Rounding.DOUBLE

    def rounding(self, node: Node) -> Rounding:
        scaled = _factor(self.source, node, self.quant) is not None
        return Rounding.SHIFT if self.shifts and scaled and node.name not in self.scales.double else Rounding.DOUBLE

    def function_rounding(self, node: Node, op: Activate) -> Rounding:
        """LiteRT's own rules where it has one for these scales; else a table of the exact function."""
        known = op.activation.clamp is not None or op.activation is Activation.HARD_SWISH
        sigmoid = op.activation is Activation.SIGMOID and self.quant(node.name) == UNIT
        return Rounding.DOUBLE if not self.shifts and (known or sigmoid) else Rounding.SHIFT

    # -- arrays ----------------------------------------------------------------------------------------------------

    def params(self, node: Node) -> dict[str, Array]:
        if has_weights(node.op):
            return self.conv_params(node, node.op)
        if not is_constant(node.op):
            return {}
        quant, value = self.quant(node.name), self.source.param(node, "value").astype(np.float64)
        stored = np.clip(np.rint(value / quant.scale) + quant.zero_point, LOW, HIGH)
        return {f"{node.name}.value": stored.astype(np.int8)}

    def conv_params(self, node: Node, op: Conv) -> dict[str, Array]:
        weight, bias = _weight_and_bias(self.source, node)
        source = self.quant(node.inputs[0])
        scale = weight_scales(weight, bias, source, self.quant(node.name), self.scales.rule)
        stored = np.clip(np.rint(weight / scale[:, None, None, None]), -WEIGHT_MAX, WEIGHT_MAX)
        out: dict[str, Array] = {
            f"{node.name}.weight": stored.astype(np.int8),
            f"{node.name}.weight_scale": scale.astype(np.float32),
        }
        if op.bias or self.correct is not None:
            if self.correct is not None:
                error = stored * scale[:, None, None, None] - weight
                bias = bias - _error_of_means(self.correct[node.inputs[0]].means, op, error)
            step = source.scale * scale
            out[f"{node.name}.bias"] = np.clip(np.rint(bias / step), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        return out


def pool_kind(graph: Graph, node: Node) -> PoolKind:
    """An average of all pixels may change its scale, and so is a mean; one of windows keeps it."""
    assert is_pool(node.op)
    if node.op.kind is PoolKind.MAX:
        return PoolKind.MAX
    return PoolKind.MEAN if node.op.window.covers(graph.input_shapes(node)[0]) else PoolKind.AVERAGE


def _factor(graph: Graph, node: Node, quant: Callable[[str], Quant]) -> float | None:
    """The rescaling factor of a mean or a product."""
    scales = [quant(name).scale for name in (node.name, *node.inputs)]
    if is_product(node.op):
        return scales[1] * scales[2] / scales[0]
    if is_pool(node.op) and pool_kind(graph, node) is PoolKind.MEAN:
        return scales[1] / (graph.input_shapes(node)[0].pixels * scales[0])
    return None


def _weight_and_bias(graph: Graph, node: Node) -> tuple[Floats, Floats]:
    assert has_weights(node.op)
    bias = graph.param(node, "bias").astype(np.float64) if node.op.bias else np.zeros(node.shape.channels)
    return graph.param(node, "weight").astype(np.float64), bias


def _error_of_means(means: Floats, op: Conv, error: Floats) -> Floats:
    """The mean error of each output channel that rounded weights cause, at the mean input (Nagel et al. 2019)."""
    taps = error.sum((1, 2)).reshape(op.groups, op.out_channels // op.groups, -1)
    return np.einsum("goc,gc->go", taps, means.reshape(op.groups, -1)).reshape(-1)


def weight_scales(weight: Floats, bias: Floats, source: Quant, out: Quant, rule: Rule) -> Floats:
    """Scales of a convolution's weights (output channel first), as float32 has them.

    Under the rule `shift` they make factors of 2**-s: the next scale above the natural one, or the next below, at
    which the greatest weights saturate, where that makes the lesser square error.
    """
    unit = source.scale / out.scale
    scale = _natural_scales(weight, bias, source.scale, unit, rule)
    if rule is Rule.SHIFT:
        shifts = np.clip(np.floor(-np.log2(scale * unit) + 1e-6), 0, FLOAT_SHIFT)
        above, below = (2.0 ** -np.minimum(shifts + more, FLOAT_SHIFT) / unit for more in (0, 1))
        finer = _rounding_errors(weight, below) < _rounding_errors(weight, above)
        scale = np.where(finer & (below >= _room(bias, source.scale)), below, above)
    return scale.astype(np.float32).astype(np.float64)


def _natural_scales(weight: Floats, bias: Floats, source: float, unit: float, rule: Rule) -> Floats:
    """The least scale of each output channel at which its weights and its bias have room.

    source: scale of the input; unit: that by the scale of the result.
    """
    # Beyond it a kernel needs integers; a channel whose weights are that small adds next to nothing.
    most_shift = FLOAT_SHIFT if rule is Rule.SHIFT else MAX_SHIFT
    greatest = np.abs(weight.reshape(len(weight), -1)).max(1) / WEIGHT_MAX
    return np.maximum(np.maximum(greatest, _room(bias, source)), 2.0**-most_shift / unit)


def _room(bias: Floats, source: float) -> Floats:
    """The least scale of each output channel at which its bias has room."""
    return np.abs(bias) / (source * MAX_BIAS)


def _rounding_errors(weight: Floats, scale: Floats) -> Floats:
    """Sums of the square errors of each output channel's weights under a scale."""
    rows = weight.reshape(len(scale), -1)
    stored = np.clip(np.rint(rows / scale[:, None]), -WEIGHT_MAX, WEIGHT_MAX)
    return ((stored * scale[:, None] - rows) ** 2).sum(1)


def _where(graph: Graph, node: Node) -> str:
    return f"{graph.name}: {node.name}"


def check_float(graph: Graph) -> None:
    """Raises GraphError or Unsupported, naming the node, for a network that cannot be quantised."""
    for node in graph.nodes:
        if is_argmax(node.op):
            continue  # its places are integers already
        where = f"{graph.name}: {node.name}"
        types = (node.type.dtype, node.op.weights) if has_weights(node.op) else (node.type.dtype,)
        other = next((dtype for dtype in types if dtype is not DType.F32), None)
        if other is not None:
            raise GraphError(f"{where}: must be float32 to be quantised, got {other.value}")
        if is_pair(node.op) and node.op.kind is PairKind.DIVIDE:
            raise Unsupported(f"{where}: a quotient of two values must be a product with an inverse before, got divide")
        if is_batch_norm(node.op):
            raise Unsupported(f"{where}: batch norms must be folded before, got one")
        if has_activation(node.op) and node.op.activation.clamp is None:
            got = node.op.activation.value
            raise Unsupported(f"{where}: activation of {op_name(node.op)} must be a clamp, got {got}")
    if not graph.params and any(graph.node_params(node) for node in graph.nodes):
        raise GraphError(f"{graph.name}: must have weights to be quantised, got none")


def _image_range(image: ImageSpec) -> tuple[float, float]:
    """Least and greatest real input that pixels of 0 to 255 make."""
    mean, deviation = (np.array(values, np.float64) for values in (image.mean, image.deviation))
    ends: npt.NDArray[np.float64] = np.stack([(pixel - mean) / deviation for pixel in (0.0, 255.0)])
    return float(ends.min()), float(ends.max())
