"""Quantisation of a trained network: calibration on pictures, what it costs in accuracy, and in which layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from rillet.backends import reference
from rillet.data.datasets import Dataset
from rillet.data.given import as_dataset
from rillet.data.images import as_input, contract
from rillet.errors import GraphError
from rillet.exporters import rlt
from rillet.ir.facts import has_weights, is_given
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.inputs import Inputs
from rillet.ir.types import DType
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.evaluate import background, evaluate
from rillet.runtime.verify import random_given
from rillet.transforms.equalize import equalize as even_out
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import binarize, large_layers, pack, ternarize
from rillet.transforms.quantize import Quantization, Rule, check_float, quantize
from rillet.transforms.quotients import as_products
from rillet.transforms.statistics import Calibration, Statistics, observe, together

RANDOM = "random"
"""Name for random calibration inputs, enough where only speed is measured."""
LAYER_IMAGES = 8
"""Pictures on which the errors of layers are measured."""
Floats = npt.NDArray[np.float64]


def _silent(done: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Calibrated:
    """A folded float network, and statistics of its values over `images` calibration pictures."""

    graph: Graph
    seen: Mapping[str, Statistics]
    inputs: tuple[Inputs, ...]
    """The first of the pictures."""
    images: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A network under one way of quantising; `rounding` is `float` for the network that it comes from."""

    rounding: str
    calibration: str
    top1: float
    lost_points: float
    weight_bytes: int
    file_bytes: int
    """Of the .rlt file."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """Signal to noise of one value, in decibels; None where there is no noise, or no signal."""

    node: str
    own_db: float | None
    """With this layer alone in integers."""
    total_db: float | None
    """With all layers before it in integers too."""


def collect(graph: Graph, inputs: Iterable[Inputs], progress: Callable[[int], None] = _silent) -> dict[str, Statistics]:
    """Statistics of every value of `graph` over `inputs`; raises GraphError where there is no input."""
    seen: dict[str, Statistics] = {}
    for count, image in enumerate(inputs, 1):
        for name, values in reference.run(graph, image).items():
            try:
                one = observe(values)
            except GraphError as error:
                raise GraphError(f"{graph.name}: {name}: {error}") from None
            seen[name] = together((seen[name], one)) if name in seen else one
        progress(count)
    if not seen:
        raise GraphError(f"{graph.name}: calibration must have an image, got none")
    return seen


def quantize_with(graph: Graph, inputs: Iterable[Inputs], how: Quantization | None = None) -> Graph:
    """A float network in int8, calibrated on `inputs`: batch norms are folded, then see `transforms.quantize`."""
    folded = as_products(fold(graph))
    return quantize(folded, collect(folded, inputs), how)


def calibrate(
    graph: Graph,
    data: str | Dataset,
    limit: int,
    equalize: bool = False,
    progress: Callable[[int], None] = _silent,
) -> Calibrated:
    """Folds a float network, makes products of its quotients, evens it out if asked, and runs `limit` pictures of a
    data set's training part through it, or of a folder without parts.

    Raises GraphError for a network that cannot be quantised, before any picture is read, and where there is no data.
    """
    folded = as_products(fold(graph))
    check_float(folded)
    if equalize:
        folded = even_out(folded)
    images = (
        random_given(folded, limit) if data == RANDOM else pictures(folded, as_dataset(data, labelled=False), limit)
    )
    kept: list[Inputs] = []

    def taken() -> Iterator[Inputs]:
        for image in images:
            if len(kept) < LAYER_IMAGES:
                kept.append(image)
            yield image

    seen = collect(folded, taken(), progress)
    return Calibrated(folded, seen, tuple(kept), next(iter(seen.values())).images)


def with_few_bits(graph: Graph, bits: str, threshold: float | None = None) -> tuple[Graph, bool]:
    """The float network with `ternary` or `binary` weights in it, and whether they were trained so.

    One that has such weights stays as it is; of another the large layers (`transforms.lowbit.large_layers`) get them.
    threshold: what `ternarize` takes. Raises GraphError where there is none, and for a threshold of weights that stay
    as they are or become binary.
    """
    check_float(as_products(fold(graph)))
    if threshold is not None and bits == "binary":
        raise GraphError("--threshold must come with --weight-bits ternary, got binary")
    wanted = (DType.BINARY,) if bits == "binary" else (DType.TERNARY, DType.BINARY)
    if any(has_weights(node.op) and node.op.weights in wanted for node in pack(fold(graph)).nodes):
        if threshold is not None:
            raise GraphError(f"{graph.name}: --threshold must come with weights that are not {bits} already")
        return graph, True
    layers = large_layers(graph)
    return (binarize(graph, layers) if bits == "binary" else ternarize(graph, layers, threshold)), False


def pictures(graph: Graph, data: Dataset, count: int, seed: int = 0) -> Iterator[Array]:
    """Inputs of `graph` from `count` pictures of a data set (all, if it has fewer), drawn without repetition."""
    spec = contract(graph)
    for i in np.random.default_rng(seed).permutation(len(data))[:count]:
        yield as_input(data.pixels(int(i), spec), graph)


def accuracy(graph: Graph, data: str | Dataset) -> float:
    """Share of a data set's test part that the emitted program of `graph` gets right."""
    return evaluate(plan_rows(graph), as_dataset(data), "c").top1


