"""Verification: the emitted program, the reference and an independent oracle give the same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rillet.backends import reference
from rillet.errors import Unsupported
from rillet.ir.graph import Array, Graph, Node
from rillet.ir.inputs import Inputs, by_input, sole_input
from rillet.ir.types import Shape
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.agreement import Agreement, Place
from rillet.runtime.oracles import LiteRt, OnnxRuntime, Tflm, require
from rillet.runtime.programs import program_of
from rillet.system.record import Record

if TYPE_CHECKING:
    from rillet.importers.tflite import Imported

REAL_TOLERANCE = 1e-5
"""Float32 values agree where they differ by at most this share of their map's greatest: sums may be reordered."""


@dataclass(frozen=True)
class Difference:
    """The first place where two backends disagree."""

    input: int
    node: str
    row: int
    column: int
    channel: int
    expected: float
    got: float
    backend: str
    kind: str = ""
    """The kind of node where more integers are a step off than may be; empty where this place alone is wrong."""

    def __str__(self) -> str:
        place = f"row {self.row}, column {self.column}, channel {self.channel}"
        many = f", and so too many of {self.kind}" if self.kind else ""
        values = f"reference {self.expected:g}, {self.backend} {self.got:g}"
        return f"{self.node}, {place}: {values} (input {self.input}){many}"


@dataclass(frozen=True, repr=False)
class Verification(Record):
    """What was compared, and the first difference if there is one."""

    equal: bool
    inputs: int
    values: int
    """Output and intermediate values compared, all inputs together."""
    against: tuple[str, ...]
    first_difference: Difference | None
    rounding: float | None = None
    """The greatest error of a float32 value, as a fraction of its bound; None where no bound was needed."""
    steps_off: int = 0
    """Integers that were a step off, where they may be."""
    bf16_error: float | None = None
    """Of a plan whose layers multiply in bfloat16: the greatest difference of an output from the reference in float64,
    as a share of that output's greatest value.
    """

    def __repr__(self) -> str:
        names = " = ".join(("reference", *self.against))
        if self.first_difference is not None:
            return f"Verification(different, {self.first_difference})"
        return f"Verification(equal, {names}, {self.inputs} inputs, {self.values:,} values)"


def random_inputs(graph: Graph, count: int, seed: int = 0) -> Iterator[Array]:
    """Seeded inputs, every stored value or pixel equally likely; real inputs without a contract lie in -1 to 1.

    Raises Unsupported for a network of several inputs, which `random_given` draws, too.
    """
    node = sole_input(graph, "for one random array an image")
    for i in range(count):
        yield _drawn(graph, node, np.random.default_rng([seed, i]))


def random_given(graph: Graph, count: int, seed: int = 0) -> Iterator[Inputs]:
    """As `random_inputs`, with one array an input, by name, where there are several."""
    if len(graph.input_nodes) == 1:
        yield from random_inputs(graph, count, seed)
        return
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        yield {node.name: _drawn(graph, node, rng) for node in graph.input_nodes}


def _drawn(graph: Graph, node: Node, rng: np.random.Generator) -> Array:
    if node.type.quant is not None:
        low, high = node.type.dtype.integers
        return rng.integers(low, high + 1, node.shape.array).astype(node.type.dtype.numpy)
    if graph.image is not None and node == graph.input_nodes[0]:
        pixels = rng.integers(0, 256, node.shape.array)
        return ((pixels - np.array(graph.image.mean)) / np.array(graph.image.deviation)).astype(np.float32)
    return rng.uniform(-1, 1, node.shape.array).astype(np.float32)