def check_classes(graph: Graph, data: str | Dataset) -> None:
    """Raises GraphError where accuracy on `data` cannot be measured."""
    if data == RANDOM:
        raise GraphError("--evaluate and --compare must have pictures with labels, got --data random")
    contract(graph)
    background(graph, as_dataset(data))


def compare(
    calibrated: Calibrated,
    data: str | Dataset,
    correct_bias: bool = False,
    rules: Sequence[Rule] = tuple(Rule),
    progress: Callable[[int], None] = _silent,
) -> list[Compared]:
    """The float network, then both rules with each way of choosing ranges."""
    graph = calibrated.graph
    top1 = accuracy(graph, data)
    rows = [Compared("float", "-", top1, 0.0, graph.weight_bytes, len(rlt.to_bytes(graph)))]
    progress(1)
    for rule, method in product(rules, Calibration):
        made = quantize(graph, calibrated.seen, Quantization(rule, method, correct_bias))
        right = accuracy(made, data)
        size = len(rlt.to_bytes(made))
        rows.append(Compared(rule.value, method.value, right, 100 * (top1 - right), made.weight_bytes, size))
        progress(len(rows))
    return rows


def layer_errors(calibrated: Calibrated, made: Graph) -> list[LayerError]:
    """Signal to noise of every computed value of `made` against the float network, over the pictures kept."""
    float_graph = calibrated.graph
    signal: dict[str, float] = {}
    own: dict[str, float] = {}
    total: dict[str, float] = {}
    for image in calibrated.inputs:
        exact = reference.run(float_graph, image)
        stored = {node.name: _stored(node, exact[node.name]) for node in made.nodes}
        values = reference.run(made, {node.name: stored[node.name] for node in made.input_nodes})
        for node in made.nodes:
            if is_given(node.op):
                continue
            real, name = exact[node.name].astype(np.float64), node.name
            alone = reference.node_value(made, node, stored)
            signal[name] = signal.get(name, 0.0) + float((real**2).sum())
            own[name] = own.get(name, 0.0) + float(((_real(node, alone) - real) ** 2).sum())
            total[name] = total.get(name, 0.0) + float(((_real(node, values[name]) - real) ** 2).sum())
    return [LayerError(name, _decibels(signal[name], own[name]), _decibels(signal[name], total[name])) for name in own]


def _stored(node: Node, values: Array) -> Array:
    quant = node.type.quant
    assert quant is not None
    low, high = node.type.dtype.integers
    steps = np.rint(values.astype(np.float64) / quant.scale) + quant.zero_point
    return np.clip(steps, low, high).astype(node.type.dtype.numpy)


def _real(node: Node, stored: Array) -> Floats:
    quant = node.type.quant
    assert quant is not None
    return (stored.astype(np.float64) - quant.zero_point) * quant.scale


def _decibels(signal: float, noise: float) -> float | None:
    return 10 * float(np.log10(signal / noise)) if signal and noise else None