def verify(
    plan: RowPlan,
    inputs: int,
    *,
    path: Path | None = None,
    imported: "Imported | None" = None,
    until: str | None = None,
    against: str | None = None,
    original: Graph | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Compares reference, C (whole and pushed row by row) and an oracle on `inputs` seeded inputs.

    `until`: the tensors up to which an .onnx file at `path` was read, where that is not the whole.
    `original`: the network whose outputs the plan's must have, byte for byte, where it is another than the plan's own.
    Outputs are compared first; only where they differ is the program built again to show every value. One that
    multiplies in bfloat16 shows them always: each node is compared on what it read, rounded so.
    Raises Unsupported where the oracle is not installed.
    """
    if against:
        require(against)
    oracle = _oracle(against, path, imported, plan.graph.input_nodes[0].shape, until)
    program = program_of(plan)
    graph, values, narrow = plan.graph, 0, _Narrow(plan) if plan.bf16_nodes else None
    names = ("c", against) if against else ("c",)

    def said(count: int, difference: Difference | None) -> Verification:
        agreed = narrow.agreement if narrow else oracle.agreement if oracle else None
        used = agreed.used if agreed and agreed.used else None
        off = sum(agreed.off.values()) if agreed else 0
        error = narrow.error if narrow else None
        return Verification(difference is None, count, values, names, difference, used, off, error)

    for i, image in enumerate(random_given(graph, inputs)):
        expected = reference.run(graph, image)
        asked = reference.run(original, image) if original else expected
        outputs = {name: asked[name] for name in dict.fromkeys(graph.outputs)}
        for run in (program.run, program.push):
            got = dict(zip(outputs, run(image), strict=True))
            if narrow:
                difference = narrow.difference(image, i, outputs, got)
            else:
                difference = first_difference(graph, outputs, got, i, "c")
                difference = difference and _bisect(plan, image, expected, got, difference)
            if difference:
                return said(i + 1, difference)
            values += sum(a.size for a in outputs.values())
        if oracle:
            difference, count = oracle.compare(original or graph, image, asked, i)
            if difference:
                return said(i + 1, difference)
            values += count
        progress(i + 1)
    return said(inputs, oracle.excess(inputs) if oracle else None)


def first_difference(
    graph: Graph, expected: dict[str, Array], got: dict[str, Array], index: int, backend: str
) -> Difference | None:
    """The first node, in the graph's order, and the first place in it where two runs disagree."""
    for node in graph.nodes:
        if node.name not in expected or node.name not in got:
            continue
        want = expected[node.name].astype(np.float64)
        have = got[node.name].astype(np.float64).reshape(want.shape)
        if node.type.quant is None:
            # Written so that a NaN is a difference.
            wrong = np.argwhere(~(np.abs(want - have) <= REAL_TOLERANCE * np.abs(want).max()))
        else:
            wrong = np.argwhere(want != have)
        if len(wrong):
            row, column, channel = (int(n) for n in wrong[0])
            place = (row, column, channel)
            return Difference(index, node.name, *place, float(want[place]), float(have[place]), backend)
    return None


def output_difference(
    plan: Callable[[], RowPlan], graph: Graph, image: Inputs, outputs: tuple[Array, ...]
) -> Difference | None:
    """Where a program's outputs are not those of `graph`; None where float32 values differ by their rounding alone.

    plan: makes the program's plan, which is needed only where something differs.
    """
    got = dict(zip(dict.fromkeys(graph.outputs), outputs, strict=True))
    expected = dict(zip(graph.outputs, reference.outputs(graph, image), strict=True))
    found = first_difference(graph, expected, got, 0, "c")
    if found is None or graph.by_name[found.node].type.quant is not None:
        return found
    made = plan()
    seen = program_of(made, trace=True).trace(image)
    if any(not np.array_equal(seen[name], array) for name, array in got.items()):
        return found  # the program is not the plan's
    return _difference(Agreement(graph, bf16=made.bf16_nodes).compare(image, seen), 0, "c")


class _Narrow:
    """A program that multiplies in bfloat16, beside a reference that does not."""

    def __init__(self, plan: RowPlan) -> None:
        self.agreement = Agreement(plan.graph, bf16=plan.bf16_nodes)
        self.error = 0.0
        self._program = program_of(plan, trace=True)
        self._seen: tuple[int, dict[str, Array], Difference | None] | None = None

    def difference(
        self, image: Inputs, index: int, expected: dict[str, Array], got: dict[str, Array]
    ) -> Difference | None:
        """Where a node is not what it must be of what it read, or an output not that of the program that shows it."""
        if self._seen is None or self._seen[0] != index:
            seen = self._program.trace(image)
            self._seen = index, seen, _difference(self.agreement.compare(image, seen), index, "c")
        for name, array in got.items():
            want, have = expected[name].astype(np.float64), array.astype(np.float64)
            most, off = float(np.abs(want).max()), float(np.abs(have.reshape(want.shape) - want).max())
            self.error = max(self.error, off / most if most else off)
        _, seen, found = self._seen
        for name, array in got.items():
            shown = seen[name].reshape(array.shape)
            wrong = np.argwhere(array != shown)
            if found is None and len(wrong):
                row, column, channel = (int(n) for n in wrong[0])
                at = row, column, channel
                found = Difference(index, name, *at, float(shown[at]), float(array[at]), "c")
        return found


def _bisect(
    plan: RowPlan, image: Inputs, expected: dict[str, Array], got: dict[str, Array], found: Difference
) -> Difference | None:
    """Where a program whose output differs goes wrong; None where float32 values differ by their rounding alone.

    Each node is compared on what the program itself read, as rounding grows with depth; integers behind float32 values,
    too.
    """
    seen = program_of(plan, trace=True).trace(image)
    if not any(node.type.quant is None for node in plan.graph.nodes):
        return first_difference(plan.graph, expected, seen, found.input, "c") or found
    if plan.graph.by_name[found.node].type.quant and not np.array_equal(
        seen[found.node].ravel(), got[found.node].ravel()
    ):
        return found  # the program is not the one that shows its values
    return _difference(Agreement(plan.graph).compare(image, seen), found.input, "c")


def _difference(place: Place | None, index: int, backend: str) -> Difference | None:
    if place is None:
        return None
    return Difference(index, place.node, *place.at, place.expected, place.got, backend, place.kind)


@dataclass(frozen=True)
class _Oracle:
    """Another runtime beside the reference."""

    name: str
    run: Callable[[Inputs], dict[str, Array]]
    agreement: Agreement | None = None
    """How values are compared node by node; None where whole runs must be equal, or as near as REAL_TOLERANCE."""

    def compare(
        self, graph: Graph, image: Inputs, expected: dict[str, Array], index: int
    ) -> tuple[Difference | None, int]:
        """The first difference on one image, and how many values were compared."""
        seen = self.run(image)
        count = sum(array.size for array in seen.values())
        if self.agreement is None:
            return first_difference(graph, expected, seen, index, self.name), count
        return _difference(self.agreement.compare(image, seen), index, self.name), count

    def excess(self, inputs: int) -> Difference | None:
        """A kind of node of which too many values are a step off, by its first."""
        return _difference(self.agreement.excess(), inputs - 1, self.name) if self.agreement else None


def _oracle(
    name: str | None, path: Path | None, imported: "Imported | None", shape: Shape, until: str | None
) -> _Oracle | None:
    """`shape`: of the network's input, for a file that leaves it open."""
    if name is None:
        return None
    if path is None:
        raise Unsupported("an oracle must be given a file as it is, not a network made or changed")
    if name == "onnxruntime":
        if path.suffix.lower() != ".onnx":
            raise Unsupported(f"--against onnxruntime must be given an .onnx file, got {path}")
        from rillet.importers.onnx import load_with_views

        shown = load_with_views(path, (shape.height, shape.width) if shape.pixels > 1 else None, until)
        return _Oracle(name, OnnxRuntime(shown).run, Agreement(shown.graph, steps=1))
    if imported is None:
        raise Unsupported(f"--against {name} must be given a .tflite file, got {path}")
    graph = imported.graph
    if name == "tflm":
        micro, source = Tflm(path), sole_input(graph, "for TensorFlow Lite Micro")
        return _Oracle(name, lambda image: {graph.outputs[0]: micro.run(by_input(graph, image)[source.name])})
    if imported.hybrid:
        raise Unsupported(
            f"{path}: --against litert must compare like with like, and LiteRT rounds what {imported.hybrid} operators "
            f"of int8 weights read to 8 bits, which Rillet does not; rillet convert {path} -o NAME.tflite writes those "
            "weights as float32, of which both make the same"
        )
    litert = LiteRt(path, imported.input_order, shape)
    inputs = {node.name for node in graph.input_nodes}

    def run(image: Inputs) -> dict[str, Array]:
        arrays = by_input(graph, image)
        litert.run_several([*arrays.values()], [imported.orders[name] for name in arrays])
        # The inputs were handed over, and may lie there in another order of dimensions.
        compared = {n: i for n, i in imported.tensors.items() if n not in inputs}
        return {node: _values(litert.tensor(index), graph, node) for node, index in compared.items()}

    def _values(tensor: Array, graph: Graph, node: str) -> Array:
        start, count = imported.starts.get(node, 0), graph.by_name[node].shape.elements
        return tensor.reshape(-1)[start : start + count].reshape(graph.by_name[node].shape.array)

    real = any(node.type.quant is None for node in graph.nodes)
    return _Oracle(name, run, Agreement(graph) if real else None)
